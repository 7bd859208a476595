"""What the kernel tests share."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

type Column = npt.NDArray[np.float64]


@pytest.fixture
def columns() -> Callable[..., list[Column]]:
    """Turn numbers into columns: each becomes an array of `rows` equal values, arrays stay."""

    def make(*values: float | Sequence[float] | Column, rows: int = 1) -> list[Column]:
        return [
            np.full(rows, float(value)) if np.ndim(value) == 0 else np.ascontiguousarray(value, dtype=np.float64)
            for value in values
        ]

    return make
