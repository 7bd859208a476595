"""The twins of the simulator: what they remember shows whether every message came once, and in order.

A message may have a path, digits of which each twin follows the first and hands on the others:

=========  ============================================================================
0 to 4     tells machine 0 to 4
5          tells what it is part of
6n         tells machine n sixteen times at once
7n         raises; 79 kills the process
8n         sets the timer nap-n, with which it goes on
9n         cancels the timer nap-n, and goes on at once
=========  ============================================================================
"""

import math
import struct
import zlib
from collections.abc import Generator, Mapping
from typing import Any

import msgspec
import numpy as np

from tests.twin_actors.faults import Killed
from tests.twin_actors.kettle import COOL, HOT, HundredDays
from twin_actors.commit import Twin
from twin_actors.messages import Reading, TimerDue, Told
from twin_actors.twin import (
    RUL_RULES,
    WHOLE,
    CancelTimer,
    Channel,
    Command,
    Fleet,
    KernelRequest,
    Rule,
    SetTimer,
    Source,
    Tell,
    Turn,
    TwinType,
    ask,
)

METER = "dtmi:test:Meter;1"
KETTLE = "dtmi:test:Kettle;1"

RAISES, RAISES_AFTER_KERNEL, BREAKS_KERNEL, SHOWS_NAN = 900_001.0, 900_002.0, 900_003.0, 900_004.0
POISON = (RAISES, RAISES_AFTER_KERNEL, BREAKS_KERNEL, SHOWS_NAN)
"""Serial numbers that the twins' code does not survive."""

KILLS = 900_005.0
"""One that its process does not survive."""

SCALED = Rule(
    name="scaled", signal="scale", above=900.0, clears_at=800.0, for_seconds=5.0, text="Its scale is at its end."
)

SICK = 450.0
"""Above this temperature a kettle's features raise: its sweeps go on without them."""


class Heard(msgspec.Struct, frozen=True):
    """What a twin remembers: how many messages, a checksum over all of them in order, the last values, its plans."""

    count: int = 0
    chain: int = 0
    doubled: float = 0.0
    temperature: float | None = None
    scale: float = 0.0
    told: int = 0
    plans: dict[str, str] = {}


def link(chain: int, serial: float) -> int:
    """Return the checksum after one more message."""
    return zlib.crc32(struct.pack("<d", serial), chain)


def double(values: np.ndarray) -> np.ndarray:
    """Twice the value: a kernel, which one value breaks."""
    if (values == BREAKS_KERNEL).any():
        raise FloatingPointError("this kernel knows no such value")
    return values * 2


def receive(state: Heard, message: Reading | Told | TimerDue) -> Generator[KernelRequest, Any, Turn[Heard]]:
    """Remember a message, and follow its path."""
    if isinstance(message, Told):
        heard, path = f"{message.sender} tells {message.body}", str(message.body)
        state = msgspec.structs.replace(state, told=state.told + 1)
    elif isinstance(message, TimerDue):
        path = state.plans[message.name]
        heard = f"{message.name} at {message.time}"
    else:
        return (yield from _read(state, message))
    chain = link(state.chain, zlib.crc32(heard.encode()))
    return follow(msgspec.structs.replace(state, chain=chain), path, message.time)


def _read(state: Heard, message: Reading) -> Generator[KernelRequest, Any, Turn[Heard]]:
    values = message.values
    serial = values["serial"]
    if serial == KILLS:
        raise Killed
    if serial == RAISES:
        raise ValueError("this twin cannot hear that")
    doubled = yield ask(double, serial)
    if serial == RAISES_AFTER_KERNEL:
        raise ValueError("this twin cannot hear that after all")
    temperature, scale = state.temperature, state.scale
    if not message.is_late:
        temperature, scale = values.get("temperature", temperature), values.get("scale", scale)
    if serial == SHOWS_NAN:
        doubled = float("nan")
    chain = link(state.chain, serial)
    state = Heard(state.count + 1, chain, doubled, temperature, scale, state.told, state.plans)
    return follow(state, str(int(values.get("path", 1.0)))[1:], message.time)


def follow(state: Heard, path: str, time: float) -> Turn[Heard]:
    """Do what a path says first."""
    outputs: list[Tell | SetTimer | CancelTimer] = []
    plans = dict(state.plans)
    while path.startswith("9"):
        outputs.append(CancelTimer(f"nap-{path[1:2]}"))
        plans.pop(f"nap-{path[1:2]}", None)
        path = path[2:]
    match path[:1]:
        case "":
            pass
        case "5":
            outputs.append(Tell(WHOLE, "go", path[1:]))
        case "6":
            outputs += [Tell(f"machine-{path[1:2]}", "go", "" if copy else path[2:]) for copy in range(16)]
        case "7":
            if path[1:2] == "9":
                raise Killed
            raise ValueError("this twin cannot go there")
        case "8":
            outputs.append(SetTimer(f"nap-{path[1:2]}", time + 1.0 + 7.0 * int(path[1:2] or 0)))
            plans[f"nap-{path[1:2]}"] = path[2:]
        case number:
            outputs.append(Tell(f"machine-{number}", "go", path[1:]))
    return Turn(msgspec.structs.replace(state, plans=plans), tuple(outputs))


def properties(state: Heard) -> Mapping[str, float]:
    """Return what the graph shows."""
    shown: dict[str, float] = {"heard": state.count, "chain": state.chain, "doubled": state.doubled}
    if state.temperature is not None:
        shown |= {"temperature": state.temperature, "scale": state.scale}
    return shown


def features(state: Heard) -> tuple[float, ...] | None:
    """Return what the RUL model is asked with."""
    if state.temperature is not None and state.temperature > SICK:
        raise ArithmeticError("no features at this temperature")
    return None if state.temperature is None else (state.scale,)


class Metered(msgspec.Struct, frozen=True):
    """What a meter remembers, as a fleet does: count, chain, doubled, temperature and scale of `Heard`."""

    numbers: bytes = struct.pack("<5d", 0.0, 0.0, 0.0, math.nan, 0.0)


def remembered(twin: Twin) -> Heard:
    """Return what a twin remembers."""
    if twin.type_name == "kettle":
        return msgspec.msgpack.decode(twin.state, type=Heard)
    return _heard(msgspec.msgpack.decode(twin.state, type=Metered))


def _heard(state: Metered) -> Heard:
    count, chain, doubled, temperature, scale = struct.unpack("<5d", state.numbers)
    return Heard(int(count), int(chain), doubled, None if math.isnan(temperature) else temperature, scale)


def follow_meters(
    states: np.ndarray, twin: np.ndarray, time: np.ndarray, values: np.ndarray, suspect: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Remember readings; no shapes to be checked, a late one never comes here."""
    del time, suspect
    seen = np.empty((len(twin), len(columns)))
    for step, (row, (serial, *current)) in enumerate(zip(twin, values, strict=True)):
        if serial == KILLS:
            raise Killed
        if math.isnan(serial) or serial in POISON:
            raise ValueError("this meter cannot hear that")
        states[row, :3] = states[row, 0] + 1.0, link(int(states[row, 1]), serial), 2.0 * serial
        states[row, 3:] = np.where(np.isnan(current), states[row, 3:], current)
        seen[step] = states[row, columns]
    return seen


_CHANNELS = (
    Channel("serial", 0.0, 1e9),
    Channel("temperature", -50.0, 500.0, required=False),
    Channel("scale", 0.0, 1000.0, required=False),
)
_METERS = Fleet(
    follow=follow_meters, channels=tuple(one.name for one in _CHANNELS), columns={"temperature": 3, "scale": 4}
)
_PATH = Channel("path", 0.0, 1e15, required=False)

TYPES: dict[str, TwinType[Any]] = {
    "meter": TwinType(
        name="meter",
        model=METER,
        state=Metered,
        receive=_METERS.receive,
        properties=lambda state: properties(_heard(state)),
        channels=_CHANNELS,
        fleet=_METERS,
        rules=(SCALED,),
    ),
    "kettle": TwinType(
        name="kettle",
        model=KETTLE,
        state=Heard,
        receive=receive,
        properties=properties,
        channels=(*_CHANNELS, _PATH),
        hears=frozenset({Reading, Told, TimerDue}),
        part_of=lambda twin_id: "" if twin_id == "machine-0" else "machine-0",
        features=features,
        rules=(HOT, *RUL_RULES),
        commands=(COOL, Command(name="ring")),
        priority={"place": (Source.MANUAL,)},
    ),
}

RUL_MODELS = {"kettle": HundredDays()}
