"""A small twin type with a fleet: a scale that remembers how much it has weighed."""

import json
import struct

import msgspec
import numpy as np

from tests.twin_actors.world import START
from twin_actors.messages import Event
from twin_actors.twin import Channel, Fleet, TwinType

SCALE = "dtmi:test:Scale;1"


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much in all, and how often."""

    numbers: bytes = struct.pack("<2d", 0.0, 0.0)


def follow(
    states: np.ndarray, twin: np.ndarray, time: np.ndarray, values: np.ndarray, suspect: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Add up."""
    del time, suspect
    seen = np.empty((len(twin), len(columns)))
    for step, row in enumerate(twin):
        states[row] += values[step, 0], 1.0
        seen[step] = states[row, columns]
    return seen


FLEET = Fleet(follow=follow, channels=("weight",), columns={"weighed": 0})

TYPE: TwinType[State] = TwinType(
    name="scale",
    model=SCALE,
    state=State,
    receive=FLEET.receive,
    fleet=FLEET,
    properties=lambda state: dict(zip(("weighed", "times"), struct.unpack("<2d", state.numbers), strict=True)),
    channels=(Channel("weight", 0.0, 1000.0),),
)


def weighs(twin_id: str, at: float, weight: float) -> Event:
    """Return a device's message, so many seconds after the start."""
    return Event(
        sequence_number=0,
        enqueued_time=0.0,
        body=json.dumps({"time": START + at, "weight": weight}).encode(),
        device_id=twin_id,
        model=SCALE,
        message_id=f"{twin_id}-{at}",
    )
