"""A batch of the host becomes the runtime's events, through the genuine azure-functions classes."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from functions.mailbox import to_events
from tests.functions.host_batch import IOT_HUB, decode, system
from twin_actors.messages import KIND, Event, Kind, kind_of

ENQUEUED = datetime(2026, 1, 2, 3, 4, 6, 789_000, UTC).timestamp()
RECEIVED = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC).timestamp()


def one(body: bytes = b"{}", properties: dict[str, Any] | None = None, **more: Any) -> Event:
    """Return the only event of a batch."""
    events = decode([body], [{**system(7), **more}], [properties or {}])
    return to_events(events, events[0].metadata)[0]


def test_a_device_message() -> None:
    """Everything that IoT Hub and the device say of it."""
    event = one(
        b"\x00\xff",
        {"site": "north", "level": 3},
        **IOT_HUB,
        **{"message-id": "m1", "content-type": "application/json", "dt-dataschema": "dtmi:a:b;1"},
    )
    assert event == Event(
        sequence_number=7,
        enqueued_time=ENQUEUED,
        body=b"\x00\xff",
        device_id="pump-1",
        model="dtmi:a:b;1",
        received_time=RECEIVED,
        message_id="m1",
        content_type="application/json",
        properties={"site": "north", "level": "3"},
    )


def test_our_own_message() -> None:
    """No device, and its kind in the properties."""
    event = one(properties={KIND: "tick"})
    assert (event.device_id, event.received_time, kind_of(event)) == (None, None, Kind.TICK)


def test_order_and_numbers_are_those_of_the_partition() -> None:
    """Each body has its own properties."""
    events = decode([b"a", b"", b"c"], [system(5), system(6), system(9)], [{"n": 1}, {}, {"n": 3}])
    made = to_events(events, events[0].metadata)
    assert [(event.sequence_number, event.body, event.properties) for event in made] == [
        (5, b"a", {"n": "1"}),
        (6, b"", {}),
        (9, b"c", {"n": "3"}),
    ]
    assert events[0].metadata["PartitionContext"]["PartitionId"] == "3"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("message-id", 12),
        ("message-id", {"a": 1}),
        ("content-type", 5),
        ("iothub-enqueuedtime", "no time"),
        ("iothub-enqueuedtime", None),
        ("iothub-creation-time-utc", 1_767_323_045_678),
        ("iothub-creation-time-utc", "2026-01-02T03:04:05.678Z"),
        ("iothub-creation-time-utc", [1]),
        ("dt-dataschema", 1),
    ],
)
def test_whatever_a_sender_sets_the_event_can_be_written_and_read(name: str, value: object) -> None:
    """A field of another type would be encoded, and make the journal unreadable."""
    event = one(**{**IOT_HUB, name: value})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event
    assert event.received_time in {None, RECEIVED}


def test_a_time_of_creation_is_read_as_text_and_as_number() -> None:
    """The host writes text; a number is milliseconds."""
    for value in ("2026-01-02T03:04:05.678Z", 1_767_323_045_678):
        assert one(**{"iothub-creation-time-utc": value}).created_time == pytest.approx(RECEIVED)
