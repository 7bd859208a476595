"""One twin is written, a fleet is computed; and a fault belongs to one message."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from tests.twin_actors.world import PROBE_TYPE, START, Heard, telemetry
from twin_actors.errors import PartitionStopped, Rejected
from twin_actors.layout import decode_state
from twin_actors.messages import Envelope, Quality, Reading, open_envelope
from twin_actors.turn import gather, new_twin, run
from twin_actors.twin import KernelRequest, Turn, TwinType, ask
from twin_actors.work import Folded, Work, message_key, packed_key


class Halves(NamedTuple):
    """What the kernel below answers."""

    half: np.ndarray
    rest: np.ndarray


class Kernel:
    """A kernel that counts its calls, and fails for the number 13."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, values: np.ndarray) -> Halves:
        """Halve, whole and rest."""
        assert values.dtype == np.float64
        assert values.flags.c_contiguous
        self.calls.append(len(values))
        if 13.0 in values:
            raise ValueError("thirteen is out of the domain")
        return Halves(values // 2, values % 2)


def halving(kernel: Callable[..., Any]) -> TwinType[Heard]:
    """Return a type that remembers halves."""

    def receive(state: Heard, message: Reading) -> Iterator[KernelRequest]:
        answer = yield ask(kernel, message.values["serial"])
        return Turn(Heard((*state.serials, answer.half), answer.rest))

    return msgspec.structs.replace(PROBE_TYPE, receive=receive)


def work(twin_type: TwinType[Any], twin_id: str, *messages: tuple[float, ...], keys: bytes = b"") -> Work:
    """Return a twin with its messages; each message is the serial numbers of its rows."""
    envelopes = []
    for number, serials in enumerate(messages):
        event = msgspec.structs.replace(telemetry(twin_id, *serials), enqueued_time=START + number)
        envelopes.append(open_envelope(event, number))
    return Work(0, new_twin(twin_id, twin_type), twin_type, envelopes, keys)


def serials(folded: Folded) -> list[float]:
    """Return what a twin remembers."""
    return list(msgspec.msgpack.decode(folded.twin.state, type=Heard).serials)


def test_one_kernel_call_for_a_fleet() -> None:
    """However many twins; a second call only for second messages."""
    kernel = Kernel()
    kind = halving(kernel)
    works = [work(kind, f"probe-{number}", (number * 2.0,)) for number in range(1, 500)]
    works.append(work(kind, "probe-x", (2.0,), (4.0,), (6.0, 8.0)))
    folded = run(works)
    assert kernel.calls == [500, 1, 1, 1]
    assert [serials(one) for one in folded[:-1]] == [[float(number)] for number in range(1, 500)]
    assert serials(folded[-1]) == [1, 2, 3, 4]


def test_a_row_that_fails_hurts_its_own_message_only() -> None:
    """The others of the call get their answers, and its twin goes on."""
    kernel = Kernel()
    kind = halving(kernel)
    folded = run([work(kind, "a", (2.0,)), work(kind, "b", (13.0,), (4.0,)), work(kind, "c", (6.0,))])
    assert [serials(one) for one in folded] == [[1], [2], [3]]
    assert [len(one.refused) for one in folded] == [0, 1, 0]
    refusal = folded[1].refused[0][1]
    assert refusal.reason == "turn_failed"
    assert "thirteen" in refusal.detail


@pytest.mark.parametrize("place", [0, 1, 2])
def test_all_rows_of_a_message_or_none(place: int) -> None:
    """A row that fails takes those before it along."""
    rows = [2.0, 4.0, 6.0]
    rows[place] = 13.0
    (folded,) = run([work(halving(Kernel()), "a", (8.0,), tuple(rows), (10.0,))])
    assert serials(folded) == [4, 5]
    assert folded.twin.reading_count == 2
    assert [envelope.sequence_number for envelope, _ in folded.refused] == [1]


def test_a_result_does_not_depend_on_its_neighbours() -> None:
    """The same twin alone, among others, and beside one that fails."""
    kind = halving(Kernel())
    alone = run([work(kind, "a", (2.0,), (5.0,))])[0]
    among = run([work(kind, f"b{n}", (float(n),)) for n in range(20)] + [work(kind, "a", (2.0,), (5.0,))])[-1]
    assert alone.twin == among.twin


def test_the_same_batch_gives_the_same_bytes() -> None:
    """Turns can be replayed."""
    kind = halving(Kernel())
    works = [work(kind, "a", (2.0,), (5.0,), (13.0,)), work(kind, "b", (1.0,))]
    assert msgspec.msgpack.encode([one.twin for one in run(works)]) == msgspec.msgpack.encode(
        [one.twin for one in run(works)]
    )


def test_kernels_are_told_apart_by_their_arguments() -> None:
    """And a turn may ask several, one after the other."""
    calls = []

    def add(*columns: np.ndarray) -> np.ndarray:
        calls.append((len(columns), len(columns[0])))
        return np.sum(columns, axis=0)

    def turn(*numbers: float) -> Iterator[KernelRequest]:
        first = yield ask(add, *numbers)
        second = yield ask(add, first, 100.0)
        return second

    assert gather([turn(1.0, 2.0), turn(1.0, 2.0, 3.0), turn(5.0, 5.0)]) == [103.0, 106.0, 110.0]
    assert sorted(calls) == [(2, 2), (2, 3), (3, 1)]


@pytest.mark.parametrize(
    "kernel",
    [
        lambda values: values[:-1],
        lambda values: np.append(values, 1.0),
        lambda _values: 3.0,
        lambda _values: None,
        lambda _a, _b: None,
    ],
    ids=["too few rows", "too many rows", "no array", "nothing", "other arguments"],
)
def test_a_kernel_that_breaks_its_contract_is_a_failed_turn(kernel: Callable[..., Any]) -> None:
    """It never gives a twin another one's row."""

    def receive(state: Heard, message: Reading) -> Iterator[KernelRequest]:
        answer = yield ask(kernel, message.values["serial"])
        return Turn(Heard((*state.serials, answer)))

    kind = msgspec.structs.replace(PROBE_TYPE, receive=receive)
    folded = run([work(kind, "a", (1.0,)), work(kind, "b", (2.0,))])
    assert [one.accepted for one in folded] == [[], []]


def test_a_turn_may_catch_what_a_kernel_raises() -> None:
    """And fall back."""
    kernel = Kernel()

    def receive(state: Heard, message: Reading) -> Iterator[KernelRequest]:
        try:
            answer = yield ask(kernel, message.values["serial"])
        except ValueError:
            return Turn(Heard((*state.serials, -1.0)))
        return Turn(Heard((*state.serials, answer.half)))

    kind = msgspec.structs.replace(PROBE_TYPE, receive=receive)
    folded = run([work(kind, "a", (13.0,)), work(kind, "b", (2.0,))])
    assert [serials(one) for one in folded] == [[-1], [1]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_shown(value: float) -> None:
    """The turn should have fallen back; it is refused, and the twin stays as it was."""
    kind: TwinType[Heard] = msgspec.structs.replace(
        PROBE_TYPE, receive=lambda state, _: Turn(Heard((*state.serials, 1.0), value))
    )
    (folded,) = run([work(kind, "a", (1.0,))])
    assert folded.accepted == []
    assert folded.refused[0][1].reason == "not_finite"
    assert folded.twin == new_twin("a", kind)


def test_repeats_are_counted_not_folded() -> None:
    """Against what the twin remembers, and within the batch."""
    kind = halving(Kernel())
    one = work(kind, "a", (2.0,), (4.0,), (6.0,), keys=packed_key(message_key("known")))
    ids = ["known", "new", "new"]
    envelopes = [
        msgspec.structs.replace(envelope, event=msgspec.structs.replace(envelope.event, message_id=message_id))
        for envelope, message_id in zip(one.envelopes, ids, strict=True)
    ]
    (folded,) = run([Work(0, one.twin, kind, envelopes, one.recent_keys)])
    assert serials(folded) == [2]
    assert (folded.resent, folded.twin.resent_count) == (2, 2)


def test_a_refused_message_may_come_again_under_its_id() -> None:
    """Its repeat is its second chance."""
    kind = halving(Kernel())
    one = work(kind, "a", (13.0,), (4.0,))
    envelopes: list[Envelope] = [
        msgspec.structs.replace(envelope, event=msgspec.structs.replace(envelope.event, message_id="m"))
        for envelope in one.envelopes
    ]
    (folded,) = run([Work(0, one.twin, kind, envelopes)])
    assert serials(folded) == [2]
    assert folded.resent == 0


def test_nothing_folded_leaves_the_version_alone() -> None:
    """The graph owes nothing."""
    (folded,) = run([work(halving(Kernel()), "a", (13.0,))])
    assert folded.twin.state_version == 0


def test_late_rows_leave_the_newest_reading() -> None:
    """They count, and the time and the quality shown stay."""
    kind = halving(Kernel())
    events = [
        msgspec.structs.replace(telemetry("a", 1), body=body, enqueued_time=START)
        for body in (b'{"serial": 2, "time": %d}' % START, b'{"serial": 4, "x": 1, "time": %d}' % (START - 50))
    ]
    (folded,) = run([Work(0, new_twin("a", kind), kind, [open_envelope(event, 0) for event in events])])
    assert (folded.twin.reading_count, folded.twin.last_reading_time) == (2, START)
    assert folded.twin.quality is Quality.GOOD


def test_another_layout_stops() -> None:
    """A state is never guessed at."""
    newer = msgspec.structs.replace(PROBE_TYPE, state_version=2)
    with pytest.raises(PartitionStopped, match="layout 2"):
        decode_state(new_twin("a", newer), PROBE_TYPE)


def test_message_keys() -> None:
    """No id has key 0, and no key but that is 0."""
    assert message_key(None) == message_key("") == 0
    keys = {message_key(text) for text in ("a", "b", "\ud800", "x" * 10_000)}
    assert len(keys) == 4
    assert all(0 < key < 1 << 64 for key in keys)


def test_a_rejection_of_a_turn_is_told_as_it_is() -> None:
    """A type may refuse a message itself."""

    def receive(_state: Heard, _message: Reading) -> Turn[Heard]:
        raise Rejected("wrong_machine", "this is no probe")

    (folded,) = run([work(msgspec.structs.replace(PROBE_TYPE, receive=receive), "a", (1.0,))])
    assert folded.refused[0][1].reason == "wrong_machine"
