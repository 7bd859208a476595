"""What a twin type declares, and what one of its turns returns.

A twin type is a value, `TwinType`, found in ``twin_actors/types/<name>/twin.py`` under the
name ``TWIN``. Its `receive` is plain, deterministic code: no I/O, no clock, no randomness.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any

import msgspec

from twin_actors.messages import Reading

type Message = Reading
"""What a twin hears: a reading of its device."""

type PropertyValue = float | int | bool | str
"""What a property of the graph can show."""


class KernelRequest(msgspec.Struct, frozen=True):
    """One row of a kernel call; the runtime gathers the rows of all twins of a batch."""

    kernel: Callable[..., Any]
    arguments: tuple[float, ...]


def ask(kernel: Callable[..., Any], *arguments: float) -> KernelRequest:
    """Ask for one row of `kernel`; ``answer = yield ask(kernel, …)`` resumes with its results.

    Parameters
    ----------
    kernel
        A function of `kernels`: one-dimensional float64 arrays of one length in, a named tuple
        of such arrays (or a single array) out, each row independent of the others.
    *arguments
        This twin's row, one number for each array.
    """
    return KernelRequest(kernel, arguments)


class Turn[S](msgspec.Struct, frozen=True):
    """The result of one message applied: the next state."""

    state: S


class Channel(msgspec.Struct, frozen=True):
    """One quantity that the device reports: a row of the twin type's table.

    Attributes
    ----------
    name : str
        The name of the Telemetry in the DTDL model, and the key in the message body.
    low, high : float
        The plausible range, in the unit of the model's Telemetry; outside it a reading is bad.
    max_rate : float
        The fastest plausible change, in units per second; a faster one is suspect.
    stuck_after : float
        Seconds without the slightest change after which a reading is suspect.
    required : bool
        Whether absence from a reading is reported as missing.
    """

    name: str
    low: float
    high: float
    max_rate: float = float("inf")
    stuck_after: float = float("inf")
    required: bool = True


type Receive[S] = Callable[[S, Message], Turn[S] | Generator[KernelRequest, Any, Turn[S]]]


class TwinType[S: msgspec.Struct](msgspec.Struct, frozen=True, kw_only=True):
    """The kind of a twin: what it remembers, hears, does and shows.

    Attributes
    ----------
    name : str
        The name of its folder.
    model : str
        The DTMI of its DTDL interface, which stands in ``model.json`` beside it.
    state : type
        A frozen `msgspec.Struct` whose fields all have defaults: a new twin is ``state()``.
    receive : Receive
        ``(state, message) → Turn``, or a generator that yields `ask` requests and returns one.
    properties : Callable
        What the graph shows of a state: property name → finite value; None takes one away that was shown.
    channels : tuple of Channel
        The quantities its device reports.
    state_version : int
        The version of `state`'s layout.
    """

    name: str
    model: str
    state: type[S]
    receive: Receive[S]
    properties: Callable[[S], Mapping[str, PropertyValue | None]]
    channels: tuple[Channel, ...]
    state_version: int = 1
