"""Statistics of signals: certified values, exact solutions, a naive twin, and bits that do not depend on company."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.signal_statistics import (
    BAD,
    GOOD,
    MISSING,
    SUSPECT,
    SignalStatistics,
    deviations,
    fold_row,
    no_statistics,
    refold_row,
)
from tests.kernels import naive

type Array = npt.NDArray[Any]

MANY = math.inf


def limits(channels: int, low: float = -1e9, high: float = 1e9, max_rate: float = MANY) -> Array:
    """The same limits for every channel."""
    return np.tile([[low], [high], [max_rate]], (1, channels))


def follow(rows: Iterable[tuple[float, Any]], time_constant: float = 10.0, bounds: Array | None = None) -> Array:
    """Fold rows of (time, values) into new statistics."""
    array: Array | None = None
    for time, row in rows:
        values = np.asarray(row, dtype=None if isinstance(row, np.ndarray) else np.float64)
        array = no_statistics(len(values)) if array is None else array
        quality = np.empty(len(values), np.uint8)
        fold_row(array, values, time, limits(len(values)) if bounds is None else bounds, time_constant, array, quality)
    assert array is not None
    return array


def named(array: Array) -> SignalStatistics:
    """The statistics by name."""
    return SignalStatistics(*array)


@pytest.mark.parametrize(
    ("values", "mean", "deviation"),
    [
        ([10000001.0, 10000003.0, 10000002.0], 10000002.0, 1.0),
        ([1.2, *[1.1, 1.3] * 500], 1.2, 0.1),
        ([1000000.2, *[1000000.1, 1000000.3] * 500], 1000000.2, 0.1),
        ([10000000.2, *[10000000.1, 10000000.3] * 500], 10000000.2, 0.1),
    ],
    ids=["NumAcc1", "NumAcc2", "NumAcc3", "NumAcc4"],
)
def test_certified_values(values: list[float], mean: float, deviation: float) -> None:
    """Statistical reference data of NIST (StRD, univariate), made to break sums of squares."""
    found = named(follow((float(second), [value]) for second, value in enumerate(values)))
    assert found.number[0] == len(values)
    assert found.mean[0] == pytest.approx(mean, rel=1e-14)
    # The data themselves are only known to a part in 10¹⁶ of their size, which is what limits NumAcc4.
    assert math.sqrt(found.squares[0] / (len(values) - 1)) == pytest.approx(deviation, rel=1e-7)


@given(st.lists(st.floats(0.01, 30.0), min_size=1, max_size=20))
def test_a_step_and_a_ramp_are_exact_for_any_sampling(gaps: list[float]) -> None:
    """What is held for T is reached to 1 - exp(-T/τ); so is the rate of a ramp."""
    times = np.cumsum(gaps).tolist()
    found = named(follow([(0.0, [0.0, 0.0]), *((time, [5.0, 3.0 * time]) for time in times)]))
    reached = -math.expm1(-times[-1] / 10.0)
    assert found.smoothed[0] == pytest.approx(5.0 * reached, rel=1e-9)
    assert found.slope[1] == pytest.approx(3.0 * reached, rel=1e-9)


said = st.lists(st.tuples(st.floats(-50.0, 50.0), st.floats(-1e3, 1e3)), min_size=1, max_size=30)


@given(said)
def test_equals_the_naive_one(rows: list[naive.Said]) -> None:
    """In any order of times: late values count, and move nothing current."""
    found = follow((time, [value]) for time, value in rows)[:, 0]
    expected = naive.signal_statistics(rows, 10.0)
    # Rounding is of the size of the largest term of each sum; slopes divide by times as short as the draw makes them.
    scale = max(abs(value) for _, value in rows)
    gaps = [later - earlier for earlier, later in pairwise(sorted({time for time, _ in rows}))]
    assert found[:8] == pytest.approx(expected[:8], rel=1e-9, abs=1e-9 * max(scale, scale**2, 1.0))
    assert found[8] == pytest.approx(expected[8], rel=1e-9, abs=1e-9 * max(1.0, scale / min(gaps, default=1.0)))


@pytest.mark.parametrize("gap", [5e-324, 1e-320, 1e-300, 1e-12])
def test_times_may_be_as_close_as_can_be_told_apart(gap: float) -> None:
    """The rate of change is then the jump over τ, not a number divided by next to nothing."""
    found = named(follow([(0.0, [0.0]), (gap, [50.0])]))
    assert found.smoothed[0] == pytest.approx(0.0, abs=1e-10)
    assert 0.0 <= found.slope[0] <= 50.0 / 10.0 * (1.0 + 1e-3)


NAN = math.nan


def test_verdicts() -> None:
    """Absent, out of range, too fast; each on its own channel, and the limits themselves are good."""
    bounds = limits(8, 0.0, 10.0, 2.0)
    array = no_statistics(8)
    quality = np.empty(8, np.uint8)
    first = np.array([5.0, 0.0, 10.0, NAN, math.inf, -math.inf, -0.1, 10.1])
    assert fold_row(array, first, 100.0, bounds, 10.0, array, quality) == (3, 0, 4, 1)
    assert quality.tolist() == [GOOD, GOOD, GOOD, MISSING, BAD, BAD, BAD, BAD]
    assert named(array).number.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    # Two seconds later 4 is as far as it can have come; what had no value before has come from nowhere.
    second = np.array([9.0, 4.5, 10.0, 9.0, 9.0, 9.0, NAN, 0.0])
    assert fold_row(array, second, 102.0, bounds, 10.0, array, quality) == (6, 1, 0, 1)
    assert quality.tolist() == [GOOD, SUSPECT, GOOD, GOOD, GOOD, GOOD, MISSING, GOOD]
    assert named(array).last.tolist()[:6] == [9.0, 4.5, 10.0, 9.0, 9.0, 9.0]
    # The time a channel was silent for counts in full, however many rows there were meanwhile.
    third = np.full(8, NAN)
    fold_row(array, third, 103.0, bounds, 10.0, array, quality)
    fourth = np.array([3.0, NAN, 6.0, 2.9, NAN, NAN, NAN, NAN])
    fold_row(array, fourth, 105.0, bounds, 10.0, array, quality)
    assert quality.tolist()[:4] == [GOOD, MISSING, GOOD, SUSPECT]


rows_of_three = st.lists(
    st.lists(st.one_of(st.just(NAN), st.just(math.inf), st.floats(-20.0, 20.0, width=32)), min_size=3, max_size=3),
    min_size=1,
    max_size=12,
)


@given(rows_of_three, st.integers(0, 2))
def test_a_channel_knows_no_other(rows: list[list[float]], channel: int) -> None:
    """Whatever the others say, its bits are the same; and so in single and double precision."""
    bounds = limits(3, -10.0, 10.0, 5.0)
    together = follow(((float(time), row) for time, row in enumerate(rows)), 10.0, bounds)
    alone = follow(
        ((float(time), [row[channel]]) for time, row in enumerate(rows)), 10.0, np.ascontiguousarray(bounds[:, :1])
    )
    single = follow(((float(time), np.array(row, np.float32)) for time, row in enumerate(rows)), 10.0, bounds)
    assert together[:, channel].tobytes() == alone[:, 0].tobytes()
    assert together.tobytes() == single.tobytes()


@given(rows_of_three)
def test_refolding_gives_the_same_bits(rows: list[list[float]]) -> None:
    """In place or not, judged now or before."""
    bounds = limits(3, -10.0, 10.0, 5.0)
    array, again, quality = no_statistics(3), no_statistics(3), np.empty(3, np.uint8)
    for time, row in enumerate(rows):
        before = array.tobytes()
        after = np.full((9, 3), 123.0)
        fold_row(array, np.array(row), float(time), bounds, 10.0, after, quality)
        assert array.tobytes() == before
        array = after
        refold_row(again, np.array(row), float(time), quality, 10.0, again)
    assert again.tobytes() == array.tobytes()


def fleet(rows: int, channels: int, odd: dict[tuple[int, int], float]) -> list[tuple[float, Array]]:
    """Rows of many channels in order, but for some values."""
    values = np.random.default_rng(3).normal(20.0, 1.0, (rows, channels))
    for place, value in odd.items():
        values[place] = value
    return [(10.0 + row, values[row]) for row in range(rows)]


@pytest.mark.parametrize(
    "odd",
    [{}, {(2, 700): NAN}, {(0, 3): NAN, (3, 3): 500.0}, {(1, 511): 99.0, (1, 512): NAN, (4, 1199): -math.inf}],
    ids=["none", "one", "late to speak", "at the edges of blocks"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_in_order_and_channels_by_themselves_give_the_same_bits(odd: Any, dtype: Any) -> None:
    """1,200 channels at once, and each alone; an odd one sends its block the other way, and later rows too."""
    rows = [(time, row.astype(dtype)) for time, row in fleet(6, 1200, odd)]
    bounds = limits(1200, -100.0, 100.0, 50.0)
    together = follow(rows, 10.0, bounds)
    for channel in (0, 3, 510, 511, 512, 700, 1023, 1024, 1199):
        alone = follow(
            [(time, row[channel : channel + 1].copy()) for time, row in rows], 10.0, limits(1, -100.0, 100.0, 50.0)
        )
        assert together[:, channel].tobytes() == alone[:, 0].tobytes()
    again = no_statistics(1200)
    array, quality = no_statistics(1200), np.empty(1200, np.uint8)
    for time, row in rows:
        fold_row(array, row, time, bounds, 10.0, array, quality)
        refold_row(again, row, time, quality, 10.0, again)
    assert array.tobytes() == together.tobytes() == again.tobytes()


@given(rows_of_three, st.floats(0.1, 3.0))
def test_deviations_are_those_of_numpy(rows: list[list[float]], limit: float) -> None:
    """How many, which, and how far."""
    array, quality, bounds = no_statistics(3), np.empty(3, np.uint8), limits(3, -10.0, 10.0, 5.0)
    for time, row in enumerate(rows):
        values = np.array(row)
        fold_row(array, values, float(time), bounds, 10.0, array, quality)
        known = named(array)
        beyond, farthest, deviation = deviations(known.number, known.mean, known.squares, values, quality, 2.0, limit)
        away = np.zeros(3)
        for channel in np.flatnonzero((quality <= SUSPECT) & (known.number >= 2.0) & (known.squares > 0.0)):
            spread = math.sqrt(known.squares[channel] / (known.number[channel] - 1.0))
            away[channel] = abs(values[channel] - known.mean[channel]) / spread
        assert deviation == pytest.approx(away.max(), rel=1e-9)
        assert away[farthest] == pytest.approx(away.max(), rel=1e-9)
        if np.abs(away - limit).min() > 1e-9:
            assert beyond == (away > limit).sum()


def test_deviations_of_nothing_and_of_wrong_shapes() -> None:
    """Nothing deviates; lengths must agree."""
    assert deviations(*[np.zeros(0)] * 4, np.zeros(0, np.uint8), 1.0, 1.0) == (0, 0, 0.0)
    with pytest.raises(ValueError, match="must be equal"):
        deviations(*[np.zeros(2)] * 3, np.zeros(3), np.zeros(2, np.uint8), 1.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"values": np.zeros(3, np.int64)}, "values: expected a contiguous array"),
        ({"values": np.zeros(6)[::2]}, "values: expected a contiguous array"),
        ({"before": np.zeros((8, 3))}, "before: expected shape"),
        ({"after": np.zeros((9, 2))}, "after: expected shape"),
        ({"limits": np.zeros((2, 3))}, "limits: expected shape"),
        ({"quality": np.zeros(2, np.uint8)}, "quality: expected shape"),
        ({"time": NAN}, "must be finite"),
        ({"time_constant": 0.0}, "must be finite, the latter positive"),
    ],
)
def test_wrong_arguments_are_named(changes: dict[str, Any], fault: str) -> None:
    """Before anything is computed."""
    array = no_statistics(3)
    right = {
        "before": array,
        "values": np.zeros(3),
        "time": 0.0,
        "limits": limits(3),
        "time_constant": 1.0,
        "after": array,
        "quality": np.zeros(3, np.uint8),
    }
    with pytest.raises(ValueError, match=fault):
        fold_row(**(right | changes))
    assert named(array).number.tolist() == [0.0, 0.0, 0.0]


def test_no_channel_is_nothing() -> None:
    """Nothing in, nothing out."""
    none = no_statistics(0)
    assert fold_row(none, np.zeros(0), 0.0, limits(0), 1.0, none, np.zeros(0, np.uint8)) == (0, 0, 0, 0)
