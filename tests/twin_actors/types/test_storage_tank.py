"""The storage tank: leak, overflow and emptying, from levels and flows."""

from collections.abc import Iterable

import numpy as np
import pytest

from tests.twin_actors.twin_contract import START, turn
from twin_actors.messages import Reading
from twin_actors.types.storage_tank.twin import AREA_M2, TWIN, State


def run(inflow: float, outflow: float, leak: float, *, level: float = 4.0, hours: float = 2.0) -> State:
    """Fill and drain a tank, with a level sensor that scatters by 1 mm."""
    noise = np.random.default_rng(3)
    state = State()
    for step in range(int(hours * 360.0)):
        now = level + (inflow - outflow - leak) * step / 360.0 / AREA_M2
        values = {"level": now + 0.001 * float(noise.standard_normal()), "inflow": inflow, "outflow": outflow}
        state = turn(TWIN, state, Reading(START + 10.0 * step, values, {}))
    return state


@pytest.mark.parametrize("leak", [0.0, 5.0, 15.0])
def test_leak_is_what_the_flows_do_not_explain(leak: float) -> None:
    """Within what a millimetre of scatter allows: 50 litres over ten minutes."""
    assert TWIN.properties(run(20.0, 20.0, leak))["leakFlow"] == pytest.approx(leak, abs=0.6)


def test_health_falls_with_the_leak() -> None:
    """No leak is health 1, a serious one 0."""
    healths = [TWIN.properties(run(20.0, 20.0, leak))["health"] for leak in (0.0, 5.0, 10.0, 25.0)]
    assert healths[0] == 1.0
    assert healths == sorted(healths, reverse=True)
    assert healths[-1] == 0.0


def test_overflow_is_forecast() -> None:
    """200 m³ to go at 40 m³/h: five hours, less the two that have passed."""
    shown = TWIN.properties(run(60.0, 20.0, 0.0))
    assert shown["minutesToOverflow"] == pytest.approx(180.0, abs=4.0)
    assert shown["minutesToEmpty"] == 10_080.0


def test_emptying_is_forecast_with_the_leak() -> None:
    """200 m³ at 25 m³/h, of which 5 leak: eight hours, less two."""
    shown = TWIN.properties(run(10.0, 30.0, 5.0))
    assert shown["minutesToEmpty"] == pytest.approx(360.0, abs=12.0)


def follow(values: Iterable[dict[str, float]]) -> State:
    """Return the state after some readings, ten seconds apart."""
    state = State()
    for step, one in enumerate(values):
        state = turn(TWIN, state, Reading(START + 10.0 * step, one, {}))
    return state


def test_reading_without_a_level_waits_for_the_next_one() -> None:
    """The balance spans from level to level."""
    state = follow([{"level": 4.0, "inflow": 18.0, "outflow": 0.0}, {"inflow": 18.0}, {"level": 4.002}])
    assert state.time == START + 20.0
    assert state.leak == pytest.approx(0.0, abs=1e-9)  # 18 m³/h over 20 s is 0.1 m³, which is 2 mm


def test_nothing_is_shown_before_the_first_level() -> None:
    """A volume that nobody measured is not zero."""
    assert TWIN.properties(follow([{"inflow": 1.0}])) == {}
