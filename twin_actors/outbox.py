"""Outputs that are committed and not yet delivered.

Delivery is at least once: an entry leaves the outbox when a later record says that it was
delivered. Each receiver can tell a repeat: forwards are numbered on their channel, dead letters
are named by their position, documents have a version, work orders an idempotency key. Commands for
devices are not sent from here but beside the batches, by `Dispatch`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from twin_actors.commit import KeepLetter, OutboxEntry, StrikeLetter
from twin_actors.errors import Unavailable
from twin_actors.identity import home_partition
from twin_actors.journals import Journal
from twin_actors.maintenance import put_order
from twin_actors.messages import KIND, Forward, Kind, address
from twin_actors.outputs import PlaceOrder, PutDocument, RemoveTwin, SendCommand, SendForward
from twin_actors.shard import Shard
from twin_actors.sinks import Documents, Graph, MailboxSender, Refused, WorkOrders

MAX_SEND_BYTES = 512 * 1024
"""Of one send to the mailbox: well under the megabyte that Event Hubs takes."""

WRITES_AT_ONCE = 16
"""Dead letters, or documents, stored at the same time."""

MOST_FAULTS = 3
"""Outputs of a lane that fail in a round before its receiver counts as away; fewer have reasons of their own."""

log = logging.getLogger(__name__)

_encode = msgspec.msgpack.Encoder().encode


def letter_path(letter_id: str) -> str:
    """Return where the body of a dead letter is kept."""
    partition, _, sequence_number = letter_id.partition("-")
    return f"dead-letters/{partition}/{int(sequence_number):020d}"


def numbered(outputs: Iterable[OutboxEntry], shard: Shard, partition_count: int) -> list[OutboxEntry]:
    """Give outputs the numbers that follow the last ones given.

    That of a document is its version; what goes to another shard is numbered on its channel too.
    """
    entries: list[OutboxEntry] = []
    channels = dict(shard.sent_channels)
    for number, output in enumerate(outputs, shard.last_number + 1):
        if isinstance(output, PutDocument):
            document = msgspec.structs.replace(output.document, version=number)
            entries.append(PutDocument(number, output.collection, document))
        elif isinstance(output, SendForward):
            destination = home_partition(address(output.event), partition_count)
            channels[destination] = channels.get(destination, 0) + 1
            entries.append(SendForward(number, destination, channels[destination], output.event))
        else:
            entries.append(msgspec.structs.replace(output, number=number))
    return entries


class Delivery(msgspec.Struct):
    """What became of a round.

    Attributes
    ----------
    done : list of int
        The numbers delivered.
    faults : dict
        Lane → why it stopped; the rest of it was not tried.
    told : list of PutDocument
        What apps must learn of it.
    """

    done: list[int] = []
    faults: dict[str, Unavailable] = {}
    told: list[PutDocument] = []


class Receivers(msgspec.Struct, frozen=True):
    """Who takes outputs: journal (bodies of dead letters), mailbox, documents, work orders, graph."""

    journal: Journal
    sender: MailboxSender
    documents: Documents
    orders: WorkOrders
    graph: Graph


MAILBOX, LETTERS, DOCUMENTS, ORDERS = "mailbox", "dead letters", "documents", "work orders"
REMOVALS = "removals of twins"
"""The lanes of outputs: one that does not go holds up no other."""

_LANES: Mapping[type, str] = {
    KeepLetter: LETTERS,
    StrikeLetter: LETTERS,
    PutDocument: DOCUMENTS,
    PlaceOrder: ORDERS,
    RemoveTwin: REMOVALS,
}


async def deliver(
    entries: Iterable[OutboxEntry], source: int, to: Receivers, time: float, closed: Container[str] = ()
) -> Delivery:
    """Deliver entries, as many as will go now.

    Parameters
    ----------
    entries
        In order; commands for devices are left alone.
    source
        The partition that sends.
    to
    time
        Now, seconds since 1970.
    closed
        Lanes that are not tried.
    """
    delivery = Delivery()
    forwards: dict[int, list[SendForward]] = {}
    kept: dict[str, list[Any]] = {LETTERS: [], DOCUMENTS: [], ORDERS: [], REMOVALS: []}
    for entry in entries:
        if isinstance(entry, SendForward):
            forwards.setdefault(entry.destination, []).append(entry)
        elif not isinstance(entry, SendCommand):
            kept[_LANES[type(entry)]].append(entry)
    if MAILBOX not in closed:
        for destination, lane in forwards.items():
            await _send_lane(source, destination, lane, to.sender, delivery)
    if LETTERS not in closed:
        await _store_letters(kept[LETTERS], to.journal, delivery)
    if DOCUMENTS not in closed:
        await _put_documents(kept[DOCUMENTS], to.documents, delivery)
    if ORDERS not in closed:
        await _place_orders(kept[ORDERS], to.orders, delivery, time)
    if REMOVALS not in closed:
        await _remove_twins(kept[REMOVALS], to.graph, delivery)
    return delivery


async def _send_lane(
    source: int, destination: int, lane: list[SendForward], sender: MailboxSender, delivery: Delivery
) -> None:
    """Send one channel's entries in order, one send in flight, and stop at the first failure."""
    for chunk in _chunks(lane):
        messages: list[tuple[bytes, Mapping[str, str]]] = [
            (_encode(Forward(source, entry.channel_number, entry.event)), {KIND: Kind.FORWARD.value}) for entry in chunk
        ]
        try:
            await sender.send(destination, messages)
        except Unavailable as error:
            delivery.faults[MAILBOX] = error
            return
        delivery.done += [entry.number for entry in chunk]


def _chunks(lane: list[SendForward]) -> list[list[SendForward]]:
    chunks: list[list[SendForward]] = [[]]
    size = 0
    for entry in lane:
        length = len(entry.event.body) + 512
        if chunks[-1] and size + length > MAX_SEND_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(entry)
        size += length
    return chunks


async def _store_letters(letters: list[KeepLetter | StrikeLetter], journal: Journal, delivery: Delivery) -> None:
    """Store and delete bodies side by side, each letter's own entries in order."""
    struck = {entry.letter_id for entry in letters if isinstance(entry, StrikeLetter)}

    async def store(entry: KeepLetter | StrikeLetter) -> None:
        if isinstance(entry, StrikeLetter):
            await journal.delete(letter_path(entry.letter_id))
        elif entry.letter.letter_id not in struck:
            await journal.write(letter_path(entry.letter.letter_id), _encode(entry.letter))

    await _side_by_side(LETTERS, letters, store, delivery)


async def _put_documents(entries: list[PutDocument], documents: Documents, delivery: Delivery) -> None:
    """Show documents to apps; of several versions of one only the newest is written."""
    newest = {(entry.collection, entry.document.twin_id, entry.document.document_id): entry.number for entry in entries}
    wanted = set(newest.values())

    async def put(entry: PutDocument) -> None:
        if entry.number in wanted:
            try:
                await documents.put(entry.collection, entry.document)
            except Refused as error:
                what = f"{entry.collection} {entry.document.document_id} of twin {entry.document.twin_id}"
                log.error("%s is not shown to apps: %s", what, error)  # noqa: TRY400  no bug of ours

    await _side_by_side(DOCUMENTS, entries, put, delivery)


async def _remove_twins(entries: list[RemoveTwin], graph: Graph, delivery: Delivery) -> None:
    """Take deleted twins out of the graph."""

    async def remove(entry: RemoveTwin) -> None:
        await graph.remove(entry.twin_id, entry.state_version, entry.model)

    await _side_by_side(REMOVALS, entries, remove, delivery)


async def _place_orders(entries: list[PlaceOrder], orders: WorkOrders, delivery: Delivery, time: float) -> None:
    """Place orders one after the other, the revisions of one in order, and tell apps what came of each."""
    newest = {(entry.order.twin_id, entry.document_id): entry.number for entry in entries}
    faults: list[Unavailable] = []
    waiting: set[str] = set()
    for entry in entries:
        if entry.order.order_id in waiting:
            continue
        status = "placed"
        try:
            await orders.place(entry.order)
        except Refused as error:
            status = "refused"
            log.error("work order %s is refused: %s", entry.order.idempotency_key, error)  # noqa: TRY400  no bug of ours
        except Unavailable as error:
            faults.append(error)
            waiting.add(entry.order.order_id)
            if len(faults) == MOST_FAULTS:
                break
            continue
        delivery.done.append(entry.number)
        if entry.number == newest[entry.order.twin_id, entry.document_id]:  # apps see the newest revision already
            delivery.told.append(put_order(entry.order.twin_id, entry.document_id, entry.order, status, time))
    _note_faults(ORDERS, faults, len({entry.order.order_id for entry in entries}), delivery)


async def _side_by_side[E: KeepLetter | StrikeLetter | PutDocument | RemoveTwin](
    lane: str, entries: Sequence[E], write: Callable[[E], Awaitable[None]], delivery: Delivery
) -> None:
    """Write entries, some at a time, until as many have failed."""
    limit = asyncio.Semaphore(WRITES_AT_ONCE)
    faults: list[Unavailable] = []

    async def one(entry: E) -> None:
        async with limit:
            if len(faults) >= WRITES_AT_ONCE:
                return
            try:
                await write(entry)
            except Unavailable as error:
                faults.append(error)
            else:
                delivery.done.append(entry.number)

    await asyncio.gather(*(one(entry) for entry in entries))
    _note_faults(lane, faults, len(entries), delivery)


def _note_faults(lane: str, faults: list[Unavailable], tried: int, delivery: Delivery) -> None:
    """Stop a lane whose receiver is away; an output that fails alone does not stand in the way of others."""
    if faults and len(faults) >= min(tried, MOST_FAULTS):
        delivery.faults[lane] = faults[-1]
    elif faults:
        log.warning("%d of %d %s did not go: %s", len(faults), tried, lane, faults[-1])
