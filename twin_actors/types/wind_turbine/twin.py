"""A wind turbine that reports 15,000 signals at once, as frames, and its power and wind speed as ordinary readings.

A signal deviates when its newest value lies more than six standard deviations from the mean of all that it has said.
For what varies normally that is one value in five hundred million: among 15,000 signals, once a second, two or three a
day are chance, so the rule waits whether it stays.
"""

from collections.abc import Mapping

import msgspec

from kernels.signal_statistics import deviations
from twin_actors.twin import Channel, Frame, Frames, Message, PropertyValue, Rule, Turn, TwinType

SIGNALS = (
    ("bladeStrain", 3000, -5000.0, 5000.0, 50_000.0),  # µm/m
    ("towerStrain", 2000, -5000.0, 5000.0, 50_000.0),  # µm/m
    ("vibration", 4000, 0.0, 200.0, 2000.0),  # mm/s
    ("temperature", 4000, -50.0, 200.0, 10.0),  # °C
    ("current", 1000, -5000.0, 5000.0, 1e6),  # A
    ("voltage", 1000, -2000.0, 2000.0, 1e6),  # V
)
"""Group, signals of it, plausible range and fastest change a second: the order of the values of a frame."""

DEVIATES = 6.0
"""Standard deviations."""

LEAST_ROWS = 100
"""Before which nothing is usual yet."""


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a wind turbine remembers.

    Attributes
    ----------
    power, wind_speed : float or None
        kW, m/s; None before the first.
    good, suspect, bad, missing : int
        Signals of the newest frame.
    deviating : int
        Signals beyond what is usual for them.
    worst : str
        The one that is farthest; empty while none can be named.
    deviation : float
        How far, in standard deviations.
    """

    power: float | None = None
    wind_speed: float | None = None
    good: int = 0
    suspect: int = 0
    bad: int = 0
    missing: int = 0
    deviating: int = 0
    worst: str = ""
    deviation: float = 0.0


def receive(state: State, message: Message | Frame) -> Turn[State]:
    """Follow the newest frame and the newest reading; late ones are in the statistics, and in history."""
    if message.is_late:
        return Turn(state)
    if isinstance(message, Frame):
        return Turn(_compared(state, message))
    values = message.values
    return Turn(
        msgspec.structs.replace(
            state,
            power=values.get("power", state.power),
            wind_speed=values.get("windSpeed", state.wind_speed),
        )
    )


def _compared(state: State, frame: Frame) -> State:
    """Compare each signal with what is usual for it; what is not usable in this frame says nothing."""
    known = frame.statistics
    deviating, farthest, deviation = deviations(
        known.number, known.mean, known.squares, frame.sent, frame.quality, LEAST_ROWS, DEVIATES
    )
    return msgspec.structs.replace(
        state,
        good=frame.good,
        suspect=frame.suspect,
        bad=frame.bad,
        missing=frame.missing,
        deviating=deviating,
        worst=FRAMES.channels[farthest].name if deviation > 0.0 else "",
        deviation=deviation,
    )


def properties(state: State) -> Mapping[str, PropertyValue | None]:
    """Return what the graph shows."""
    shown: dict[str, PropertyValue | None] = {}
    if state.power is not None:
        shown["lastPower"] = state.power
    if state.wind_speed is not None:
        shown["lastWindSpeed"] = state.wind_speed
    signals = state.good + state.suspect + state.bad + state.missing
    if signals:
        shown |= {
            "suspectShare": state.suspect / signals,
            "badShare": (state.bad + state.missing) / signals,
            "deviatingSignals": state.deviating,
            "worstDeviation": state.deviation,
            "worstSignal": state.worst or None,
        }
    return shown


FRAMES = Frames(
    telemetry="signals",
    channels=tuple(
        Channel(f"{group}{number}", low, high, max_rate)
        for group, count, low, high, max_rate in SIGNALS
        for number in range(1, count + 1)
    ),
)

TWIN = TwinType(
    name="wind_turbine",
    model="dtmi:twinfold:WindTurbine;1",
    state=State,
    receive=receive,
    properties=properties,
    channels=(
        Channel("power", -500.0, 20_000.0),
        Channel("windSpeed", 0.0, 80.0, max_rate=20.0, required=False),
    ),
    frames=FRAMES,
    rules=(
        Rule(
            name="signal-deviates",
            signal="worstDeviation",
            above=8.0,
            clears_at=DEVIATES,
            for_seconds=60.0,
            text="A signal has left what is usual for it: worstSignal names it; look at the part, or at its sensor.",
        ),
    ),
)
