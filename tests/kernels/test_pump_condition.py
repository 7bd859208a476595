"""How pumps are: against a naive twin, and the same bits whoever is in the batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.pump_condition import CHANNELS, COLUMNS, follow_pumps, no_pump, remember_pumps
from tests.kernels.naive_pump import USUAL, Pump, follow

START = 1_700_000_000.0
NONE = np.array([], np.intp)

type Course = list[tuple[float, Mapping[str, float], frozenset[str]]]

_value = {name: st.one_of(st.floats(0.9 * usual, 1.1 * usual), st.just(0.0)) for name, usual in USUAL.items()}
readings = st.tuples(
    st.sampled_from([0.0, 1.0, 1.0, 1.0, 40.0, 4_000.0, 100_000.0]),
    st.fixed_dictionaries({}, optional=_value).filter(bool),
    st.frozensets(st.sampled_from(CHANNELS), max_size=2),
)
courses = st.lists(readings, min_size=1, max_size=90)


def columns(course: Course) -> tuple[Any, Any, Any]:
    """Return times, values and what is suspect, as the kernel takes them."""
    times = START + np.cumsum([gap for gap, _, _ in course])
    values = np.array([[heard.get(name, np.nan) for name in CHANNELS] for _, heard, _ in course])
    suspect = np.array(
        [[name in doubted and name in heard for name in CHANNELS] for _, heard, doubted in course], np.uint8
    )
    return times, values, suspect


def followed(course: Course) -> Any:
    """Return a pump after readings, by the kernel."""
    states = no_pump().reshape(1, -1)
    times, values, suspect = columns(course)
    follow_pumps(states, np.zeros(len(course), np.intp), times, values, suspect, NONE)
    return states[0]


def steady(seconds: int, **channels: float) -> Course:
    """A reading a second of a pump in good order, but for some channels."""
    return [(1.0, USUAL | channels, frozenset())] * seconds


@given(courses)
def test_as_a_naive_pump(course: Course) -> None:
    """Number by number, NaN where it does not know."""
    pump = Pump()
    for (_, heard, doubted), time in zip(course, columns(course)[0].tolist(), strict=True):
        pump = follow(pump, time, heard, doubted & heard.keys())
    np.testing.assert_allclose(followed(course), pump.row(), rtol=1e-12, atol=1e-12, equal_nan=True)


def test_a_calibrated_naive_pump_too() -> None:
    """Two minutes of learning, an hour of wear, a stop and a start."""
    course = [*steady(120), *[(30.0, USUAL | {"vibration": 1.5 + 0.02 * step}, frozenset()) for step in range(200)]]
    course += [*steady(3, speed=0.0, flow=0.0, power=0.0), *steady(40)]
    pump = Pump()
    for (_, heard, doubted), time in zip(course, columns(course)[0].tolist(), strict=True):
        pump = follow(pump, time, heard, doubted)
    assert len(pump.trends) == len(pump.symptoms) == 8
    np.testing.assert_allclose(followed(course), pump.row(), rtol=1e-12, atol=1e-12, equal_nan=True)


@given(st.lists(courses, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_pumps_do_not_touch_each_other(several: list[Course], order: Any) -> None:
    """Whatever the order in which readings of several are mixed, the bits of each are the same."""
    states = np.tile(no_pump(), (len(several), 1))
    steps = [pump for pump, course in enumerate(several) for _ in course]
    order.shuffle(steps)
    rest = [zip(*columns(course), strict=True) for course in several]
    mixed = [next(rest[pump]) for pump in steps]
    times, values, suspect = (np.array(column) for column in zip(*mixed, strict=True))
    watched = np.array([0, COLUMNS.index("health")], np.intp)
    seen = follow_pumps(states, np.array(steps, np.intp), times, values, suspect, watched)
    for pump, course in enumerate(several):
        assert states[pump].tobytes() == followed(course).tobytes()
        assert (
            seen[[at for at, one in enumerate(steps) if one == pump]][-1].tobytes() == states[pump][watched].tobytes()
        )
    assert seen[:, 0].tolist() == times.tolist()


def test_memories_move_with_their_symptoms_only() -> None:
    """Nothing heard, nothing remembered."""
    states = followed(steady(90)).reshape(1, -1).copy()
    remember_pumps(states)
    before = states.copy()
    remember_pumps(states)
    assert states.tobytes() == before.tobytes()


class TestWrongShapes:
    """The caller's fault, told before anything is touched."""

    def test_shapes(self) -> None:
        """Of every argument."""
        states, (times, values, suspect) = no_pump().reshape(1, -1), columns(steady(2))
        of = np.zeros(2, np.intp)
        for wrong in (
            (states[:, :-1].copy(), of, times, values, suspect),
            (states, of, times[:1], values, suspect),
            (states, of, times, values[:, :3].copy(), suspect),
            (states, of, times, values, suspect[:1]),
        ):
            with pytest.raises(ValueError, match="must be"):
                follow_pumps(*wrong, NONE)
        with pytest.raises(ValueError, match="must be"):
            remember_pumps(states[:, 1:].copy())

    @pytest.mark.parametrize(("pump", "column"), [(1, 0), (-1, 0), (0, len(COLUMNS)), (0, -1)])
    def test_places(self, pump: int, column: int) -> None:
        """No other pump, no other column."""
        times, values, suspect = columns(steady(1))
        with pytest.raises(IndexError):
            follow_pumps(
                no_pump().reshape(1, -1), np.array([pump]), times, values, suspect, np.array([column], np.intp)
            )
