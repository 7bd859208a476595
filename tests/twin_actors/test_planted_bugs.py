"""The planted bugs fit the code as it is: each piece that is replaced stands exactly once where it is looked for."""

import pytest

from tests.twin_actors.planted.bugs import BUGS, Bug
from tests.twin_actors.planted.copying import ROOT, misfit


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name[:60])
def test_it_can_be_planted(bug: Bug) -> None:
    """Else a change of the code has made it a bug that nobody plants: change it in ``planted/bugs.py`` too."""
    assert not [reason for change in bug.changes if (reason := misfit(change))]


def test_each_names_a_test_that_exists() -> None:
    """That it fails with the bug, and passes without, is seen by ``python -m tests.twin_actors.planted``."""
    for bug in BUGS:
        file, _, name = bug.test.partition("::")
        assert f"def {name.split('::')[-1]}(" in (ROOT / file).read_text(encoding="utf-8"), bug.test


def test_there_are_enough_and_no_two_alike() -> None:
    """Fifteen at least."""
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 15
