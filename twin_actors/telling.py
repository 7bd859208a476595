"""What twins tell each other, and the timers they set: checked when a turn puts it out, opened where it arrives.

A message to a twin travels as a forwarded event does: committed with the turn, numbered on the channel between two
partitions, applied once. What it leads to is bounded, so that twins that answer each other cannot keep it up for ever.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from twin_actors.commit import Twin
from twin_actors.errors import Rejected
from twin_actors.identity import is_twin_id
from twin_actors.messages import KIND, TWIN, Envelope, Event, Kind, TimerDue, Told
from twin_actors.outputs import SendForward
from twin_actors.requests import LAST_TIME, AddressedRequest
from twin_actors.twin import WHOLE, CancelTimer, SetTimer, Tell, TwinType

MAX_TELLS = 16
"""Messages to twins of one turn."""

MAX_TELL_BYTES = 4_096
"""Of the body of a message to a twin, as JSON."""

MAX_SAID_BYTES = 1024 * 1024
"""Of all that the turns of one message tell: a device may send thousands of readings at once."""

MAX_FOLLOWING = 256
"""Messages between twins that one reading, or one timer, may lead to, all that follow from each other together."""

MAX_TIMERS = 16
"""Of one twin."""

MAX_NAME_LENGTH = 64
"""Of a message, of a timer."""


class Telling(msgspec.Struct, frozen=True):
    """A message to a twin as its event carries it.

    Attributes
    ----------
    sender, name : str
    time : float
        Event time of the turn that told it.
    allowance : int
        How many more messages it may lead to; below zero it must not be heard any more.
    cause : str
        ``partition-sequence number`` of the message whose turn told it; empty for a timer's.
    body : msgspec.Raw
    """

    sender: str
    name: str
    time: float
    allowance: int
    cause: str
    body: msgspec.Raw


class AddressedTell(msgspec.Struct, frozen=True, kw_only=True):
    """A message of another twin on its way to a turn: as an `Envelope` is for readings."""

    twin_id: str
    message: Told
    allowance: int
    event: Event
    sequence_number: int

    @property
    def hub_time(self) -> float:
        """When the mailbox took it."""
        return self.event.enqueued_time


class DueTimer(msgspec.Struct, frozen=True, kw_only=True):
    """A timer on its way to a turn."""

    message: TimerDue
    hub_time: float
    allowance: int = MAX_FOLLOWING


type Addressed = Envelope | AddressedRequest | AddressedTell
"""What events bring to a twin."""


class Said(msgspec.Struct, kw_only=True):
    """What the turns of one message put out.

    Attributes
    ----------
    twin_type : TwinType
    sender, cause : str
    timers : dict
        Name → when it is due; replaced, never changed.
    forwards : list of SendForward
        What is told, not yet numbered.
    size : int
        The bytes of that.
    """

    twin_type: TwinType[Any]
    sender: str
    cause: str
    timers: dict[str, float]
    forwards: list[SendForward] = []
    size: int = 0

    @classmethod
    def of(cls, twin_type: TwinType[Any], twin: Twin, cause: str) -> "Said":
        """Return what a twin has said before its first turn of a message."""
        return cls(twin_type=twin_type, sender=twin.twin_id, cause=cause, timers=twin.timers)

    def take(self, outputs: Sequence[Tell | SetTimer | CancelTimer], time: float, allowance: int) -> None:
        """Take what one turn puts out.

        Parameters
        ----------
        outputs
        time
            Event time of the turn.
        allowance
            How many messages it may lead to.

        Raises
        ------
        Rejected
            Something of it cannot be kept; the message that led to it is refused as a whole.
        """
        tells = [tell for output in outputs if isinstance(output, Tell) and (tell := self._addressed(output))]
        if len(tells) > MAX_TELLS:
            raise Rejected("bad_output", f"one turn tells {len(tells)} messages, at most {MAX_TELLS} go at once")
        share = (allowance - len(tells)) // len(tells) if tells else 0
        for tell in tells:
            self._tell(tell, time, share)
        for output in outputs:
            if isinstance(output, Tell):
                continue
            if isinstance(output, SetTimer):
                self._set(output)
            elif isinstance(output, CancelTimer):
                self.timers = {name: at for name, at in self.timers.items() if name != output.name}
            else:
                raise Rejected("bad_output", f"{output!r} is none of Tell, SetTimer and CancelTimer")

    def _addressed(self, tell: Tell) -> Tell | None:
        """Return a message with the id of its receiver; None where that is nobody."""
        if tell.twin_id != WHOLE:
            return tell
        whole = self.twin_type.part_of(self.sender)
        return Tell(whole, tell.name, tell.body) if whole else None

    def _tell(self, tell: Tell, time: float, allowance: int) -> None:
        if not is_twin_id(tell.twin_id):
            raise Rejected("bad_output", f"{tell.twin_id!r}, which is told {tell.name!r}, is no twin id")
        _check_name("message", tell.name)
        telling = Telling(self.sender, tell.name, time, allowance, self.cause, msgspec.Raw(_json(tell)))
        body = msgspec.json.encode(telling)
        self.size += len(body)
        if self.size > MAX_SAID_BYTES:
            raise Rejected("bad_output", f"one message leads to more than {MAX_SAID_BYTES} bytes for other twins")
        # Its time is that of its arrival, which nobody knows yet.
        event = Event(
            sequence_number=0, enqueued_time=0.0, body=body, properties={KIND: Kind.TELL.value, TWIN: tell.twin_id}
        )
        self.forwards.append(SendForward(0, 0, 0, event))

    def _set(self, timer: SetTimer) -> None:
        if TimerDue not in self.twin_type.hears:
            raise Rejected(
                "bad_output", f"{self.twin_type.name} sets a timer and does not hear TimerDue: name it there"
            )
        _check_name("timer", timer.name)
        if not 0.0 <= timer.at <= LAST_TIME:  # NaN is neither
            raise Rejected("bad_output", f"timer {timer.name} is set to {timer.at}: not between 1970 and 2100")
        self.timers = {**self.timers, timer.name: float(timer.at)}
        if len(self.timers) > MAX_TIMERS:
            raise Rejected("bad_output", f"{len(self.timers)} timers are set, at most {MAX_TIMERS} a twin")


def _check_name(what: str, name: object) -> None:
    if not (isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()):
        raise Rejected("bad_output", f"{what} {name!r}: a name has 1 to {MAX_NAME_LENGTH} printable characters")


def _json(tell: Tell) -> bytes:
    """Encode a body: exactly what JSON can hold, no NaN, nothing that would come out as something else."""
    try:
        body = json.dumps(tell.body, allow_nan=False, separators=(",", ":")).encode()
        msgspec.json.decode(body)  # half a surrogate pair could be sent, and never read
    except (TypeError, ValueError, RecursionError, msgspec.DecodeError) as error:
        raise Rejected("bad_output", f"message {tell.name} has a body that JSON cannot hold: {error}") from None
    if len(body) > MAX_TELL_BYTES:
        raise Rejected("bad_output", f"message {tell.name} has {len(body)} bytes, at most {MAX_TELL_BYTES} are sent")
    return body


_decoder = msgspec.json.Decoder(Telling)


def open_tell(event: Event, twin_id: str, sequence_number: int) -> AddressedTell:
    """Decode a message of another twin.

    Raises
    ------
    Rejected
        The body is none, or what led to it has used up what may follow from one message.
    """
    try:
        telling = _decoder.decode(event.body)
        body = msgspec.json.decode(telling.body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected("bad_tell", f"the body is no message of a twin: {error}") from None
    is_known = is_twin_id(telling.sender) and math.isfinite(telling.time)
    if not (is_known and telling.allowance <= MAX_FOLLOWING and len(bytes(telling.body)) <= MAX_TELL_BYTES):
        raise Rejected("bad_tell", "its sender, time, allowance or size are none that a twin sends")
    if telling.allowance < 0:
        raise Rejected(
            "too_many_hops",
            f"{telling.sender} tells {telling.name!r}, but the {MAX_FOLLOWING} messages that one reading may lead to "
            "are used up: twins tell each other in a circle, or too many of them",
        )
    return AddressedTell(
        twin_id=twin_id,
        message=Told(telling.sender, telling.name, body, telling.time),
        allowance=telling.allowance,
        event=event,
        sequence_number=sequence_number,
    )
