"""Simulated lives: parts meet their limits when they should, sensors fail as told, and what a straight line says."""

import math
from dataclasses import replace

import numpy as np
import pytest

from twin_actors.prognostics import linear_trend
from twin_actors.prognostics.artefact import MOST_DAYS, LinearTrend
from twin_actors.prognostics.histories import Histories, Watch, joined
from twin_actors.types.pump.sensors import Fault
from twin_actors.types.pump.wear_laws import (
    FASTER,
    LIMITS,
    MOST,
    PARTS,
    RUN_ON_DAYS,
    SLOWER,
    TRAINING,
    YEAR_DAYS,
    Population,
    live,
)

POPULATIONS = {"training": TRAINING, "faster": FASTER, "slower": SLOWER}


@pytest.mark.parametrize("population", POPULATIONS.values(), ids=POPULATIONS)
def test_a_life_ends_when_its_first_part_meets_its_limit(population: Population) -> None:
    """Days left fall to zero with the clock, wear only grows, and at the end one part is at its limit, no other."""
    random = np.random.default_rng(3)
    for _ in range(20):
        life = live(population, 1.0, random)
        assert life.days[0] == 0.0
        alive = life.remaining > 0.0
        assert np.ptp(life.days[alive] + life.remaining[alive]) == pytest.approx(0.0, abs=1e-6)
        assert np.all(np.diff(life.wear, axis=1) >= 0.0)
        limits = np.array(LIMITS)[:, np.newaxis]
        assert np.all(life.wear[:, alive] <= limits + 1e-12)
        worn_out = life.wear[:, ~alive] >= limits - 1e-12
        assert np.all(worn_out[PARTS.index(life.cause)])
        assert np.all(life.wear <= np.array(MOST)[:, np.newaxis])
        assert life.days[-1] - life.days[alive][-1] <= RUN_ON_DAYS + 5.0


def test_speed_wears() -> None:
    """At half the speed a pump of the same draw lasts twice as long, but for the scatter of its ageing."""
    even = replace(TRAINING, scatter_years=(1e-6, 1e-6), new_share=1.0, impeller_years=(2.0, 2.0))
    ends = [live(even, speed, np.random.default_rng(5)).remaining[0] for speed in (1.0, 0.5)]
    assert ends[0] == pytest.approx(2.0 * YEAR_DAYS, rel=0.01)
    assert ends[1] == pytest.approx(4.0 * YEAR_DAYS, rel=0.01)


def test_an_unknown_law_is_refused() -> None:
    """A misspelt law must not become another."""
    with pytest.raises(ValueError, match="no such law of bearings: linear"):
        live(replace(TRAINING, bearing_law="linear"), 1.0, np.random.default_rng(1))


def test_the_test_fleets_lie_outside_training() -> None:
    """Lives, exponents, growth laws, operation and faults: no range of one overlaps that of the other."""
    for other in (FASTER, SLOWER):
        for name in ("impeller_years", "bearing_years", "seal_years", "impeller_power", "seal_power", "foreign_size"):
            (low, high), (least, most) = getattr(TRAINING, name), getattr(other, name)
            assert most <= low or least >= high, name
        assert other.bearing_law != TRAINING.bearing_law
        assert not set(other.faults) & set(TRAINING.faults)


@pytest.mark.parametrize(
    ("kind", "at_first", "a_year_later"),
    [("drift", 5.0, 5.4), ("offset", 5.4, 5.4), ("gain", 5.25, 5.25), ("spikes", 7.5, 7.5), ("dropout", None, None)],
)
def test_a_faulty_sensor_shows_its_error(kind: str, at_first: float | None, a_year_later: float | None) -> None:
    """Drift grows to its size, an offset is there at once, a gain is five percent, a spike half as much again."""
    fault = Fault(kind, "vibration", 1.0, begins=10.0, ends=math.inf)
    assert fault.shown(5.0, 9.9, 0.0) == 5.0
    assert fault.shown(5.0, 10.0, 0.0) == (None if at_first is None else pytest.approx(at_first))
    assert fault.shown(5.0, 375.0, 0.0) == (None if a_year_later is None else pytest.approx(a_year_later))
    if kind in {"spikes", "dropout"}:
        assert fault.shown(5.0, 10.0, 0.9) == 5.0


def test_a_stuck_sensor_shows_one_value_until_it_is_freed() -> None:
    """Then it tells the truth again."""
    fault = Fault("stuck", "vibration", 1.0, begins=10.0, ends=20.0)
    assert [fault.shown(day, day, 0.5) for day in (9.0, 11.0, 12.0, 19.0, 20.0)] == [9.0, 11.0, 11.0, 11.0, 20.0]


def test_an_unknown_fault_is_refused() -> None:
    """A misspelt fault must not become none."""
    with pytest.raises(ValueError, match="no such fault of sensors: broken"):
        Fault("broken", "vibration", 1.0, begins=0.0, ends=1.0).shown(1.0, 0.0, 0.0)


def falling(days: int, health: list[float] | None = None) -> Watch:
    """A unit whose health falls by a thousandth a day."""
    at = np.arange(float(days))
    return Watch(at, 1.0 - at / 1000.0 if health is None else np.array(health), "bearing")


def test_a_straight_line_is_followed_to_zero() -> None:
    """However long its window; with what is known only; not at all where health stands still."""
    for window in linear_trend.WINDOWS_DAYS:
        assert linear_trend.days_to_zero(falling(400), 300, window) == pytest.approx(700.0)
    watch = falling(400)
    watch.health[:100] = math.nan
    assert linear_trend.days_to_zero(watch, 300, 1e9) == pytest.approx(700.0)
    assert math.isnan(linear_trend.days_to_zero(falling(9, [1.0] * 9), 8, 1e9))
    assert math.isnan(linear_trend.days_to_zero(falling(400), linear_trend.LEAST_READINGS - 2, 1e9))
    assert linear_trend.days_to_zero(falling(3, [0.1, 0.05, 0.0]), 2, 1e9) == 0.0


def test_the_best_line_is_chosen_and_no_line_gives_the_usual_answer() -> None:
    """Units that stand still for a year and fall in thirty days want the shortest window."""
    at = np.arange(400.0)
    watches = [Watch(at, np.where(at < 370.0, 1.0, 1.0 - (at - 370.0) / 30.0), "seal") for _ in range(3)]
    rows = np.array([50, 200, 380, 385, 390])
    one = Histories(np.zeros((5, 1)), 400.0 - rows, np.zeros(5, dtype=np.int64), rows, watches[:1])
    line = linear_trend.choose(joined([one, one, one]))
    assert line.window_days == min(linear_trend.WINDOWS_DAYS)
    assert line.otherwise_days == 275.0
    assert linear_trend.predict(line, one)[:2].tolist() == [275.0, 275.0]
    endless = LinearTrend(window_days=1e9, otherwise_days=1e9)
    assert linear_trend.predict(endless, one)[0] == MOST_DAYS
