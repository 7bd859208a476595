"""Outputs that are committed and not yet delivered.

Delivery is at least once: an entry leaves the outbox when a later record says that it was
delivered. Each receiver can tell a repeat: forwards are numbered on their channel, dead letters
are named by their position, documents have a version, work orders an idempotency key. Commands for
devices are not sent from here but beside the batches, by `Dispatch`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from twin_actors.commit import KeepLetter, OutboxEntry, SendForward, StrikeLetter
from twin_actors.errors import Unavailable
from twin_actors.journals import Journal
from twin_actors.maintenance import put_order
from twin_actors.messages import KIND, Forward, Kind
from twin_actors.outputs import PlaceOrder, PutDocument, SendCommand
from twin_actors.sinks import Documents, MailboxSender, Refused, WorkOrders

MAX_SEND_BYTES = 512 * 1024
"""Of one send to the mailbox: well under the megabyte that Event Hubs takes."""

WRITES_AT_ONCE = 16
"""Dead letters, or documents, stored at the same time."""

log = logging.getLogger(__name__)

_encode = msgspec.msgpack.Encoder().encode


def letter_path(letter_id: str) -> str:
    """Return where the body of a dead letter is kept."""
    partition, _, sequence_number = letter_id.partition("-")
    return f"dead-letters/{partition}/{int(sequence_number):020d}"


class Delivery(msgspec.Struct):
    """What became of a round.

    Attributes
    ----------
    done : list of int
        The numbers delivered.
    fault : Unavailable or None
        Why others were not.
    told : list of PutDocument
        What apps must learn of it.
    """

    done: list[int] = []
    fault: Unavailable | None = None
    told: list[PutDocument] = []


class Receivers(msgspec.Struct, frozen=True):
    """Who takes outputs: journal (bodies of dead letters), mailbox, documents, work orders."""

    journal: Journal
    sender: MailboxSender
    documents: Documents
    orders: WorkOrders


async def deliver(entries: Iterable[OutboxEntry], source: int, to: Receivers, time: float) -> Delivery:
    """Deliver entries, as many as will go now; a kind of output that does not go holds up no other.

    Parameters
    ----------
    entries
        In order; commands for devices are left alone.
    source
        The partition that sends.
    to
    time
        Now, seconds since 1970.
    """
    delivery = Delivery()
    lanes: dict[int, list[SendForward]] = {}
    letters: list[KeepLetter | StrikeLetter] = []
    documents: list[PutDocument] = []
    orders: list[PlaceOrder] = []
    for entry in entries:
        if isinstance(entry, SendForward):
            lanes.setdefault(entry.destination, []).append(entry)
        elif isinstance(entry, PutDocument):
            documents.append(entry)
        elif isinstance(entry, PlaceOrder):
            orders.append(entry)
        elif not isinstance(entry, SendCommand):
            letters.append(entry)
    for destination, lane in lanes.items():
        sent, stopped_by = await _send_lane(source, destination, lane, to.sender)
        delivery.done += sent
        delivery.fault = stopped_by or delivery.fault
    await _store_letters(letters, to.journal, delivery)
    await _put_documents(documents, to.documents, delivery)
    await _place_orders(orders, to.orders, delivery, time)
    return delivery


async def _send_lane(
    source: int, destination: int, lane: list[SendForward], sender: MailboxSender
) -> tuple[list[int], Unavailable | None]:
    """Send one channel's entries in order, one send in flight, and stop at the first failure."""
    delivered: list[int] = []
    for chunk in _chunks(lane):
        messages: list[tuple[bytes, Mapping[str, str]]] = [
            (_encode(Forward(source, entry.channel_number, entry.event)), {KIND: Kind.FORWARD.value}) for entry in chunk
        ]
        try:
            await sender.send(destination, messages)
        except Unavailable as error:
            return delivered, error
        delivered += [entry.number for entry in chunk]
    return delivered, None


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

    await _side_by_side(letters, store, delivery)


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

    await _side_by_side(entries, put, delivery)


async def _place_orders(entries: list[PlaceOrder], orders: WorkOrders, delivery: Delivery, time: float) -> None:
    """Place orders one after the other, and tell apps what came of each; the first that does not go ends the round."""
    for entry in entries:
        status = "placed"
        try:
            await orders.place(entry.order)
        except Refused as error:
            status = "refused"
            log.error("work order %s is refused: %s", entry.order.idempotency_key, error)  # noqa: TRY400  no bug of ours
        except Unavailable as error:
            delivery.fault = error
            return
        delivery.done.append(entry.number)
        delivery.told.append(put_order(entry.order.twin_id, entry.document_id, entry.order, status, time))


async def _side_by_side[E: KeepLetter | StrikeLetter | PutDocument](
    entries: Sequence[E], write: Callable[[E], Awaitable[None]], delivery: Delivery
) -> None:
    limit = asyncio.Semaphore(WRITES_AT_ONCE)

    async def one(entry: E) -> None:
        async with limit:
            try:
                await write(entry)
            except Unavailable as error:
                delivery.fault = error
            else:
                delivery.done.append(entry.number)

    await asyncio.gather(*(one(entry) for entry in entries))
