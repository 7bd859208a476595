"""Judges what is left of a run: each promise is one pass over a history.

Every twin's history is one sequence, that of its home partition, so time grows with the length of the history and
not with the number of ways it could have come about. A message that was sent and not acknowledged may have arrived
or not: it counts once at most.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from tests.end_to_end.history import History, Violation
from tests.end_to_end.judge_effects import commits, effects
from tests.twin_actors.world import balance, same
from twin_actors.commit import Claim, Commit, Record
from twin_actors.errors import Rejected
from twin_actors.identity import home_partition
from twin_actors.messages import KIND, LETTER, TWIN, Event, Forward, Kind, kind_of, open_forward
from twin_actors.outputs import SendForward
from twin_actors.shard import Shard


class Applied(msgspec.Struct, frozen=True):
    """A message as a journal says it was folded."""

    partition: int
    sequence_number: int
    twin_id: str
    body: bytes


def judge(history: History) -> list[Violation]:
    """Return every promise that the run broke."""
    found: list[Violation] = []
    for partition, records in enumerate(history.records):
        found += _one_writer(partition, records)
        found += _accounted(history, partition)
        found += _replayed(partition, records, history.restored[partition])
    applied = list(_applied(history))
    found += _once(history, applied)
    found += _ordered(history, applied)
    found += _counted(history, applied)
    return [*found, *effects(history)]


def _one_writer(partition: int, records: Sequence[Record]) -> Iterator[Violation]:
    """Each record is of the owner that claimed last, each claim is newer, and nothing goes back."""
    epoch, owner, number, last = 0, "", 0, -1
    for at, record in enumerate(records):
        place = f"partition {partition}, record {at}"
        who, _, count = record.append_id.rpartition("-")
        if isinstance(record, Claim):
            if record.epoch != epoch + 1:
                yield Violation("one writer", f"{place}: a claim of epoch {record.epoch} follows epoch {epoch}")
            epoch, owner, number = record.epoch, record.owner, 0
        if (record.epoch, who) != (epoch, owner) or int(count) <= number:
            yield Violation("one writer", f"{place}: {record.append_id}, epoch {record.epoch}, is not {owner}'s next")
        number = int(count)
        if isinstance(record, Commit) and record.watermark is not None:
            if record.watermark.sequence_number < last:
                yield Violation("one writer", f"{place}: the watermark falls below {last}")
            last = record.watermark.sequence_number


def _traces(history: History, partition: int) -> Iterator[tuple[int, str]]:
    """What each record says of each event it covers; what it does not cover is a violation of its own."""
    last = -1
    for commit in commits(history.records[partition]):
        upto = last if commit.watermark is None else commit.watermark.sequence_number
        traces = [(number, "folded") for number in commit.accepted.sequence_numbers]
        traces += [(int(letter_id.split("-")[1]), "given up") for letter_id, _ in commit.letters]
        for number, what in traces:
            yield number, what if last < number <= upto else f"{what} by a record of {last + 1} to {upto}"
        for entry in commit.outbox:
            # What was replayed goes on its way with the number of its first arrival.
            if isinstance(entry, SendForward) and last < entry.event.sequence_number <= upto:
                yield entry.event.sequence_number, f"forwarded to {entry.destination}"
        last = upto


def _accounted(history: History, partition: int) -> Iterator[Violation]:
    """Each event of a partition has come to exactly one end, the one that is right for it."""
    traces: dict[int, list[str]] = {}
    for number, what in _traces(history, partition):
        traces.setdefault(number, []).append(what)
    shard, events = history.restored[partition], history.events[partition]
    folded_to = -1 if shard.watermark is None else shard.watermark.sequence_number
    if folded_to != len(events) - 1 or balance(shard) != len(events):
        totals = f"folded to {folded_to}, counts account for {balance(shard)}: {shard.totals}"
        yield Violation("balance", f"partition {partition} has {len(events)} events; {totals}")
    channels: dict[int, int] = {}
    known: set[tuple[str, str]] = set()
    for event in events:
        ends = traces.pop(event.sequence_number, [])
        right = _right_ends(event, history, partition, channels, known)
        if right is not None and ends not in right:
            place = f"event {event.sequence_number} of partition {partition}"
            yield Violation("balance", f"{place}: {ends or 'nothing'} became of it, not one of {right}")
        if ends == ["folded"]:
            carried = _carried(event, events)
            known.add((_twin_of(carried), carried.message_id or ""))
    for number, ends in traces.items():
        yield Violation("balance", f"partition {partition} has no event {number}, yet it is {ends}")


def _right_ends(
    event: Event, history: History, partition: int, channels: dict[int, int], known: set[tuple[str, str]]
) -> list[list[str]] | None:
    """What may become of an event; None where that depends on more than the event."""
    try:
        kind = kind_of(event)
    except Rejected:
        return [["given up"]]
    if kind is Kind.TICK:
        return [[]]
    if kind is Kind.FORWARD:
        forward = open_forward(event)
        if forward.number <= channels.get(forward.source, 0):
            return [[]]
        channels[forward.source] = forward.number
        event = forward.event
    elif kind is not Kind.TELEMETRY:
        return None
    twin_id = _twin_of(event)
    if event.message_id and (twin_id, event.message_id) in known:
        return [[]]
    home = home_partition(twin_id, len(history.events))
    return [["folded"], ["given up"]] if home == partition else [[f"forwarded to {home}"]]


def _twin_of(event: Event) -> str:
    return event.device_id or event.properties.get(TWIN, "")


def _carried(event: Event, events: Sequence[Event]) -> Event:
    """Return the sender's own event that an event of a partition brings."""
    if event.device_id is None and event.properties.get(KIND) == Kind.REPLAY:
        return _carried(events[int(event.properties[LETTER].split("-")[1])], events)
    if event.device_id is None and event.properties.get(KIND) == Kind.FORWARD:
        return msgspec.msgpack.decode(event.body, type=Forward).event
    return event


def _replayed(partition: int, records: Sequence[Record], restored: Shard) -> Iterator[Violation]:
    """The whole journal makes the same shard as its newest snapshot and what follows."""
    whole = Shard(partition=partition)
    for record in records:
        whole.apply(record)
    if not same(whole, restored):
        yield Violation("replay", f"partition {partition}: the whole journal makes another shard than the restore")


def _applied(history: History) -> Iterator[Applied]:
    for partition, records in enumerate(history.records):
        for commit in commits(records):
            accepted, told = commit.accepted, set(commit.accepted.told)
            rows = zip(accepted.sequence_numbers, accepted.twin_ids, accepted.bodies, strict=True)
            # What twins tell each other has no sender who took notes.
            yield from (Applied(partition, *row) for index, row in enumerate(rows) if index not in told)


def _once(history: History, applied: Sequence[Applied]) -> Iterator[Violation]:
    """What was acknowledged counts once, or is given up with a reason; what was not, once at most."""
    folded: Counter[tuple[str, str]] = Counter()
    for one in applied:
        events = history.events[one.partition]
        if one.sequence_number >= len(events):
            continue  # told by the balance
        event = _carried(events[one.sequence_number], events)
        folded[_twin_of(event), event.message_id or ""] += 1
        if (_twin_of(event), event.body) != (one.twin_id, one.body):
            place = f"partition {one.partition}, event {one.sequence_number}"
            yield Violation("exactly once", f"{place}: {one.twin_id} folded {one.body!r}, sent was {event.body!r}")
    given_up = set(_given_up(history))
    notes = {(sent.twin_id, sent.message_id): sent for sent in history.sent}
    for key, sent in notes.items():
        fewest = 1 if sent.is_acknowledged and key not in given_up else 0
        if not fewest <= folded[key] <= (0 if key in given_up else 1):
            known = "acknowledged" if sent.is_acknowledged else "not acknowledged"
            ends = f"folded {folded[key]} times{', and given up' if key in given_up else ''}"
            yield Violation("exactly once", f"{sent.message_id} of {sent.twin_id}, {known}, is {ends}")
    for key in folded.keys() | given_up:
        if key not in notes:
            yield Violation("exactly once", f"nobody sent message {key[1]!r} of {key[0]}")


def _given_up(history: History) -> Iterator[tuple[str, str]]:
    """Messages that are open dead letters."""
    for partition, shard in enumerate(history.restored):
        events = history.events[partition]
        for letter_id in shard.letters:
            event = _carried(events[int(letter_id.split("-")[1])], events)
            yield _twin_of(event), event.message_id or ""


def _ordered(history: History, applied: Sequence[Applied]) -> Iterator[Violation]:
    """Each partition is folded in its order, and what a sender sent one way stays in the sender's."""
    notes = {(sent.twin_id, sent.message_id): sent for sent in history.sent}
    places: dict[int, int] = {}
    serials: dict[tuple[str, str], int] = {}
    for one in applied:
        if one.sequence_number <= places.get(one.partition, -1):
            yield Violation("order", f"partition {one.partition}: event {one.sequence_number} is folded out of order")
        places[one.partition] = one.sequence_number
        events = history.events[one.partition]
        if one.sequence_number >= len(events):
            continue
        sent = notes.get((one.twin_id, _carried(events[one.sequence_number], events).message_id or ""))
        if sent is None:
            continue
        if sent.serial <= serials.get((sent.twin_id, sent.lane), -1):
            yield Violation("order", f"{sent.twin_id} folded {sent.message_id} after a later one of {sent.lane}")
        serials[sent.twin_id, sent.lane] = sent.serial


def _counted(history: History, applied: Sequence[Applied]) -> Iterator[Violation]:
    """Each twin has counted what was folded into it."""
    readings: Counter[str] = Counter()
    for one in applied:
        document = json.loads(one.body)
        readings[one.twin_id] += len(document) if isinstance(document, list) else 1
    counts = {twin.twin_id: twin.reading_count for shard in history.restored for twin in shard.twins.values()}
    for twin_id in readings.keys() | counts.keys():
        if readings[twin_id] != counts.get(twin_id, 0):
            yield Violation("balance", f"{twin_id} counts {counts.get(twin_id)} of {readings[twin_id]} readings")
