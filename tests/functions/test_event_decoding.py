"""The fast path makes of whatever the host sends what the genuine converter does."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from azure.functions import meta
from azure.functions.eventhub import EventHubTriggerConverter
from hypothesis import given
from hypothesis import strategies as st

from functions import decoding
from tests.functions.host_batch import system

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
    EventHubTriggerConverter.decode_multiple_events = classmethod(decoding._decode_slowly)


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


class Shipped(EventHubTriggerConverter, binding=None):
    """The converter as it is shipped."""

    decode_multiple_events = classmethod(decoding._decode_slowly)
    _parse_datetime = classmethod(decoding._parse_slowly)


class Fast(EventHubTriggerConverter, binding=None):
    """The converter as the app uses it."""

    decode_multiple_events = classmethod(decoding._decode_multiple_events)
    _parse_datetime = classmethod(decoding._parse_datetime)


def made(converter: type[EventHubTriggerConverter], data: meta.Datum, entries: str | None) -> object:
    """Return all that the events of a batch say, or what is raised."""
    metadata = {
        "PartitionContext": meta.Datum('{"PartitionId": "3"}', "json"),
        "SequenceNumberArray": meta.Datum(SimpleNamespace(sint64=[1, 2]), "collection_sint64"),
    }
    if entries is not None:
        metadata["SystemPropertiesArray"] = meta.Datum(entries, "json")
    try:
        events = converter.decode_multiple_events(data, metadata)
    except (AssertionError, AttributeError, TypeError, ValueError, UnboundLocalError) as error:
        return type(error)
    return [
        (
            one.get_body(),
            one.enqueued_time,
            one.sequence_number,
            one.offset,
            one.partition_key,
            one.iothub_metadata,
            one.metadata,
        )
        for one in events
    ]


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=3),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)  # fmt: skip
usual = st.fixed_dictionaries(
    {
        "SequenceNumber": st.integers(0, 2**53),
        "Offset": st.integers(-1, 2**53),
        "PartitionKey": st.one_of(st.none(), st.text(max_size=3)),
        "EnqueuedTimeUtc": st.sampled_from(SHAPES),
    },
    optional={
        "iothub-connection-device-id": anything,
        "iothub-": anything,
        "message-id": anything,
        "iothubx": anything,
    },
)
unusual = st.fixed_dictionaries(
    {},
    optional={
        "SequenceNumber": anything,
        "Offset": anything,
        "PartitionKey": anything,
        "EnqueuedTimeUtc": st.one_of(anything, st.sampled_from(SHAPES)),
        "iothub-enqueuedtime": anything,
    },
)


@given(st.lists(st.one_of(usual, usual, unusual), max_size=4), st.integers(0, 4), st.sampled_from(["bytes", "string"]))
def test_whole_batches_are_decoded_alike(entries: list[dict[str, Any]], bodies: int, kind: str) -> None:
    """Every field of every event, and every error, whatever the host sends."""
    some = [f"body {number}" for number in range(max(0, len(entries) - 1 + min(bodies, 1)) if bodies else len(entries))]
    data = meta.Datum(SimpleNamespace(bytes=[one.encode() for one in some]), "collection_bytes")
    if kind == "string":
        data = meta.Datum(SimpleNamespace(string=some), "collection_string")
    text = json.dumps(entries)
    assert made(Fast, data, text) == made(Shipped, data, text)


@pytest.mark.parametrize(
    "entries",
    [
        None,
        "",
        "null",
        "{}",
        "[1]",
        "[null]",
        '[{"SequenceNumber": NaN}]',
        '[{"SequenceNumber": 1, "Offset": 2, "message-id": "\\ud800"}]',
        '[{"SequenceNumber": 1, "Offset": 2, "SequenceNumber": 3}]',
        f'[{{"SequenceNumber": {10**400}, "Offset": 2}}]',
        '[{"SequenceNumber": 1.0, "Offset": 2}]',
        '[{"SequenceNumber": true, "Offset": 2}]',
    ],
)
def test_metadata_that_are_none_are_taken_alike(entries: str | None) -> None:
    """And so is a batch that is one JSON text."""
    for data in (
        meta.Datum(SimpleNamespace(bytes=[b"body"]), "collection_bytes"),
        meta.Datum('[{"a": 1}]', "json"),
        meta.Datum(None, None),
    ):
        assert made(Fast, data, entries) == made(Shipped, data, entries)


def test_the_usual_batch_takes_the_fast_way() -> None:
    """Else all of it were for nothing."""
    entries = json.dumps([system(1), system(2, iothub_enqueuedtime="2026-01-02T03:04:05.6780000Z")])
    data = meta.Datum(SimpleNamespace(bytes=[b"a", b"b"]), "collection_bytes")
    metadata = {"SystemPropertiesArray": meta.Datum(entries, "json")}
    assert len(decoding._decode_at_once(Fast, data, metadata)) == 2


def test_an_unknown_release_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decoding was not compared."""
    monkeypatch.setattr(decoding, "KNOWN_VERSIONS", ())
    assert not decoding.install()
    assert "_parse_datetime" not in EventHubTriggerConverter.__dict__
