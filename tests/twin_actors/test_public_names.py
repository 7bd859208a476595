"""The public surface is what it says."""

import inspect

import twin_actors


def test_all_names_exactly_what_is_there() -> None:
    """Every public name is listed, and every listed name is there."""
    there = {
        name for name, value in vars(twin_actors).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert there == set(twin_actors.__all__)
