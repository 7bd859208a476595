"""Judgement of readings: against a naive twin, and the same bits however readings arrive together."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.signal_quality import BAD, GOOD, MISSING, SUSPECT, judge_steps, no_signals

CHANNELS = np.array([[0.0, 100.0, 5.0, 60.0, 1.0], [-1.0, 1.0, math.inf, math.inf, 0.0]])
"""low, high, max_rate, stuck_after, required"""

values = st.one_of(st.just(math.nan), st.sampled_from([50.0, 0.5, 500.0, -500.0, math.inf]), st.floats(-2.0, 120.0))
steps = st.lists(
    st.tuples(st.integers(0, 2), st.floats(-50.0, 100.0), st.tuples(values, values)), min_size=1, max_size=40
)


def naive(course: list[tuple[int, float, tuple[float, float]]]) -> tuple[list[list[int]], list[bool], dict[Any, Any]]:
    """Return the verdicts, who is late, and what is remembered."""
    newest: dict[int, float] = {}
    said: dict[tuple[int, int], tuple[float, float, float]] = {}
    verdicts, lates = [], []
    for machine, time, row in course:
        late = time < newest.get(machine, 0.0)
        newest[machine] = newest.get(machine, 0.0) if late else time
        found = []
        for channel, value in enumerate(row):
            low, high, max_rate, stuck_after, required = CHANNELS[channel].tolist()
            before = said.get((machine, channel))
            if math.isnan(value):
                found.append(MISSING if required else GOOD)
                continue
            if not low <= value <= high:
                found.append(BAD)
                continue
            code = GOOD
            if before is not None and time > before[1]:
                too_fast = abs(value - before[0]) > max_rate * (time - before[1])
                is_stuck = value == before[0] and time - before[2] >= stuck_after
                code = SUSPECT if too_fast or is_stuck else GOOD
            found.append(code)
            if not late:
                said[machine, channel] = (value, time, before[2] if before and before[0] == value else time)
        verdicts.append(found)
        lates.append(late)
    return verdicts, lates, said


@given(steps)
def test_as_a_naive_judge(course: list[tuple[int, float, tuple[float, float]]]) -> None:
    """The same verdicts, the same memory."""
    signals, newest = no_signals(3, 2), np.zeros(3)
    machines, times, rows = (np.array(column) for column in zip(*course, strict=True))
    quality, is_late = judge_steps(CHANNELS, signals, newest, machines, times, rows.astype(np.float64))
    verdicts, lates, said = naive(course)
    assert quality.tolist() == verdicts
    assert is_late.astype(bool).tolist() == lates
    for machine in range(3):
        for channel in range(2):
            kept = said.get((machine, channel), (math.nan,) * 3)
            np.testing.assert_array_equal(signals[machine, channel], kept)


@given(steps)
def test_one_at_a_time_or_all_at_once(course: list[tuple[int, float, tuple[float, float]]]) -> None:
    """The bits are the same."""
    machines, times, rows = (np.array(column) for column in zip(*course, strict=True))
    together, one_by_one = (no_signals(3, 2), np.zeros(3)), (no_signals(3, 2), np.zeros(3))
    judge_steps(CHANNELS, *together, machines, times, rows.astype(np.float64))
    for at in range(len(course)):
        judge_steps(
            CHANNELS, *one_by_one, machines[at : at + 1], times[at : at + 1], rows[at : at + 1].astype(np.float64)
        )
    assert [array.tobytes() for array in together] == [array.tobytes() for array in one_by_one]


def test_wrong_shapes_and_machines() -> None:
    """The caller's fault, told before anything is touched."""
    signals, newest, of, times, rows = (
        no_signals(1, 2),
        np.zeros(1),
        np.zeros(1, np.intp),
        np.zeros(1),
        np.zeros((1, 2)),
    )
    for wrong in (
        (CHANNELS[:, :4].copy(), signals, newest, of, times, rows),
        (CHANNELS[:1].copy(), signals, newest, of, times, rows),
        (CHANNELS, signals, np.zeros(2), of, times, rows),
        (CHANNELS, signals, newest, of, np.zeros(2), rows),
        (CHANNELS, signals, newest, of, times, np.zeros((1, 3))),
    ):
        with pytest.raises(ValueError, match="must be"):
            judge_steps(*wrong)
    for machine in (-1, 1):
        with pytest.raises(IndexError):
            judge_steps(CHANNELS, signals, newest, np.array([machine]), times, rows)
    with pytest.raises(ValueError, match="no channels"):
        judge_steps(np.zeros((0, 5)), no_signals(1, 0), newest, of, times, np.zeros((1, 0)))
