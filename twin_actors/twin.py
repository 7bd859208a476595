"""What a twin type declares, and what one of its turns returns.

A twin type is a value, `TwinType`, found in ``twin_actors/types/<name>/twin.py`` under the
name ``TWIN``. Its `receive` is plain, deterministic code: no I/O, no clock, no randomness.
"""

import functools
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from twin_actors.documents import Priority, Severity
from twin_actors.documents import PropertyValue as PropertyValue  # noqa: PLC0414  part of what a type is written with
from twin_actors.documents import Source as Source  # noqa: PLC0414  part of what a type is written with
from twin_actors.frames import Frame as Frame  # noqa: PLC0414  part of what a type is written with
from twin_actors.messages import Quality, Reading

type Message = Reading
"""What a twin hears if its type names nothing else: a reading of its device."""


class KernelRequest(msgspec.Struct, frozen=True):
    """One row of a kernel call; the runtime gathers the rows of all twins of a batch."""

    kernel: Callable[..., Any]
    arguments: tuple[Any, ...]


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


WHOLE = "^"
"""In place of a twin id: the twin that this one is part of, by `part_of` of its type."""


class Tell(msgspec.Struct, frozen=True):
    """A message to another twin, committed with the turn that tells it and heard once.

    Attributes
    ----------
    twin_id : str
        Who is told; it hears `Told`. For `WHOLE`, what this twin is part of; if that is nothing, nobody is told.
    name : str
        Of the message.
    body : object
        A small value that JSON can hold.
    """

    twin_id: str
    name: str
    body: Any = None


class SetTimer(msgspec.Struct, frozen=True):
    """Hear `TimerDue` once at some event time, or with the first tick after it; the same name again moves it."""

    name: str
    at: float
    """Seconds since 1970."""


class CancelTimer(msgspec.Struct, frozen=True):
    """Do not hear of a timer any more; of one that is not set there is nothing to cancel."""

    name: str


class Turn[S](msgspec.Struct, frozen=True):
    """The result of one message applied: the next state, and what is to happen because of it."""

    state: S
    outputs: tuple[Tell | SetTimer | CancelTimer, ...] = ()


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


class Escalation(msgspec.Struct, frozen=True, kw_only=True):
    """How an alert becomes more severe or more urgent while nobody heeds it: a step of its rule.

    Attributes
    ----------
    after_seconds : float
        Since the alert was raised, by the cloud's clock.
    severity, priority
        From then on; both at least those of the step before.
    orders_work : bool
        Whether a work order is placed, or the one that is open made more urgent.
    """

    after_seconds: float
    severity: Severity
    priority: Priority
    orders_work: bool = False


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that raises an alert: a row of the twin type's table.

    Attributes
    ----------
    name : str
        Of the alert.
    signal : str
        The property that is watched; `remainingUsefulLifeDays` is one. On silence it is the channel that is missed, or
        `connection` for the device as a whole.
    above, below : float or None
        The limit.
    absent_for : float or None
        Seconds without a usable value of the channel, or without a word of the device, by the cloud's clock; the next
        one ends the alert. Of the three, one is set.
    clears_at : float
        Where the alert on a limit ends: on its good side, so that noise does not raise it again and again.
    for_seconds : float
        How long the limit must be passed without a break, in event time.
    only_while : str
        A property, true or false: silence counts only if it was true when the device was last heard; empty for always.
    severity : Severity
    priority : Priority
        Of maintenance, while the alert is active.
    text : str
        What it is, and what to do.
    command : str
        The command to give, by the guard rails of its row; empty for none.
    orders_work : bool
        Whether a work order is placed.
    escalations : tuple of Escalation
        In the order of their times, until somebody acknowledges the alert.
    escalates_until_cleared : bool
        Whether an acknowledgement does not stop them.
    """

    name: str
    signal: str
    text: str
    above: float | None = None
    below: float | None = None
    absent_for: float | None = None
    clears_at: float = math.nan
    for_seconds: float = 0.0
    only_while: str = ""
    severity: Severity = Severity.WARNING
    priority: Priority = Priority.MEDIUM
    command: str = ""
    orders_work: bool = False
    escalations: tuple[Escalation, ...] = ()
    escalates_until_cleared: bool = False


class Command[S](msgspec.Struct, frozen=True, kw_only=True):
    """What a device can be told, and the guard rails: a row of the twin type's table.

    Attributes
    ----------
    name : str
        Of the Command in the DTDL model.
    low, high : float
        Limits of a number asked for; nothing outside is sent, whoever asks.
    argument : Callable
        What to ask for when a rule gives the command: state → value, None for nothing now.
    least_interval_seconds : float
        Between two that rules give.
    expires_after_seconds : float
        After which a command that a rule gave is not delivered.
    desired : str
        The writable property of the model that says the same to a device that is offline; empty for none.
    override : str
        The property with which an operator stops automatic commands: they are given while it is not false.
    """

    name: str
    low: float = -math.inf
    high: float = math.inf
    argument: Callable[[S], float | None] | None = None
    least_interval_seconds: float = 60.0
    expires_after_seconds: float = 60.0
    desired: str = ""
    override: str = "automaticControl"


CONNECTION = "connection"

RUL = "remainingUsefulLifeDays"

RUL_RULES = (
    Rule(
        name="failure-near",
        signal=RUL,
        below=7.0,
        clears_at=10.0,
        for_seconds=10.0,
        severity=Severity.CRITICAL,
        priority=Priority.CRITICAL,
        text="It is expected to fail within a week: take it out of service and repair it.",
        orders_work=True,
    ),
    Rule(
        name="failure-foreseen",
        signal=RUL,
        below=30.0,
        clears_at=36.0,
        for_seconds=10.0,
        priority=Priority.HIGH,
        text="It is expected to fail within a month: plan its repair.",
        orders_work=True,
    ),
)
"""Rules of every twin type with a RUL model: critical below a week, high below a month."""


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    """How states of one layout become states of the next: a row of the twin type's table.

    Attributes
    ----------
    from_version : int
        The layout that is left behind, counted from 1.
    up : Callable
        State as plain values, field → value, in that layout → the same in the next. As plain and pure as `receive`.
    down : Callable or None
        The way back, by which an earlier version of the app can be deployed again; None where there is none.
    """

    from_version: int
    up: Callable[[dict[str, Any]], dict[str, Any]]
    down: Callable[[dict[str, Any]], dict[str, Any]] | None = None


class Frames(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The frames of a wide machine, which come as Arrow streams: a row of the twin type's table.

    Attributes
    ----------
    telemetry : str
        The Telemetry in the DTDL model, an Array of float or double.
    channels : tuple of Channel
        What the values of a row are, in their order. Absence is always reported, and silence is not suspicious here.
    time_constant_seconds : float
        Of the smoothed values and slopes among the statistics.
    """

    telemetry: str
    channels: tuple[Channel, ...]
    time_constant_seconds: float = 600.0

    @functools.cached_property
    def limits(self) -> npt.NDArray[np.float64]:
        """Lowest and highest value and fastest change of each channel, as the kernel takes them."""
        rows = [(one.low, one.high, one.max_rate) for one in self.channels]
        return np.ascontiguousarray(np.array(rows, dtype=np.float64).reshape(-1, 3).T)


class Fleet(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The turns of many twins at once: for a type whose devices speak often, and whose `receive` is a kernel.

    Its state has one field, ``numbers: bytes``: float64, little-endian, NaN for what is not known. A reading that is
    late, or has no usable value, changes nothing.

    Attributes
    ----------
    follow : Callable
        ``(states, twin, time, values, suspect, columns) → seen``: brings twins forward, reading by reading. `states`,
        shape (n, width), is changed in place, and no row of it touches another. Of each reading, m in all: `twin`, the
        row that it is of, `time` [s since 1970], `values` and `suspect`, shape (m, len(channels)): NaN where a channel
        has no usable value, 1 where one is suspect. `seen`, shape (m, len(columns)), is what stands in some columns
        after each. No number of a state may become infinite.
    channels : tuple of str
        What the columns of `values` are: the names of the type's channels, in their order.
    columns : Mapping
        Property → column of `states` that holds its value while it is shown: of all that rules limit.
    """

    follow: Callable[
        [
            npt.NDArray[np.float64],
            npt.NDArray[np.intp],
            npt.NDArray[np.float64],
            npt.NDArray[np.float64],
            npt.NDArray[np.uint8],
            npt.NDArray[np.intp],
        ],
        npt.NDArray[np.float64],
    ]
    channels: tuple[str, ...]
    columns: Mapping[str, int]

    def receive[S](self, state: S, reading: Reading) -> "Turn[S] | Generator[KernelRequest, Any, Turn[S]]":
        """Fold one reading: what a type with a fleet names as its `receive`."""
        return Turn(state) if reading.is_late or not reading.values else self._follow(state, reading)

    def _follow[S](self, state: S, reading: Reading) -> "Generator[KernelRequest, Any, Turn[S]]":
        values = [reading.values.get(name, math.nan) for name in self.channels]
        suspect = bytes(reading.quality.get(name) is Quality.SUSPECT for name in self.channels)
        numbers = yield KernelRequest(self, (state.numbers, reading.time, values, suspect))  # type: ignore[attr-defined]
        return Turn(type(state)(numbers))  # type: ignore[call-arg]

    def __call__(self, rows: Sequence[tuple[bytes, float, list[float], bytes]]) -> list[bytes]:
        """Answer the requests of several twins, a row each."""
        states, times, values, suspects = zip(*rows, strict=True)
        numbers = self.matrix(states)
        doubted = np.frombuffer(b"".join(suspects), np.uint8).reshape(len(rows), -1)
        each, nothing = np.arange(len(rows)), np.array([], np.intp)
        self.follow(numbers, each, np.array(times, np.float64), np.array(values, np.float64), doubted, nothing)
        return [row.tobytes() for row in numbers]

    @staticmethod
    def matrix(states: Sequence[bytes]) -> npt.NDArray[np.float64]:
        """Return the numbers of some states, a row each, to be changed."""
        return np.frombuffer(bytearray().join(states), np.float64).reshape(len(states), -1)


# What it takes beside the state is what `hears` names, which the type checker cannot know.
type Receive[S] = Callable[[S, Any], Turn[S] | Generator[KernelRequest, Any, Turn[S]]]


class TwinType[S: msgspec.Struct](msgspec.Struct, frozen=True, kw_only=True, dict=True):
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
    fleet : Fleet or None
        How many of them are folded at once, where its `receive` is that of the fleet.
    frames : Frames or None
        What it reports by thousands: each row is heard as a `Frame`.
    features : Callable or None
        What the RUL model of the type is asked with: state → numbers in its order (NaN where one is not known), None
        while nothing can be said.
    rules : tuple of Rule
    commands : tuple of Command
    priority : Mapping
        Property → the sources that count most for it, others after them; without an entry, a sensor's value counts
        more than a simulation's, and that more than a person's.
    sources : Mapping
        Property → where its value comes from, for people who ask.
    state_version : int
        The version of `state`'s layout.
    upgrades : tuple of Upgrade
        From each earlier layout to the next, in order.
    hears : frozenset of type
        Of `Reading`, `Told` and `TimerDue`, beside frames: what is sent to it and is not among them is a dead letter.
    part_of : Callable
        Twin id → id of the twin that it is part of, empty for none: a rule of how twins are named.
    """

    name: str
    model: str
    state: type[S]
    receive: Receive[S]
    properties: Callable[[S], Mapping[str, PropertyValue | None]]
    channels: tuple[Channel, ...]
    fleet: Fleet | None = None
    frames: Frames | None = None
    features: Callable[[S], tuple[float, ...] | None] | None = None
    rules: tuple[Rule, ...] = ()
    commands: tuple[Command[S], ...] = ()
    priority: Mapping[str, tuple[Source, ...]] = {}
    sources: Mapping[str, str] = {}
    state_version: int = 1
    upgrades: tuple[Upgrade, ...] = ()
    hears: frozenset[type] = frozenset({Reading})
    part_of: Callable[[str], str] = lambda _twin_id: ""

    @functools.cached_property
    def channel_table(self) -> npt.NDArray[np.float64]:
        """The channels as `kernels.signal_quality` takes them."""
        rows = [(one.low, one.high, one.max_rate, one.stuck_after, one.required) for one in self.channels]
        return np.array(rows, dtype=np.float64).reshape(-1, 5)

    @functools.cached_property
    def limits(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of a type with a fleet: the columns that rules limit, and sign and limit: past where sign value > limit."""
        assert self.fleet is not None
        rows = [
            (
                self.fleet.columns[rule.signal],
                1.0 if rule.below is None else -1.0,
                rule.above if rule.below is None else -rule.below,
            )
            for rule in self.rules
            if rule.absent_for is None and rule.signal in self.fleet.columns
        ]
        columns, signs, limits = zip(*rows, strict=True) if rows else ((), (), ())
        return np.array(columns, np.intp), np.array(signs, np.float64), np.array(limits, np.float64)
