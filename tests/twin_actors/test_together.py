"""Twins folded together: as if each had been alone, whatever is in the batch."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.pump_condition import follow_pumps
from tests.kernels.naive_pump import USUAL
from tests.twin_actors.kettle import TYPE as KETTLE
from twin_actors.conflict import Contested
from twin_actors.maintenance import Maintenance, Watch
from twin_actors.messages import Envelope, Event, Row, TimerDue
from twin_actors.telling import DueTimer
from twin_actors.together import MOST_READINGS, fold_together
from twin_actors.turn import new_twin, one_by_one, run
from twin_actors.twin import TwinType
from twin_actors.types.pump.twin import TWIN as PUMP
from twin_actors.work import Folded, Work, message_key, packed_key

START = 1_700_000_000.0


def envelope(
    twin_id: str, rows: Sequence[Row], number: int, message_id: str | None = None, hub: float = 0.0
) -> Envelope:
    """A device's message, heard so many seconds after the start."""
    event = Event(sequence_number=number, enqueued_time=START + hub, body=b"", device_id=twin_id, message_id=message_id)
    return Envelope(twin_id=twin_id, rows=tuple(rows), event=event, sequence_number=number)


def row(at: float | None, **channels: Any) -> Row:
    """What it measured so many seconds after the start."""
    return Row(None if at is None else START + at, channels)


def work(envelopes: Sequence[Envelope], twin: Any = None, keys: bytes = b"", kind: TwinType[Any] = PUMP) -> Work:
    """A twin and its messages."""
    return Work(0, twin or new_twin("pump-1", kind), kind, envelopes, keys)


plausible = st.fixed_dictionaries(
    {}, optional={name: st.floats(0.9 * value, 1.1 * value) for name, value in USUAL.items()}
)
extraordinary = st.sampled_from(
    [
        {"flow": 1e9},
        {"flow": math.nan},
        {"flow": math.inf},
        {"flow": 0},
        {"flow": 70, "speed": 2900},
        {"flow": True},
        {"flow": "80"},
        {"flow": None},
        {"flow": 10**400},
        {"colour": 1.0},
        {"bearingTemperature": 95.0},
        {"vibration": 7.0},
        {"dischargePressure": 20.0},
        {"suctionPressure": 5.0},
        {},
    ]
)
gaps = st.one_of(st.sampled_from([0.0, 1.0, -5.0]), st.floats(-100.0, 4000.0), st.sampled_from([1e6, -1e7]))
rows = st.tuples(
    gaps,
    st.one_of(plausible, plausible, plausible, extraordinary, st.builds(lambda a, b: a | b, plausible, extraordinary)),
)
sent = st.tuples(
    st.lists(rows, min_size=1, max_size=3), st.sampled_from([None, "a", "b", "c", "d", "e", "f"]), st.booleans()
)


def messages(twin_id: str, course: list[tuple[list[tuple[float, dict[str, Any]]], str | None, bool]]) -> list[Envelope]:
    """Lay messages out in time; the cloud's clock goes a second at a time, the device's as it likes."""
    at, envelopes = 0.0, []
    for number, (readings, message_id, has_time) in enumerate(course, 1):
        made = []
        for gap, channels in readings:
            at += gap if abs(gap) < 1e5 else 0.0
            made.append(row(at + gap if abs(gap) >= 1e5 else at, **channels) if has_time else row(None, **channels))
        envelopes.append(envelope(twin_id, made, number, message_id, hub=at))
    return envelopes


@given(st.lists(st.lists(sent, min_size=1, max_size=6), min_size=1, max_size=4), st.booleans())
def test_together_as_if_one_by_one(courses: list[Any], again: bool) -> None:
    """The same twins, byte for byte, the same outputs, the same refusals."""
    works = [
        work(messages(f"pump-{place}", course), new_twin(f"pump-{place}", PUMP), packed_key(message_key("a")))
        for place, course in enumerate(courses)
    ]
    alone = one_by_one(works)
    assert run(works) == alone
    if again:
        works = [
            work(messages(one.twin.twin_id, course), one.twin, b"") for one, course in zip(alone, courses, strict=True)
        ]
        assert run(works) == one_by_one(works)


ordinary = st.tuples(
    st.lists(st.tuples(st.sampled_from([1.0, 1.0, 0.0, -5.0]), plausible.filter(bool)), min_size=1, max_size=2),
    st.just(None),
    st.just(value=True),
)


@given(st.lists(st.lists(ordinary, min_size=1, max_size=5), min_size=2, max_size=3))
def test_the_ordinary_is_as_if_one_by_one(courses: list[Any]) -> None:
    """Readings of good pumps, early and late ones: nearly all are folded together."""
    works = [
        work(messages(f"pump-{place}", course), new_twin(f"pump-{place}", PUMP)) for place, course in enumerate(courses)
    ]
    for together, alone in zip(fold_together(works), one_by_one(works), strict=True):
        assert together in (None, alone)


def test_late_readings_are_judged_and_followed_by_nobody() -> None:
    """Between two messages, and within one."""
    for late in (
        [*minute(seconds=5), envelope("pump-1", [row(2.0, **(USUAL | {"vibration": 3.0}))], 6, hub=5.0)],
        [
            envelope(
                "pump-1", [row(5.0, **USUAL), row(2.0, **(USUAL | {"vibration": 3.0})), row(6.0, **USUAL)], 1, hub=6.0
            )
        ],
    ):
        (together,) = fold_together([work(late)])
        assert together is not None
        assert together == one_by_one([work(late)])[0]
        assert msgspec.msgpack.decode(together.twin.state, type=PUMP.state).last["vibration"] == USUAL["vibration"]


def minute(twin_id: str = "pump-1", seconds: int = 90, **channels: float) -> list[Envelope]:
    """A reading a second of a pump in good order, one message each."""
    values = USUAL | channels
    return [
        envelope(twin_id, [row(float(second), **values)], second + 1, f"m-{second}", float(second))
        for second in range(seconds)
    ]


def test_the_ordinary_is_folded_together() -> None:
    """A pump that is well for a minute and a half, and one in a message a time; all as if alone."""
    works = [work(minute("pump-1")), work(minute("pump-2", 1), new_twin("pump-2", PUMP))]
    together = fold_together(works)
    assert all(one is not None for one in together)
    assert together == one_by_one(works)
    assert together[0] is not None
    assert PUMP.properties(msgspec.msgpack.decode(together[0].twin.state, type=PUMP.state))["isCalibrated"] is True


def test_the_order_of_twins_is_all_one() -> None:
    """A twin's result does not depend on who else is in the batch."""
    works = [work(minute(f"pump-{count}", count), new_twin(f"pump-{count}", PUMP)) for count in (1, 30, 7, 90)]
    alone = [run([one])[0] for one in works]
    assert run(works) == alone
    assert run(works[::-1]) == alone[::-1]


def is_left_out(one: Work) -> bool:
    """Whether a twin is left to the turns one by one, and they agree with all that `run` says."""
    (together,) = fold_together([one])
    assert run([one]) == one_by_one([one])
    return together is None


class TestLeftToTheTurns:
    """What is not ordinary."""

    def test_a_limit_that_is_passed(self) -> None:
        """The rule remembers since when."""
        one = work(minute(bearingTemperature=85.0))
        assert is_left_out(one)
        assert run([one])[0].twin.maintenance.watches["bearing-hot"].alert is not None

    def test_a_limit_that_was_passed(self) -> None:
        """It is forgotten once the next reading is good."""
        twin = msgspec.structs.replace(
            new_twin("pump-1", PUMP), maintenance=Maintenance(watches={"bearing-hot": Watch(START - 5.0)})
        )
        one = work(minute(seconds=1), twin)
        assert is_left_out(one)
        assert run([one])[0].twin.maintenance.watches == {}

    def test_what_people_have_set(self) -> None:
        """Who counts for more is asked at each reading."""
        twin = msgspec.structs.replace(
            new_twin("pump-1", PUMP), maintenance=Maintenance(contested={"place": Contested({}, None)})
        )
        assert is_left_out(work(minute(seconds=2), twin))

    @pytest.mark.parametrize(
        "channels",
        [{"flow": True}, {"flow": "80"}, {"flow": None}, {"flow": math.nan}, {"colour": 1.0}, {"flow": 10**400}],
    )
    def test_what_is_no_number_of_a_channel(self, channels: dict[str, Any]) -> None:
        """Each is flagged by its name."""
        assert is_left_out(work([envelope("pump-1", [row(0.0, **(USUAL | channels))], 1)]))

    def test_a_clock_that_was_never_set(self) -> None:
        """The hub's counts instead, and the reading is flagged."""
        assert is_left_out(work([envelope("pump-1", [row(-1e9, **USUAL)], 1)]))

    def test_a_message_that_comes_again(self) -> None:
        """In a batch, and from one to the next."""
        again = [envelope("pump-1", [row(float(at), **USUAL)], at + 1, "same") for at in range(2)]
        assert is_left_out(work(again))
        assert is_left_out(work(again[:1], keys=packed_key(message_key("same"))))
        assert not is_left_out(work(again[:1], keys=packed_key(message_key("other"))))

    def test_a_state_that_is_none(self) -> None:
        """Too short, of another layout, no state at all."""
        for state in (msgspec.msgpack.encode({"numbers": b"12345678"}), b"\xc1", msgspec.msgpack.encode({"other": 1})):
            one = work(minute(seconds=1), msgspec.structs.replace(new_twin("pump-1", PUMP), state=state))
            assert fold_together([one]) == [None]
            assert [why.reason for _, why in run([one])[0].refused] == ["state_unreadable"]

    def test_other_messages(self) -> None:
        """A timer, a type without a fleet."""
        due = DueTimer(message=TimerDue("t", START), hub_time=START)
        assert is_left_out(work([due]))  # type: ignore[list-item]
        assert fold_together(
            [work([envelope("k", [row(0.0, temperature=20.0)], 1)], new_twin("k", KETTLE), b"", KETTLE)]
        ) == [None]


def test_a_flood_of_empty_readings_is_left_to_the_turns() -> None:
    """Three bytes each would become a kilobyte each."""
    flood = envelope("pump-1", [Row(None, {})] * (MOST_READINGS + 1), 1)
    works = [work([flood]), work(minute("pump-2", 3), new_twin("pump-2", PUMP))]
    together = fold_together(works)
    assert together[0] is None
    assert together[1] is not None


def test_who_hears_nothing_is_not_changed() -> None:
    """A twin that is deleted before it hears anything, beside one that does."""
    works = [work([]), work(minute("pump-2", 3), new_twin("pump-2", PUMP))]
    assert fold_together(works)[0] is None
    assert run(works) == one_by_one(works)
    assert run(works)[0].twin == works[0].twin


def test_a_value_that_is_missing_or_suspect_is_flagged_here_too() -> None:
    """A pump without pressure, and one whose bearing jumps."""
    without = [envelope("pump-1", [row(0.0, flow=80.0)], 1)]
    jumping = [
        envelope("pump-1", [row(float(at), **(USUAL | {"bearingTemperature": 30.0 + 20.0 * at}))], at + 1)
        for at in (0, 1)
    ]
    missing, suspect = {"dischargePressure": "missing"}, {"bearingTemperature": "suspect"}
    for envelopes, flags in ((without, [[missing]]), (jumping, [[], [suspect]])):
        together = fold_together([work(envelopes)])
        assert together == one_by_one([work(envelopes)])
        assert together[0] is not None
        assert [rows for _, _, rows in together[0].accepted] == flags
        assert together[0].twin.quality == "suspect"


def test_a_fleet_that_fails_fails_nobody_else() -> None:
    """Its twins are folded one by one, and the turn that the fault is of is refused."""

    def follow(states: Any, twin: Any, time: Any, values: Any, *rest: Any) -> Any:
        if (values == 81.0).any():
            raise ValueError("81")
        return follow_pumps(states, twin, time, values, *rest)

    assert PUMP.fleet is not None
    fleet = msgspec.structs.replace(PUMP.fleet, follow=follow)
    kind = msgspec.structs.replace(PUMP, fleet=fleet, receive=fleet.receive)
    works = [
        work(
            [envelope(f"pump-{flow}", [row(0.0, **(USUAL | {"flow": flow}))], 1)],
            new_twin(f"pump-{flow}", kind),
            b"",
            kind,
        )
        for flow in (80.0, 81.0, 82.0)
    ]
    folded = run(works)
    assert [len(one.accepted) for one in folded] == [1, 0, 1]
    assert folded[1].refused[0][1].reason == "turn_failed"
    assert folded[0].twin.state == run([work(minute(seconds=1))])[0].twin.state


def test_what_a_rule_limits_is_where_the_fleet_says() -> None:
    """A value that is shown stands in its column."""
    twin: Folded = run([work(minute())])[0]
    state = msgspec.msgpack.decode(twin.twin.state, type=PUMP.state)
    assert PUMP.fleet is not None
    shown = PUMP.properties(state)
    for name, column in PUMP.fleet.columns.items():
        if isinstance(shown.get(name), float):
            assert shown[name] == state.row[column]
