"""Gathers what a run has left behind, for `judge`: from the services themselves, by their own doors."""

import asyncio
import base64
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from azure.core.exceptions import ResourceNotFoundError
from azure.eventhub.aio import EventHubConsumerClient
from azure.storage.queue.aio import QueueClient

from local_emulator.functions_host import FunctionsHost
from tests.end_to_end.history import History, Sent, Written
from tests.end_to_end.judge import judge
from tests.end_to_end.stack import PARTITIONS, Stack, Ticker, eventually
from twin_actors.commit import Record, Seal, decode
from twin_actors.documents import Collection, Document
from twin_actors.gaps.event_hubs import EventHubGapReader
from twin_actors.journals import Journal
from twin_actors.messages import KIND, Event, Kind
from twin_actors.shard import Shard
from twin_actors.sinks.documents import TableDocuments
from twin_actors.snapshot import segment_path

WATCH = """
CREATE TABLE written (number INTEGER PRIMARY KEY, twin TEXT NOT NULL, document BLOB NOT NULL);
CREATE TRIGGER watch AFTER INSERT ON twins
BEGIN INSERT INTO written (twin, document) VALUES (NEW.id, NEW.document); END;
"""


def watch_graph(stack: Stack) -> None:
    """Let the graph's own database keep every state that a twin has been in, in the order of the writes."""
    with contextlib.closing(_graph_database(stack.folder)) as database:
        database.executescript(WATCH)


def _graph_database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "digital_twins" / "digital_twins.sqlite")


async def check(stack: Stack, sent: Sequence[Sent], commands: Sequence[str] = ()) -> History:
    """Judge a run that has come to rest; every broken promise is told."""
    history = await gather(stack, sent, commands)
    violations = judge(history)
    assert not violations, "\n".join(f"{one.promise}: {one.text}" for one in violations)
    return history


async def gather(stack: Stack, sent: Sequence[Sent], commands: Sequence[str] = ()) -> History:
    """Read everything; what is in the queue is taken out of it."""
    async with stack.journal() as journal:
        records = [await whole_journal(journal, partition) for partition in range(PARTITIONS)]
        letters = await journal.names("dead-letters/")
    restored = await stack.shards()
    return History(
        sent=list(sent),
        events=[_folded(*pair) for pair in zip(await hub_events(stack), restored, strict=True)],
        records=records,
        restored=restored,
        written=writes_to_the_graph(stack),
        documents=await documents(stack),
        orders=await queued(stack),
        commands=list(commands),
        letters=[f"{partition}-{int(number)}" for _, partition, number in (path.split("/") for path in letters)],
    )


async def whole_journal(journal: Journal, partition: int) -> list[Record]:
    """Read every record of a partition, from its first segment on."""
    records: list[Record] = []
    segment, sum_ = segment_path(partition, 0, 0), 0
    while True:
        data = await journal.read_segment(segment, 0)
        assert data is not None, f"segment {segment} is missing"
        for record, _, last_sum in decode(data, sum_, segment):
            records.append(record)
            sum_after = last_sum
        if not isinstance(records[-1], Seal):
            return records
        segment, sum_ = records[-1].next_segment, sum_after


async def hub_events(stack: Stack) -> list[list[Event]]:
    """Read every event of the mailbox."""

    def client() -> EventHubConsumerClient:
        return EventHubConsumerClient.from_connection_string(
            stack.event_hubs.connection_string, "gaps", eventhub_name="mailbox"
        )

    reader = EventHubGapReader(client)

    async def read(partition: int, last: int) -> list[Event]:
        events: list[Event] = []
        while len(events) <= last:
            events += await reader.read(partition, len(events), last)
        return events

    ends = await stack.last_sequence_numbers()
    return list(await asyncio.gather(*(read(partition, last) for partition, last in enumerate(ends))))


def _folded(events: list[Event], shard: Shard) -> list[Event]:
    """Leave out the ticks at the end that came as the last host left: they bring nothing."""
    last = -1 if shard.watermark is None else shard.watermark.sequence_number
    while events and events[-1].sequence_number > last and events[-1].properties.get(KIND) == Kind.TICK:
        events.pop()
    return events


def writes_to_the_graph(stack: Stack) -> list[Written]:
    """Return every write that shows the state of a twin."""
    with contextlib.closing(_graph_database(stack.folder)) as database:
        rows = database.execute("SELECT twin, document FROM written ORDER BY number").fetchall()
    twins = [(twin_id, msgspec.json.decode(document)) for twin_id, document in rows]
    return [
        Written(twin_id, shown["stateVersion"], shown["readingCount"])
        for twin_id, shown in twins
        if "stateVersion" in shown
    ]


async def documents(stack: Stack) -> list[tuple[Collection, Document]]:
    """Return all that apps find in the tables."""
    tables = TableDocuments.from_connection_string(stack.storage.connection_string)
    found: list[tuple[Collection, Document]] = []
    try:
        for collection in Collection:
            token = ""
            while True:
                page = await tables.list(collection, limit=500, token=token)
                found += [(collection, document) for document in page.documents]
                if not (token := page.token):
                    break
    finally:
        await tables.close()
    return found


async def queued(stack: Stack) -> list[bytes]:
    """Take all work orders out of the queue, as a maintenance system does."""
    taken: list[bytes] = []
    async with QueueClient.from_connection_string(stack.storage.connection_string, "work-orders") as queue:
        with contextlib.suppress(ResourceNotFoundError):  # nothing was ever ordered
            while batch := [message async for message in queue.receive_messages(max_messages=32)][:32]:
                for message in batch:
                    taken.append(base64.b64decode(message.content))
                    await queue.delete_message(message)
    return taken


async def at_rest(stack: Stack, make_host: Callable[[], FunctionsHost]) -> None:
    """Let a new host finish what is owed, and end it; again where the timer fired in the moment between."""
    for _ in range(5):
        async with make_host() as host:
            ticker = Ticker(host)

            async def look(ticker: Ticker = ticker) -> bool:
                return is_shown(stack, await stack.settled(120, ticker))

            await eventually(look, 120)
        if is_shown(stack, await stack.shards()):
            return
    raise AssertionError("the run does not come to rest")


def is_shown(stack: Stack, shards: Sequence[Shard]) -> bool:
    """Whether the graph shows every twin as it is."""
    shown = {one.twin_id: one.state_version for one in writes_to_the_graph(stack)}
    return all(shown.get(twin.twin_id) == twin.state_version for shard in shards for twin in shard.twins.values())
