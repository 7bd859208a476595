"""The app runs its own packages: PyPI has others of the same names."""

from pathlib import Path

import functions
import kernels
import twin_actors

ROOT = Path(__file__).parents[2]


def test_packages_come_from_this_repository() -> None:
    """Neither an installed `functions` nor an installed `kernels` stands in for ours."""
    for package in (functions, kernels, twin_actors):
        assert Path(str(package.__file__)).parent.parent == ROOT
