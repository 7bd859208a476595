"""An upright cylindrical tank with metered inflow and outflow.

What flows in and does not flow out must be in the tank. What is missing leaks; with the leak known, the
metered flows tell when the tank overflows or runs empty.
"""

import math
from collections.abc import Mapping

import msgspec

from twin_actors.twin import Channel, Message, PropertyValue, Turn, TwinType

AREA_M2 = 50.0
HEIGHT_M = 8.0

LEAK_SECONDS = 600.0
"""Time constant of the leak. A level sensor that scatters by 1 mm scatters by 50 litres here, which over
ten minutes is 0.3 m³/h."""

TOLERABLE_LEAK = 1.0
SERIOUS_LEAK = 20.0
"""Leak in m³/h at which health begins to fall, and at which it is gone."""

LONGEST_FORECAST_MINUTES = 7.0 * 24.0 * 60.0


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tank remembers.

    Attributes
    ----------
    time : float
        Event time of the newest level, seconds since 1970; 0 before the first.
    level : float
        m.
    inflow, outflow : float
        m³/h; 0 before the first.
    temperature : float or None
        °C.
    leak : float
        Smoothed loss, m³/h.
    """

    time: float = 0.0
    level: float = 0.0
    inflow: float = 0.0
    outflow: float = 0.0
    temperature: float | None = None
    leak: float = 0.0


def receive(state: State, message: Message) -> Turn[State]:
    """Fold a reading into the volume balance; late ones change nothing that is current."""
    if message.is_late:
        return Turn(state)
    values = message.values
    inflow = values.get("inflow", state.inflow)
    outflow = values.get("outflow", state.outflow)
    leak = state.leak
    has_level = "level" in values
    hours = (message.time - state.time) / 3600.0
    if has_level and state.time and hours > 0.0:
        metered = (state.inflow + inflow - state.outflow - outflow) / 2.0
        stored = (values["level"] - state.level) * AREA_M2 / hours
        leak += (metered - stored - leak) * -math.expm1(-hours * 3600.0 / LEAK_SECONDS)
    return Turn(
        State(
            time=message.time if has_level else state.time,
            level=values.get("level", state.level),
            inflow=inflow,
            outflow=outflow,
            temperature=values.get("temperature", state.temperature),
            leak=leak,
        )
    )


def properties(state: State) -> Mapping[str, PropertyValue]:
    """Return what the graph shows."""
    if not state.time:
        return {}
    net = state.inflow - state.outflow - state.leak
    shown: dict[str, PropertyValue] = {
        "lastLevel": state.level,
        "lastInflow": state.inflow,
        "lastOutflow": state.outflow,
        "volume": state.level * AREA_M2,
        "fillFraction": state.level / HEIGHT_M,
        "netFlow": net,
        "leakFlow": state.leak,
        "minutesToOverflow": _minutes((HEIGHT_M - state.level) * AREA_M2, net),
        "minutesToEmpty": _minutes(state.level * AREA_M2, -net),
        "health": min(1.0, max(0.0, (SERIOUS_LEAK - abs(state.leak)) / (SERIOUS_LEAK - TOLERABLE_LEAK))),
    }
    if state.temperature is not None:
        shown["lastTemperature"] = state.temperature
    return shown


def _minutes(volume: float, flow: float) -> float:
    if flow * LONGEST_FORECAST_MINUTES / 60.0 <= volume:
        return LONGEST_FORECAST_MINUTES
    return volume / flow * 60.0


TWIN = TwinType(
    name="storage_tank",
    model="dtmi:twinfold:StorageTank;1",
    state=State,
    receive=receive,
    properties=properties,
    channels=(
        Channel("level", 0.0, HEIGHT_M, max_rate=0.05),
        Channel("inflow", 0.0, 1000.0),
        Channel("outflow", 0.0, 1000.0),
        Channel("temperature", -20.0, 120.0, max_rate=1.0, required=False),
    ),
)
