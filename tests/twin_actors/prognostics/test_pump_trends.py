"""The pump's long memories: equal to what a history would say, and honest about what they cannot know."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.pump_condition import CALIBRATION_READINGS, MEMORY_DAYS, SYMPTOM, SYMPTOMS, no_pump, remember_pumps
from tests.twin_actors.twin_contract import START, turn
from twin_actors.messages import Reading
from twin_actors.types.pump.state import COLUMN as PLACE
from twin_actors.types.pump.state import State, Symptom, Trend
from twin_actors.types.pump.trend import DAY, FEATURE_NAMES, WORSE, feature_row, rates
from twin_actors.types.pump.twin import TWIN, features

ALL = dict.fromkeys((channel.name for channel in TWIN.channels), 20.0)
COLUMN = {name: index for index, name in enumerate(FEATURE_NAMES)}


def symptom(value: float, days: float, mean: float = 1.0, count: int = CALIBRATION_READINGS) -> Symptom:
    """A symptom whose smoothed values are `value`."""
    return Symptom(value, value, START + days * DAY, count, mean, 0.0)


def remembered(pump: np.ndarray, **symptoms: Symptom) -> State:
    """Bring the memories of a pump forward to what its symptoms are now."""
    for name, one in symptoms.items():
        for part in SYMPTOM:
            pump[0, PLACE[f"symptoms.{name}.{part}"]] = getattr(one, part)
    remember_pumps(pump)
    return State(pump.tobytes())


def watched(days: list[float], values: list[float], mean: float) -> Trend:
    """What is remembered of a course that begins at the baseline."""
    pump = no_pump().reshape(1, -1)
    state = remembered(pump, vibration=symptom(mean, 0.0, mean))
    for day, value in zip(days, values, strict=True):
        state = remembered(pump, vibration=symptom(value, day, mean))
    return state.trends["vibration"]


courses = st.lists(st.tuples(st.floats(0.01, 40.0), st.floats(-5.0, 5.0)), min_size=1, max_size=40)


@given(courses, st.floats(-5.0, 5.0))
def test_memories_are_those_of_the_whole_history(course: list[tuple[float, float]], mean: float) -> None:
    """Each is the mean of the baseline and all values, weighted with the forgetting since, computed at once."""
    days = np.cumsum([gap for gap, _ in course])
    values = np.array([mean, *(value for _, value in course)])
    remembered = watched(days.tolist(), values[1:].tolist(), mean)
    edges = np.concatenate([[0.0], days])
    for memory, value in zip(MEMORY_DAYS, (remembered.week, remembered.month, remembered.half_year), strict=True):
        left = np.exp((edges - edges[-1]) / memory)
        weights = np.diff(left, prepend=0.0)
        assert value == pytest.approx(float(weights @ values), abs=1e-9)


@given(st.floats(-1.0, 1.0), st.floats(0.0, 10.0), st.floats(11.0, 2000.0))
def test_the_rate_of_a_straight_line_is_met(slope: float, mean: float, length: float) -> None:
    """From the tenth day on, however long the line is; readings of half a day leave an error of its share."""
    days = np.linspace(0.5, length, int(length * 2)).tolist()
    by_weeks, by_months = rates(watched(days, [mean + slope * day for day in days], mean))
    assert by_weeks == pytest.approx(slope, rel=0.05, abs=1e-9)
    assert by_months == pytest.approx(slope, rel=0.05, abs=1e-9)


def test_rates_wait_for_ten_days() -> None:
    """Before, a slope is noise divided by little."""
    assert all(math.isnan(rate) for rate in rates(watched([4.0, 9.9], [1.0, 5.0], 1.0)))
    assert all(rate > 0.0 for rate in rates(watched([4.0, 10.0], [1.0, 5.0], 1.0)))


def test_what_is_not_heard_is_not_remembered_again() -> None:
    """A silent channel keeps its memory, and after a week tells no feature any more."""
    pump = no_pump().reshape(1, -1)
    before = remembered(pump, vibration=symptom(2.0, 0.0))
    assert remembered(pump, vibration=symptom(2.0, 0.0)) == before
    silent = {"vibration": symptom(2.0, 0.0), "head": symptom(-0.1, 8.0, mean=0.0)}
    row = feature_row(START + 8.0 * DAY, ALL, silent, before.trends)
    assert row is not None
    assert math.isnan(row[COLUMN["vibration.level"]])
    assert row[COLUMN["head.level"]] == row[COLUMN["head.rise"]] == -0.1
    assert feature_row(START + 6.9 * DAY, ALL, silent, before.trends)[COLUMN["vibration.rise"]] == 1.0  # type: ignore[index]


def test_nothing_is_said_before_a_baseline_is_complete() -> None:
    """Not of a new twin, nor of one that has heard a minute less a second."""
    assert features(State()) is None
    state = State()
    for second in range(CALIBRATION_READINGS + 1):
        assert (features(state) is None) == (second < CALIBRATION_READINGS)
        state = turn(TWIN, state, Reading(START + second, {"vibration": 1.0, "speed": 2950.0}, {}))


def test_an_unknown_machine_is_judged_by_what_is_usual_there() -> None:
    """Its head is far from the rated curve: changes count, as parts of what it gave at first, and heat does not."""
    symptoms = {
        "head": symptom(-0.46, 0.0, mean=-0.4),
        "oilTemperature": symptom(9.0, 0.0),
        "acceleration1": symptom(1.1, 0.0),
        "vibration": symptom(2.0, 0.0),
    }
    row = feature_row(START, ALL, symptoms, {})
    assert row is not None
    assert math.isnan(row[COLUMN["head.level"]])
    assert row[COLUMN["head.rise"]] == pytest.approx(-0.1)
    assert all(math.isnan(row[COLUMN[f"oilTemperature.{kind}"]]) for kind in ("level", "rise"))
    assert math.isnan(row[COLUMN["acceleration1.level"]])
    assert row[COLUMN["acceleration1.rise"]] == pytest.approx(0.1)
    assert row[COLUMN["vibration.level"]] == 2.0, "a standard says what is much, on any machine"


@pytest.mark.parametrize(
    ("channel", "symptom_name"),
    [("speed", "head"), ("suctionPressure", "power"), ("ambientTemperature", "oilTemperature")],
)
def test_what_rests_on_assumptions_has_no_level(channel: str, symptom_name: str) -> None:
    """Where a speed, a pressure or a room's temperature was never heard, only changes tell."""
    symptoms = {"head": symptom(-0.1, 0.0, mean=0.0), symptom_name: symptom(0.1, 0.0, mean=0.0)}
    heard = {name: value for name, value in ALL.items() if name != channel}
    measured, assumed = (feature_row(START, last, symptoms, {}) for last in (ALL, heard))
    assert measured is not None
    assert assumed is not None
    assert measured[COLUMN[f"{symptom_name}.level"]] == 0.1
    assert math.isnan(assumed[COLUMN[f"{symptom_name}.level"]])
    assert assumed[COLUMN[f"{symptom_name}.rise"]] == 0.1


def test_a_turn_brings_the_memories_forward_once_an_hour() -> None:
    """Between, a turn only compares two times."""
    state = State()
    for second in range(0, 3 * 3600, 30):
        state = turn(TWIN, state, Reading(START + second, {"vibration": 1.0, "speed": 2950.0}, {}))
        assert state.trends_time == START + 3600.0 * (second // 3600)
    assert state.trends["vibration"].time == START + 2 * 3600.0


def test_every_feature_has_a_direction() -> None:
    """Heat and vibration are never good news, a higher head never bad."""
    assert len(FEATURE_NAMES) == len(WORSE) == 4 * len(SYMPTOMS)
    direction = dict(zip(FEATURE_NAMES, WORSE, strict=True))
    assert {direction[f"head.{kind}"] for kind in ("level", "rise", "monthRate", "halfYearRate")} == {1}
    assert {direction[f"power.{kind}"] for kind in ("level", "rise", "monthRate", "halfYearRate")} == {0}
    assert direction["bearingTemperature.level"] == direction["vibration.halfYearRate"] == -1
