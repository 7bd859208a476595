"""The judge finds each kind of violation in a history made by hand, and nothing in one that is right."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from tests.end_to_end.history import History, Sent, Written
from tests.end_to_end.judge import judge
from tests.twin_actors.world import twin_at
from twin_actors.commit import Accepted, Claim, Commit, DeadLetter, KeepLetter, Record, Twin
from twin_actors.documents import Collection, Document, Operation, OperationStatus, Reason, WorkOrder
from twin_actors.messages import KIND, Event, Forward, Kind
from twin_actors.outputs import PlaceOrder, PutDocument, SendCommand, SendForward
from twin_actors.shard import Shard
from twin_actors.sinks import DeviceCommand
from twin_actors.sinks.work_orders import canonical_json
from twin_actors.watermark import Watermark

NEAR, FAR = twin_at(0), twin_at(1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
REASON = Reason(
    rule="r",
    signal="s",
    value=1.0,
    limit=0.0,
    since=NOON,
    position="0-0",
    reading_time=NOON,
    values={},
    prediction_model="",
    twin_model="m",
    layout=1,
    state_version=1,
)
ORDER = WorkOrder(
    order_id="o",
    revision=1,
    idempotency_key="o.1",
    twin_id=NEAR,
    twin_model="m",
    priority="high",
    title="t",
    text="t",
    created=NOON,
    due=None,
    remaining_useful_life_days=None,
    remaining_useful_life_days_lower=None,
    remaining_useful_life_days_upper=None,
    alerts=[],
    reason=REASON,
)
DOCUMENT = Document(twin_id=NEAR, document_id="a", version=2, status="open", time=1.0, body=b"{}")
COMMAND = DeviceCommand(
    twin_id=NEAR, name="resume", operation_id="op", request=b"{}", state_version=1, expires=2.0, desired=""
)
OPERATION = Operation(
    operation_id="op",
    kind="command",
    name="resume",
    request={},
    caller="me",
    status=OperationStatus.DELIVERED,
    requested=NOON,
)


def message(twin_id: str, number: int, sequence_number: int, body: bytes = b'{"flow": 1.0}') -> Event:
    """Return a device's message in its place."""
    return Event(
        sequence_number=sequence_number,
        enqueued_time=float(sequence_number),
        body=body,
        device_id=twin_id,
        message_id=f"m{number}",
    )


def forwarded(number: int, event: Event, sequence_number: int) -> Event:
    """Return an event that partition 0 forwards."""
    body = msgspec.msgpack.encode(Forward(0, number, event))
    properties = {KIND: Kind.FORWARD.value}
    return Event(
        sequence_number=sequence_number, enqueued_time=float(sequence_number), body=body, properties=properties
    )


def twin(twin_id: str, version: int, readings: int) -> Twin:
    """Return a twin as a record keeps it."""
    return Twin(twin_id=twin_id, type_name="probe", layout=1, state=b"", state_version=version, reading_count=readings)


def accepted(*events: tuple[int, Event]) -> Accepted:
    """Return what a record says of messages folded at their places."""
    return Accepted(
        [str(event.device_id) for _, event in events],
        [number for number, _ in events],
        [0.0 for _ in events],
        [event.body for _, event in events],
        [0 for _ in events],
    )


def right() -> History:
    """Return a history in which two owners of partition 0 did everything once.

    Partition 0 gets two messages of its own twin, one sent again under its id, one that is no JSON, and two for the
    twin of partition 1, of which the first is forwarded twice: its owner died before it heard that it was sent.
    """
    near = [message(NEAR, 1, 0), message(NEAR, 2, 1), message(NEAR, 2, 2), message(NEAR, 3, 3, b"{broken")]
    far = [message(FAR, 4, 4), message(FAR, 5, 5)]
    arrived = [forwarded(1, far[0], 0), forwarded(1, far[0], 1), forwarded(2, far[1], 2)]
    letter = DeadLetter("0-3", "not_json", "", NEAR, near[3])
    first = Commit(
        append_id="ann-2",
        epoch=1,
        watermark=Watermark(4, 4.0, "hub"),
        accepted=accepted((0, near[0]), (1, near[1])),
        twins=[twin(NEAR, 1, 2)],
        outbox=[
            SendForward(1, 1, 1, far[0]),
            PutDocument(2, Collection.ALERTS, DOCUMENT),
            PlaceOrder(3, "d", ORDER),
            SendCommand(4, COMMAND, OPERATION),
            KeepLetter(5, letter),
        ],
        letters=[("0-3", "not_json")],
        counts={"messages": 2, "resent": 1, "dead_letters": 1, "forwarded": 1},
    )
    second = Commit(
        append_id="bob-2",
        epoch=2,
        watermark=Watermark(5, 5.0, "hub"),
        outbox=[SendForward(6, 1, 2, far[1])],
        delivered=[1, 2, 3, 4, 5],
        counts={"forwarded": 1},
    )
    taken = Commit(
        append_id="cid-2",
        epoch=1,
        watermark=Watermark(0, 0.0, "hub"),
        accepted=accepted((0, far[0])),
        twins=[twin(FAR, 1, 1)],
        channels={0: 1},
        counts={"messages": 1},
    )
    more = Commit(
        append_id="cid-3",
        epoch=1,
        watermark=Watermark(2, 2.0, "hub"),
        accepted=accepted((2, far[1])),
        twins=[twin(FAR, 2, 2)],
        channels={0: 2},
        counts={"messages": 1, "forwards_repeated": 1},
    )
    last = Commit(append_id="bob-3", epoch=2, watermark=second.watermark, delivered=[6])
    records: list[list[Record]] = [
        [Claim("ann-1", 1, "ann", 0), first, Claim("bob-1", 2, "bob", 0), second, last],
        [Claim("cid-1", 1, "cid", 0), taken, more],
    ]
    return History(
        sent=[
            *(Sent(NEAR, f"m{number}", "0", number, is_acknowledged=True) for number in (1, 2, 3)),
            *(Sent(FAR, f"m{number}", "0", number, is_acknowledged=True) for number in (4, 5)),
            Sent(FAR, "m6", "0", 6),
        ],
        events=[near + far, arrived],
        records=records,
        restored=[replay(partition, part) for partition, part in enumerate(records)],
        written=[Written(NEAR, 1, 2), Written(FAR, 1, 1), Written(FAR, 2, 2)],
        documents=[(Collection.ALERTS, DOCUMENT)],
        orders=[canonical_json(ORDER), canonical_json(ORDER)],
        commands=["op"],
        letters=["0-3"],
    )


def replay(partition: int, records: list[Record]) -> Shard:
    """Return the shard that a journal makes."""
    shard = Shard(partition=partition)
    for record in records:
        shard.apply(record)
    return shard


def changed(history: History, partition: int, at: int, **fields: object) -> None:
    """Change a record, and what is restored with it."""
    records = history.records[partition]
    records[at] = msgspec.structs.replace(records[at], **fields)
    history.restored[partition] = replay(partition, records)


def commit(history: History, partition: int, at: int) -> Commit:
    """Return a record that is a commit."""
    record = history.records[partition][at]
    assert isinstance(record, Commit)
    return record


def acknowledged_and_lost(history: History) -> None:
    """The hub took it, and nobody has it."""
    history.sent[-1].is_acknowledged = True


def folded_twice(history: History) -> None:
    """The repeat of a message counts."""
    event = history.events[0]
    both = accepted((0, event[0]), (1, event[1]), (2, event[2]))
    changed(history, 0, 1, accepted=both, counts={**commit(history, 0, 1).counts, "messages": 3, "resent": 0})


def repeated_forward_counts(history: History) -> None:
    """The number on the channel is not looked at."""
    first, second = history.events[0][4:6]
    changed(history, 1, 2, accepted=accepted((1, first), (2, second)), counts={"messages": 2})


def unsent(history: History) -> None:
    """A message is folded that no sender knows."""
    del history.sent[0]


def other_body(history: History) -> None:
    """What was folded is not what was sent."""
    wrong = msgspec.structs.replace(commit(history, 0, 1).accepted, bodies=[b'{"flow": 2.0}', b'{"flow": 1.0}'])
    changed(history, 0, 1, accepted=wrong)


def folded_and_given_up(history: History) -> None:
    """One message has two ends."""
    changed(history, 0, 1, letters=[("0-3", "not_json"), ("0-0", "not_json")])
    history.letters.append("0-0")


def skipped(history: History) -> None:
    """An event below the watermark has come to no end."""
    changed(history, 0, 1, accepted=accepted((1, history.events[0][1])), twins=[twin(NEAR, 1, 1)])


def unfolded(history: History) -> None:
    """The run came to rest before the end of the partition."""
    history.events[1].append(forwarded(3, message(FAR, 6, 6), 3))


def miscounted(history: History) -> None:
    """The totals do not add up."""
    changed(history, 0, 1, counts={"messages": 2})


def twin_miscounts(history: History) -> None:
    """A twin counts a reading too many."""
    changed(history, 1, 2, twins=[twin(FAR, 2, 3)])
    history.written[-1] = Written(FAR, 2, 3)


def swapped(history: History) -> None:
    """A record folds two messages the wrong way round."""
    event = history.events[0]
    changed(history, 0, 1, accepted=accepted((1, event[1]), (0, event[0])))


def overtaken(history: History) -> None:
    """The sender sent them the other way round."""
    history.sent[3].serial, history.sent[4].serial = 5, 4


def channel_overtaken(history: History) -> None:
    """The second forwarded event arrives first."""
    far = history.events[0][4:6]
    history.events[1] = [forwarded(2, far[1], 0), forwarded(1, far[0], 1), forwarded(2, far[1], 2)]


def fenced_owner_writes(history: History) -> None:
    """A record of the first owner follows the second's claim."""
    changed(history, 0, 3, epoch=1, append_id="ann-3")


def same_epoch(history: History) -> None:
    """Two owners claim the same epoch."""
    changed(history, 0, 2, epoch=1)


def two_writers_of_an_epoch(history: History) -> None:
    """Somebody else writes in the owner's epoch."""
    changed(history, 0, 4, append_id="eve-3")


def appended_twice(history: History) -> None:
    """A retried append stands twice."""
    history.records[0].append(commit(history, 0, 4))
    history.restored[0] = replay(0, history.records[0])


def watermark_falls(history: History) -> None:
    """A record goes back."""
    changed(history, 0, 4, watermark=Watermark(2, 2.0, "hub"))


def other_restore(history: History) -> None:
    """The snapshot forgot something."""
    history.restored[0].sent_channels[1] = 1


def uncommitted_patch(history: History) -> None:
    """The graph shows what a turn made that was never committed."""
    history.written.insert(1, Written(NEAR, 1, 3))


def graph_goes_back(history: History) -> None:
    """An older version over a newer one, then mended."""
    history.written += [Written(FAR, 1, 1), Written(FAR, 2, 2)]


def graph_is_behind(history: History) -> None:
    """The last version was never shown."""
    del history.written[-1]


def uncommitted_forward(history: History) -> None:
    """Sent before the commit, which then failed."""
    changed(history, 0, 3, outbox=[])


def other_forward(history: History) -> None:
    """A number of the channel was given to two events."""
    changed(history, 0, 3, outbox=[SendForward(6, 1, 2, message(FAR, 7, 5))])


def forward_not_sent(history: History) -> None:
    """A committed forward never arrives."""
    history.events[1].pop()


def uncommitted_document(history: History) -> None:
    """Apps see what no record has."""
    history.documents.append((Collection.ALERTS, msgspec.structs.replace(DOCUMENT, document_id="b")))


def old_document(history: History) -> None:
    """Apps see an older version than the last."""
    newer = PutDocument(7, Collection.ALERTS, msgspec.structs.replace(DOCUMENT, version=7, status="cleared"))
    changed(history, 0, 4, outbox=[newer])


def uncommitted_order(history: History) -> None:
    """Maintenance is asked for what no record has."""
    history.orders.append(canonical_json(msgspec.structs.replace(ORDER, priority="low")))


def order_not_placed(history: History) -> None:
    """A committed order never leaves."""
    history.orders.clear()


def uncommitted_command(history: History) -> None:
    """A device is told what no record has."""
    history.commands.append("other")


def letter_not_kept(history: History) -> None:
    """The body of a dead letter is nowhere."""
    history.letters.clear()


WRONG: list[tuple[Callable[[History], None], str]] = [
    (acknowledged_and_lost, "exactly once"),
    (folded_twice, "exactly once"),
    (repeated_forward_counts, "exactly once"),
    (unsent, "exactly once"),
    (other_body, "exactly once"),
    (folded_and_given_up, "exactly once"),
    (skipped, "balance"),
    (unfolded, "balance"),
    (miscounted, "balance"),
    (twin_miscounts, "balance"),
    (swapped, "order"),
    (overtaken, "order"),
    (channel_overtaken, "order"),
    (fenced_owner_writes, "one writer"),
    (same_epoch, "one writer"),
    (two_writers_of_an_epoch, "one writer"),
    (appended_twice, "one writer"),
    (watermark_falls, "one writer"),
    (other_restore, "replay"),
    (uncommitted_patch, "effects"),
    (graph_goes_back, "graph"),
    (graph_is_behind, "graph"),
    (uncommitted_forward, "effects"),
    (other_forward, "effects"),
    (forward_not_sent, "delivery"),
    (uncommitted_document, "effects"),
    (old_document, "delivery"),
    (uncommitted_order, "effects"),
    (order_not_placed, "delivery"),
    (uncommitted_command, "effects"),
    (letter_not_kept, "delivery"),
]


def test_a_right_history_is_right() -> None:
    """With a resent message, a repeated forward, an order queued twice, and a message nobody acknowledged."""
    assert judge(right()) == []


@pytest.mark.parametrize(("spoil", "promise"), WRONG, ids=[spoil.__name__ for spoil, _ in WRONG])
def test_a_wrong_history_is_found(spoil: Callable[[History], None], promise: str) -> None:
    """By the promise that it breaks."""
    history = right()
    spoil(history)
    assert promise in {violation.promise for violation in judge(history)}, judge(history)


def test_a_message_that_nobody_acknowledged_may_have_arrived() -> None:
    """Once; twice is once too often."""
    history = right()
    history.sent[4].is_acknowledged = False
    assert judge(history) == []
    repeated_forward_counts(history)
    history.sent[3].is_acknowledged = False
    assert "exactly once" in {violation.promise for violation in judge(history)}
