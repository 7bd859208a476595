"""Events become envelopes, or dead letters with a reason."""

import math

import msgspec
import pytest

from tests.twin_actors.world import telemetry
from twin_actors.errors import Rejected
from twin_actors.messages import (
    KIND,
    MAX_MESSAGE_BYTES,
    TWIN,
    Event,
    Forward,
    Kind,
    Row,
    address,
    check_size,
    kind_of,
    open_envelope,
    open_forward,
    parse_time,
)


def event(body: bytes = b"{}", **more: object) -> Event:
    """Return an event of a device."""
    return msgspec.structs.replace(telemetry("pump-1", 1), body=body, **more)


def ours(**properties: str) -> Event:
    """Return an event that did not come through IoT Hub."""
    return Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties=properties)


def rows(body: bytes, **more: object) -> tuple[Row, ...]:
    """Return the rows of a body."""
    return open_envelope(event(body, **more), 0).rows


class TestKind:
    """A device is only ever itself."""

    @pytest.mark.parametrize("kind", Kind)
    def test_a_device_sends_telemetry_whatever_it_claims(self, kind: Kind) -> None:
        """Its properties are its own business."""
        claims = {KIND: kind.value, TWIN: "other", "iothub-connection-device-id": "other"}
        assert kind_of(event(properties=claims)) is Kind.TELEMETRY
        assert address(event(properties=claims)) == "pump-1"

    @pytest.mark.parametrize("kind", Kind)
    def test_ours_say_their_kind(self, kind: Kind) -> None:
        """In a property."""
        assert kind_of(ours(**{KIND: kind.value})) is kind

    @pytest.mark.parametrize("properties", [{}, {KIND: ""}, {KIND: "Tick"}, {KIND: "command"}])
    def test_unknown_kind(self, properties: dict[str, str]) -> None:
        """Nothing is guessed."""
        with pytest.raises(Rejected) as refused:
            kind_of(ours(**properties))
        assert refused.value.reason == "unknown_kind"

    @pytest.mark.parametrize("name", ["iothub-connection-device-id", "IoTHub-Enqueuedtime"])
    def test_forged_device(self, name: str) -> None:
        """A back end that writes what only IoT Hub writes."""
        with pytest.raises(Rejected) as refused:
            kind_of(ours(**{KIND: "telemetry", name: "pump-1"}))
        assert refused.value.reason == "forged_device"

    @pytest.mark.parametrize("name", ["", "a b", "x" * 129])
    def test_no_address(self, name: str) -> None:
        """An event must be for a twin that can be."""
        with pytest.raises(Rejected) as refused:
            address(ours(**{KIND: "telemetry", TWIN: name}))
        assert refused.value.reason == "no_address"

    def test_too_large(self) -> None:
        """Body and properties together, in bytes."""
        check_size(event(b"x" * MAX_MESSAGE_BYTES))
        for large in (
            event(b"x" * (MAX_MESSAGE_BYTES + 1)),
            event(b"x" * (MAX_MESSAGE_BYTES - 5), properties={"név": "12"}),
        ):
            with pytest.raises(Rejected) as refused:
                check_size(large)
            assert refused.value.reason == "too_large"


class TestBodies:
    """One object of channels, or a list of them."""

    def test_one_object(self) -> None:
        """Is one row; its time is taken out."""
        assert rows(b'{"flow": 1.5, "time": 1700000000}') == (Row(1_700_000_000.0, {"flow": 1.5}),)

    def test_a_list(self) -> None:
        """Is one row each, in order."""
        assert [row.channels for row in rows(b'[{"n": 1}, {"n": 2}]')] == [{"n": 1}, {"n": 2}]

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "not_json"),
            (b"hello", "not_json"),
            (b"{", "not_json"),
            (b'{"a": 1} x', "not_json"),
            (b"\xff", "not_json"),
            (b"[" * 100_000, "not_json"),
            (b'{"\\ud800": 1}', "not_json"),
            (b'{"a": ' + b"9" * 5000 + b"}", "not_json"),
            (b"[]", "no_reading"),
            (b"3", "not_channels"),
            (b"null", "not_channels"),
            (b'"text"', "not_channels"),
            (b'[{"a": 1}, 2]', "not_channels"),
            (b"[[]]", "not_channels"),
        ],
    )
    def test_refused(self, body: bytes, reason: str) -> None:
        """With a reason that is the same for all messages with this fault."""
        with pytest.raises(Rejected) as refused:
            rows(body)
        assert refused.value.reason == reason

    def test_nan_and_infinity_do_not_spoil_the_others(self) -> None:
        """What many encoders write for a broken sensor."""
        (row,) = rows(b'{"a": NaN, "b": -Infinity, "c": 1}')
        assert math.isnan(row.channels["a"])
        assert row.channels["b"] == -math.inf
        assert row.channels["c"] == 1

    @pytest.mark.parametrize(
        ("time", "seconds"),
        [
            ("1700000000", 1_700_000_000.0),
            ("1700000000.25", 1_700_000_000.25),
            ('"2023-11-14T22:13:20Z"', 1_700_000_000.0),
            ('"2023-11-14T22:13:20"', 1_700_000_000.0),
            ('"2023-11-15T00:13:20+02:00"', 1_700_000_000.0),
            ("null", None),
        ],
    )
    def test_times(self, time: str, seconds: float | None) -> None:
        """Seconds or RFC 3339; text without a zone is UTC."""
        assert rows(b'{"time": %s}' % time.encode())[0].time == seconds

    @pytest.mark.parametrize(
        "time", ['"yesterday"', '""', "true", "[1]", "{}", "1e300", "-1e13", '"0001-01-01T00:00:00+23:59"', '"\\u0000"']
    )
    def test_what_is_no_time_is_nan(self, time: str) -> None:
        """And will be replaced by the hub's."""
        claimed = rows(b'{"time": %s}' % time.encode())[0].time
        assert claimed is not None
        assert not 0 < claimed < 1e12

    def test_the_time_of_creation_stands_in(self) -> None:
        """For rows that have none of their own."""
        made = rows(b'[{"time": 1700000000}, {}]', created_time=1_600_000_000.0)
        assert [row.time for row in made] == [1_700_000_000.0, 1_600_000_000.0]


def test_a_forward_is_opened_as_it_was_closed() -> None:
    """Every field of the first event."""
    first = event(b"\x00", model="dtmi:a:b;1", message_id="m", properties={"a": "b"}, received_time=1.5)
    forward = Forward(3, 9, first)
    assert open_forward(event(msgspec.msgpack.encode(forward))) == forward


@pytest.mark.parametrize("body", [b"", b"\xc1", b"{}", b"\x93\x01\x02\x03", b"\x91" * 100_000])
def test_bad_forward(body: bytes) -> None:
    """Anything else is refused."""
    with pytest.raises(Rejected) as refused:
        open_forward(event(body))
    assert refused.value.reason == "bad_forward"


def test_parse_time_of_nonsense_is_nan() -> None:
    """It never raises."""
    for text in ("", "x", "9999-99-99", "2026-01-02T25:00:00", "\x00" * 1000):
        assert math.isnan(parse_time(text))
