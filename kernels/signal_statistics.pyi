from typing import NamedTuple

import numpy as np
import numpy.typing as npt

type _Doubles = npt.NDArray[np.float64]
type _Row = npt.NDArray[np.float64] | npt.NDArray[np.float32]

__test__: dict[str, str]

VERSION: int
GOOD: int
SUSPECT: int
BAD: int
MISSING: int

class SignalStatistics(NamedTuple):
    number: _Doubles
    mean: _Doubles
    squares: _Doubles
    lowest: _Doubles
    highest: _Doubles
    last: _Doubles
    last_time: _Doubles
    smoothed: _Doubles
    slope: _Doubles

def no_statistics(channels: int) -> _Doubles: ...
def room(channels: int) -> bytearray: ...
def fold_row(
    before: _Doubles,
    values: _Row,
    time: float,
    limits: _Doubles,
    time_constant: float,
    after: _Doubles,
    quality: npt.NDArray[np.uint8],
) -> tuple[int, int, int, int]: ...
def deviations(
    number: _Doubles,
    mean: _Doubles,
    squares: _Doubles,
    values: _Row,
    quality: npt.NDArray[np.uint8],
    least: float,
    limit: float,
) -> tuple[int, int, float]: ...
def refold_row(
    before: _Doubles,
    values: _Row,
    time: float,
    quality: npt.NDArray[np.uint8],
    time_constant: float,
    after: _Doubles,
) -> None: ...
