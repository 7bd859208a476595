"""The twins of the simulator: what they remember shows whether every message came once, and in order."""

import struct
import zlib
from collections.abc import Generator, Mapping
from typing import Any

import msgspec
import numpy as np

from tests.twin_actors.faults import Killed
from tests.twin_actors.kettle import COOL, HOT, HundredDays
from twin_actors.messages import Reading
from twin_actors.twin import RUL_RULES, Channel, Command, KernelRequest, Source, Turn, TwinType, ask

METER = "dtmi:test:Meter;1"
KETTLE = "dtmi:test:Kettle;1"

RAISES, RAISES_AFTER_KERNEL, BREAKS_KERNEL, SHOWS_NAN = 900_001.0, 900_002.0, 900_003.0, 900_004.0
POISON = (RAISES, RAISES_AFTER_KERNEL, BREAKS_KERNEL, SHOWS_NAN)
"""Serial numbers that the twins' code does not survive."""

KILLS = 900_005.0
"""One that its process does not survive."""

SICK = 450.0
"""Above this temperature a kettle's features raise: its sweeps go on without them."""


class Heard(msgspec.Struct, frozen=True):
    """What a twin remembers: how many messages, a checksum over all of them in order, and the last values."""

    count: int = 0
    chain: int = 0
    doubled: float = 0.0
    temperature: float | None = None
    scale: float = 0.0


def link(chain: int, serial: float) -> int:
    """Return the checksum after one more message."""
    return zlib.crc32(struct.pack("<d", serial), chain)


def double(values: np.ndarray) -> np.ndarray:
    """Twice the value: a kernel, which one value breaks."""
    if (values == BREAKS_KERNEL).any():
        raise FloatingPointError("this kernel knows no such value")
    return values * 2


def receive(state: Heard, message: Reading) -> Generator[KernelRequest, Any, Turn[Heard]]:
    """Remember a message."""
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
    return Turn(Heard(state.count + 1, link(state.chain, serial), doubled, temperature, scale))


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


_CHANNELS = (
    Channel("serial", 0.0, 1e9),
    Channel("temperature", -50.0, 500.0, required=False),
    Channel("scale", 0.0, 1000.0, required=False),
)

TYPES: dict[str, TwinType[Any]] = {
    "meter": TwinType(
        name="meter", model=METER, state=Heard, receive=receive, properties=properties, channels=_CHANNELS
    ),
    "kettle": TwinType(
        name="kettle",
        model=KETTLE,
        state=Heard,
        receive=receive,
        properties=properties,
        channels=_CHANNELS,
        features=features,
        rules=(HOT, *RUL_RULES),
        commands=(COOL, Command(name="ring")),
        priority={"place": (Source.MANUAL,)},
    ),
}

RUL_MODELS = {"kettle": HundredDays()}
