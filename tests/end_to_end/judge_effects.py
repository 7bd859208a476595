"""Judges what left a run: each effect is in a record, and what a record promised has left."""

from collections.abc import Iterator, Sequence

from tests.end_to_end.history import History, Violation, Written
from twin_actors.commit import Commit, Record
from twin_actors.documents import Collection, Document
from twin_actors.messages import KIND, Kind, open_forward
from twin_actors.outputs import PlaceOrder, PutDocument, SendCommand, SendForward
from twin_actors.sinks.work_orders import canonical_json


def commits(records: Sequence[Record]) -> Iterator[Commit]:
    """Return the commits of a journal."""
    return (record for record in records if isinstance(record, Commit))


def effects(history: History) -> Iterator[Violation]:
    """Return what is wrong with the graph, the channels between shards, and other outputs."""
    yield from _shown(history)
    yield from _channels(history)
    yield from _outputs(history)


def _shown(history: History) -> Iterator[Violation]:
    """The graph shows committed states only, never an older one after a newer, and in the end the last."""
    committed = {
        (twin.twin_id, twin.state_version): twin.reading_count
        for records in history.records
        for commit in commits(records)
        for twin in commit.twins
    }
    newest: dict[str, Written] = {}
    for one in history.written:
        if committed.get((one.twin_id, one.state_version)) != one.reading_count:
            yield Violation("effects", f"the graph was given {one}, which no record has")
        if one.twin_id in newest and one.state_version < newest[one.twin_id].state_version:
            yield Violation("graph", f"the graph went back from {newest[one.twin_id]} to {one}")
        newest[one.twin_id] = one
    for twin in (twin for shard in history.restored for twin in shard.twins.values()):
        now = newest.get(twin.twin_id)
        if now is None or now.state_version != twin.state_version:
            yield Violation("graph", f"{twin.twin_id} has version {twin.state_version}, the graph shows {now}")


def _channels(history: History) -> Iterator[Violation]:
    """What one shard forwards to another is committed before, arrives whole, and for the first time in order."""
    committed = {
        (source, entry.destination, entry.channel_number): entry.event
        for source, records in enumerate(history.records)
        for commit in commits(records)
        for entry in commit.outbox
        if isinstance(entry, SendForward)
    }
    arrived: dict[tuple[int, int], int] = {}
    for destination, events in enumerate(history.events):
        for event in events:
            if event.device_id is not None or event.properties.get(KIND) != Kind.FORWARD:
                continue
            forward = open_forward(event)
            if committed.get((forward.source, destination, forward.number)) != forward.event:
                yield Violation("effects", f"{forward.source} sent {destination} its {forward.number} uncommitted")
            last = arrived.get((forward.source, destination), 0)
            if forward.number > last + 1:
                yield Violation("order", f"{forward.number} of {forward.source} reached {destination} after {last}")
            arrived[forward.source, destination] = max(last, forward.number)
    for source, destination, number in committed:
        if number > arrived.get((source, destination), 0):
            yield Violation("delivery", f"{source} never sent {destination} its {number}")


def _outputs(history: History) -> Iterator[Violation]:
    """Queue, devices and dead letters have what is committed: nothing else, and in the end all of it."""
    entries = [entry for records in history.records for commit in commits(records) for entry in commit.outbox]
    yield from _documents(history, [entry for entry in entries if isinstance(entry, PutDocument)])
    orders = {canonical_json(entry.order) for entry in entries if isinstance(entry, PlaceOrder)}
    for order in set(history.orders) - orders:
        yield Violation("effects", f"the queue has an order that is in no record: {order!r}")
    for order in orders - set(history.orders):
        yield Violation("delivery", f"an order never reached the queue: {order!r}")
    operations = {entry.command.operation_id for entry in entries if isinstance(entry, SendCommand)}
    for operation_id in set(history.commands) - operations:
        yield Violation("effects", f"a device was told {operation_id}, which is in no record")
    open_letters = {letter_id for shard in history.restored for letter_id in shard.letters}
    for letter_id in open_letters ^ set(history.letters):
        yield Violation("delivery", f"dead letter {letter_id} is {'not kept' if letter_id in open_letters else 'kept'}")


def _documents(history: History, entries: Sequence[PutDocument]) -> Iterator[Violation]:
    """Apps find the last committed version of each document."""
    committed: dict[tuple[Collection, str, str], dict[int, Document]] = {}
    for entry in entries:
        key = (entry.collection, entry.document.twin_id, entry.document.document_id)
        committed.setdefault(key, {})[entry.document.version] = entry.document
    kept = {(collection, one.twin_id, one.document_id): one for collection, one in history.documents}
    for key, document in kept.items():
        # What has version 0 an app has put there, before any owner has heard of it.
        if document.version and _content(committed.get(key, {}).get(document.version)) != _content(document):
            yield Violation("effects", f"version {document.version} of {key} is in no record")
    for key, versions in committed.items():
        if key not in kept or kept[key].version != max(versions):
            yield Violation("delivery", f"{key} is not kept as version {max(versions)}")


def _content(document: Document | None) -> tuple[str, bytes] | None:
    """What a document says; its time is kept to the microsecond only."""
    return None if document is None else (document.status, document.body)
