"""Fixtures of all tests."""

import os
from pathlib import Path

import hypothesis
import pytest

from tests.budget import Budget

# The same examples in every run, however busy the machine is.
hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("deterministic")

_REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Provide the folder of recordings and data sets that lies beside the repository."""
    folder = _REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        reason = f"no test data at {folder}"
        if os.environ.get("REQUIRE_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture
def budget(request: pytest.FixtureRequest) -> Budget:
    """Provide the seeds and the time of a long proof."""
    return Budget(request.node.nodeid)
