"""The fast path reads every time that the host sends as the genuine converter does."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from azure.functions import meta
from azure.functions.eventhub import EventHubTriggerConverter
from hypothesis import given
from hypothesis import strategies as st

from functions import decoding
from tests.functions.host_batch import decode, system

SHAPES = [
    "2026-01-02T03:04:05",
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05+00:00",
    "2026-01-02T03:04:05+02:00",
    "2026-01-02T03:04:05-11:30",
    *(f"2026-01-02T03:04:05.{'1234567'[:digits]}{zone}" for digits in range(1, 8) for zone in ("", "Z", "+00:00")),
    "2026-02-29T00:00:00",
    "2026-01-02T03:04:60",
    "2026-01-02 03:04:05",
    "1/2/2026 3:04:05 AM",
    "01/02/2026 03:04:05",
    "Fri Jan 2 03:04:05 2026",
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59.9999999",
    "no time",
    "",
    None,
]


@pytest.fixture
def fast() -> Iterator[None]:
    """The fast path, taken out again afterwards."""
    assert decoding.install()
    yield
    del EventHubTriggerConverter._parse_datetime


def outcome(parse: object, text: str | None) -> object:
    """Return what a parser makes of text, or what it raises."""
    try:
        return parse(text)
    except ValueError as error:
        return type(error)


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("text", SHAPES)
def test_it_equals_the_original(text: str | None) -> None:
    """Value, zone, or error."""
    assert outcome(EventHubTriggerConverter._parse_datetime, text) == outcome(meta._BaseConverter._parse_datetime, text)


@given(st.datetimes(timezones=st.one_of(st.none(), st.just(UTC))), st.sampled_from(["seconds", "milliseconds", "auto"]))
def test_it_equals_the_original_for_any_time(moment: datetime, precision: str) -> None:
    """As .NET writes it: with or without a zone, with any fraction."""
    text = moment.isoformat(timespec=precision)
    fast_one = decoding._parse_datetime(EventHubTriggerConverter, text)
    assert fast_one == meta._BaseConverter._parse_datetime(text)
    assert fast_one.tzinfo == meta._BaseConverter._parse_datetime(text).tzinfo


@pytest.mark.usefixtures("fast")
def test_whole_batches_are_decoded_alike() -> None:
    """All that an event has, with the fast path in place and without it."""
    batch = ([b"a", b"b"], [system(1), system(2, iothub_enqueuedtime="2026-01-02T03:04:05.6780000Z")])
    fast_events = decode(*batch)
    converter = EventHubTriggerConverter
    installed = converter.__dict__["_parse_datetime"]
    del converter._parse_datetime
    slow_events = decode(*batch)
    converter._parse_datetime = installed

    def seen(event: object) -> tuple[object, ...]:
        return (
            event.get_body(),
            event.enqueued_time,
            event.sequence_number,
            event.offset,
            event.partition_key,
            event.iothub_metadata,
        )

    assert [seen(event) for event in fast_events] == [seen(event) for event in slow_events]


def test_an_unknown_release_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decoding was not compared."""
    monkeypatch.setattr(decoding, "KNOWN_VERSIONS", ())
    assert not decoding.install()
    assert "_parse_datetime" not in EventHubTriggerConverter.__dict__
