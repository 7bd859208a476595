"""What arrives: the events of a partition, the envelopes they become, and what twins hear.

An event of a device carries its device id, put there by IoT Hub: it is a reading of that
device's twin, whatever else it claims. Only where IoT Hub put none do the properties speak:

=====================  ==================================================================
``twinfold-kind``      telemetry · tick · forward · replay · request · tell
``twinfold-twin``      the twin that a telemetry event of a back end, a request or a tell is for
``twinfold-letter``    the dead letter that a replay asks for
=====================  ==================================================================
"""

import enum
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from twin_actors.errors import Rejected
from twin_actors.frames import WideRow
from twin_actors.identity import is_twin_id

MAX_MESSAGE_BYTES = 262_144
"""What IoT Hub takes from a device, properties included; nothing larger is folded or forwarded, whoever sent it."""

KIND = "twinfold-kind"
TWIN = "twinfold-twin"
LETTER = "twinfold-letter"
DEVICE_CLAIM = "iothub-connection-device-id"

JSON = "application/json"

ARROW = "application/vnd.apache.arrow.stream"
"""The content type of bodies that are no JSON."""


class Kind(enum.StrEnum):
    """What an event is for."""

    TELEMETRY = "telemetry"
    TICK = "tick"
    FORWARD = "forward"
    REPLAY = "replay"
    REQUEST = "request"
    TELL = "tell"
    """A message of another twin; only within a forward, whose number tells a repeat."""


class Quality(enum.StrEnum):
    """How far a reading of a channel can be trusted."""

    GOOD = "good"
    SUSPECT = "suspect"
    BAD = "bad"
    MISSING = "missing"


class Reading(msgspec.Struct, frozen=True):
    """One set of channel values of a device at one time.

    Attributes
    ----------
    time : float
        Event time, seconds since 1970 UTC.
    values : dict
        Channel → value, in the unit of the model's Telemetry; only values whose quality is good
        or suspect.
    quality : dict
        Channel → quality, of every declared channel that is not good.
    is_late : bool
        Whether an earlier reading of this twin already had a later event time: aggregates may
        count it, current values must not follow it.
    """

    time: float
    values: dict[str, float]
    quality: dict[str, Quality]
    is_late: bool = False


class Told(msgspec.Struct, frozen=True):
    """What another twin tells.

    Attributes
    ----------
    sender : str
        Its twin id.
    name : str
        Of the message.
    body : object
        What JSON can hold.
    time : float
        Event time of the turn that told it: as `Reading.time` for the sender's reading.
    """

    sender: str
    name: str
    body: Any
    time: float


class TimerDue(msgspec.Struct, frozen=True):
    """A timer that the twin has set for itself is due.

    Attributes
    ----------
    name : str
    time : float
        When it was due, as it was set; it is run by the first tick after that.
    """

    name: str
    time: float


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a partition, as the trigger or the gap reader hands it over.

    Attributes
    ----------
    sequence_number : int
        Its place in the partition.
    enqueued_time : float
        When Event Hubs took it, seconds since 1970 UTC.
    body : bytes
    device_id, model : str or None
        What IoT Hub vouches for: the device that is connected, the DTDL model it announced.
    received_time : float or None
        When IoT Hub took it.
    created_time : float or None
        When the device says that it made it.
    message_id, content_type : str or None
        Set by the sender.
    properties : dict
        The sender's application properties.
    """

    sequence_number: int
    enqueued_time: float
    body: bytes
    device_id: str | None = None
    model: str | None = None
    received_time: float | None = None
    created_time: float | None = None
    message_id: str | None = None
    content_type: str | None = None
    properties: dict[str, str] = {}


class Row(msgspec.Struct, frozen=True):
    """One reading as it was sent: the claimed time, and channel → anything JSON can hold."""

    time: float | None
    channels: dict[str, Any]


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A message addressed to a twin.

    Attributes
    ----------
    twin_id : str
    rows : tuple of Row, or of WideRow
        Its readings, in the order sent.
    event : Event
        Where it came from; a forwarded or replayed message keeps its first event.
    sequence_number : int
        Its place in the partition that folds it.
    """

    twin_id: str
    rows: tuple[Row | WideRow, ...]
    event: Event
    sequence_number: int


class Forward(msgspec.Struct, frozen=True, array_like=True):
    """An event on its way to the home of its twin, numbered on the channel between two shards."""

    source: int
    number: int
    event: Event


_forward_decoder = msgspec.msgpack.Decoder(Forward)


def kind_of(event: Event) -> Kind:
    """Return what an event is for.

    Raises
    ------
    Rejected
        It claims to come from a device, or claims no kind that is known.
    """
    if event.device_id is not None:
        return Kind.TELEMETRY
    forged = [name for name in event.properties if name.lower().startswith("iothub-")]
    if forged:
        raise Rejected(
            "forged_device",
            f"property {forged[0]!r} belongs to IoT Hub, and this event did not come through it; "
            "send device messages through IoT Hub",
        )
    claimed = event.properties.get(KIND)
    try:
        return Kind(claimed or "")
    except ValueError:
        known = ", ".join(Kind)
        raise Rejected(
            "unknown_kind",
            f"property {KIND} is {claimed!r}; an event that no device sent must name one of: {known}",
        ) from None


def address(event: Event) -> str:
    """Return the twin that a telemetry event is for.

    Raises
    ------
    Rejected
        It names none, or something that cannot be a twin.
    """
    twin_id = event.device_id or event.properties.get(TWIN, "")
    if not is_twin_id(twin_id):
        raise Rejected("no_address", f"{twin_id[:150]!r} is no twin id; set property {TWIN}")
    return twin_id


def check_size(event: Event) -> None:
    """Refuse an event that is larger than a device can send.

    Raises
    ------
    Rejected
    """
    size = len(event.body)
    if event.properties:
        size += sum(len(name.encode()) + len(text.encode()) for name, text in event.properties.items())
    if size > MAX_MESSAGE_BYTES:
        raise Rejected("too_large", f"the message has {size} bytes, at most {MAX_MESSAGE_BYTES} are folded")


def open_envelope(event: Event, sequence_number: int) -> Envelope:
    """Decode the body of a telemetry event.

    Raises
    ------
    Rejected
        The body is not JSON, or is not one object of channels or a list of them, nor what its content type says.
    """
    return Envelope(twin_id=address(event), rows=rows_of(event), event=event, sequence_number=sequence_number)


def open_known(event: Event) -> Envelope:
    """Decode the body of an event of a device whose id names a twin; what is wrong is told as by `open_envelope`."""
    assert event.device_id is not None
    return Envelope(twin_id=event.device_id, rows=rows_of(event), event=event, sequence_number=event.sequence_number)


def open_forward(event: Event) -> Forward:
    """Decode a forwarded event.

    Raises
    ------
    Rejected
        The body is no forwarded event.
    """
    try:
        return _forward_decoder.decode(event.body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected("bad_forward", f"the body is no forwarded event: {error}") from None


def rows_of(event: Event) -> tuple[Row | WideRow, ...]:
    """Decode the body of a telemetry event, as `open_envelope` does."""
    kind = event.content_type
    if kind and kind != JSON and kind.split(";")[0].strip().lower() == ARROW:
        return _arrow_rows(event)
    try:
        document = _decode(event.body)
    except (msgspec.DecodeError, RecursionError):
        document = _nearly_json(event.body)
    if type(document) is dict:
        return (Row(_claimed_time(document, event.created_time), document),)
    documents: list[Any] = document if isinstance(document, list) else [document]
    if not documents:
        raise Rejected("no_reading", "the body is an empty list; send at least one object of channels")
    for one in documents:
        if not isinstance(one, dict):
            raise Rejected("not_channels", "the body must be a JSON object of channels, or a list of such objects")
    return tuple(Row(_claimed_time(one, event.created_time), one) for one in documents)


def _arrow_rows(event: Event) -> tuple[Row | WideRow, ...]:
    from twin_actors.arrow import read  # noqa: PLC0415  loading Arrow takes time that most workers never need

    table = read(event.body)
    times = [event.created_time if time is None else time for time in table.times]
    if table.values is not None:
        return tuple(map(WideRow, times, table.values))
    channels = ({name: cells[row] for name, cells in table.columns.items()} for row in range(len(times)))
    return tuple(
        Row(time, {name: value for name, value in sent.items() if value is not None})
        for time, sent in zip(times, channels, strict=True)
    )


_decode = msgspec.json.Decoder().decode


def _nearly_json(body: bytes) -> object:
    # NaN and Infinity are no JSON, but what many encoders write for a broken sensor: the other
    # channels of such a message still count.
    try:
        document = json.loads(body)
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair could not be written down
    except (ValueError, RecursionError) as error:
        raise Rejected("not_json", f"the body is no JSON: {error}") from None
    return document


def _claimed_time(document: dict[str, Any], default: float | None) -> float | None:
    """Take the time out of a row: RFC 3339 text or seconds since 1970; NaN where it is neither."""
    claimed = document.pop("time", None)
    if isinstance(claimed, str):
        return parse_time(claimed)
    if isinstance(claimed, int | float) and not isinstance(claimed, bool) and abs(claimed) < 1e12:
        return float(claimed)
    return default if claimed is None else math.nan


def parse_time(text: str) -> float:
    """Return RFC 3339 text as seconds since 1970; text without a zone is UTC, no time is NaN."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def sizes(events: Sequence[Event]) -> int:
    """Return the bytes of the bodies together."""
    return sum(len(event.body) for event in events)
