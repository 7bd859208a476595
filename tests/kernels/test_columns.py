"""Rows of named numbers as columns: all that is regular, and nothing else."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.columns import columns_of

PLACES = {"a": 0, "b": 1, "c": 2}

anything = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=2), st.lists(st.integers(), max_size=1),
    st.just(10**400),
)  # fmt: skip
rows = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c", "d", ""]), anything), max_size=6)


@given(rows)
def test_as_one_by_one(some: list[dict[str, Any]]) -> None:
    """Numbers are where they belong; a row that is not all numbers of known names says so."""
    values, is_regular = columns_of(some, PLACES)
    assert values.shape == (len(some), 3)
    for row, cells, regular in zip(some, values.tolist(), is_regular.tolist(), strict=True):
        numbers = {
            name: value
            for name, value in row.items()
            if name in PLACES
            and type(value) in {int, float}
            and not (isinstance(value, int) and abs(value) > 1 << 1023)
        }
        for name, place in PLACES.items():
            np.testing.assert_equal(cells[place], float(numbers.get(name, math.nan)))
        assert regular == (len(numbers) == len(row) and not any(math.isnan(value) for value in numbers.values()))


def test_columns_that_are_none() -> None:
    """Places count from 0, and there are as many as names."""
    for places in ({"a": 1}, {"a": -1}, {"a": 0, "b": 2}):
        with pytest.raises(IndexError):
            columns_of([], places)
