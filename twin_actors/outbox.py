"""Outputs that are committed and not yet delivered.

Delivery is at least once: an entry leaves the outbox when a later record says that it was
delivered. Each receiver can tell a repeat: forwards are numbered on their channel, dead letters
are named by their position.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from twin_actors.commit import KeepLetter, OutboxEntry, SendForward, StrikeLetter
from twin_actors.errors import Unavailable
from twin_actors.journals import Journal
from twin_actors.messages import KIND, Forward, Kind
from twin_actors.sinks import MailboxSender

MAX_SEND_BYTES = 512 * 1024
"""Of one send to the mailbox: well under the megabyte that Event Hubs takes."""

LETTER_WRITES = 16
"""Dead letters stored at the same time."""

_encode = msgspec.msgpack.Encoder().encode


def letter_path(letter_id: str) -> str:
    """Return where the body of a dead letter is kept."""
    partition, _, sequence_number = letter_id.partition("-")
    return f"dead-letters/{partition}/{int(sequence_number):020d}"


async def deliver(
    entries: Mapping[int, OutboxEntry], source: int, journal: Journal, sender: MailboxSender
) -> tuple[list[int], Unavailable | None]:
    """Deliver entries, as many as will go now.

    Parameters
    ----------
    entries
        Number → entry, in order.
    source
        The partition that sends.
    journal
        Keeps the bodies of dead letters.
    sender

    Returns
    -------
    list of int
        The numbers delivered.
    Unavailable or None
        Why others were not.
    """
    fault: Unavailable | None = None
    delivered: list[int] = []
    lanes: dict[int, list[SendForward]] = {}
    letters: list[KeepLetter | StrikeLetter] = []
    for entry in entries.values():
        if isinstance(entry, SendForward):
            lanes.setdefault(entry.destination, []).append(entry)
        else:
            letters.append(entry)
    for destination, lane in lanes.items():
        sent, stopped_by = await _send_lane(source, destination, lane, sender)
        delivered += sent
        fault = stopped_by or fault
    kept, stopped_by = await _store_letters(letters, journal)
    return delivered + kept, stopped_by or fault


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


async def _store_letters(
    letters: list[KeepLetter | StrikeLetter], journal: Journal
) -> tuple[list[int], Unavailable | None]:
    """Store and delete bodies side by side, each letter's own entries in order."""
    struck = {entry.letter_id for entry in letters if isinstance(entry, StrikeLetter)}
    limit = asyncio.Semaphore(LETTER_WRITES)
    faults: list[Unavailable] = []

    async def one(entry: KeepLetter | StrikeLetter) -> int | None:
        async with limit:
            try:
                if isinstance(entry, StrikeLetter):
                    await journal.delete(letter_path(entry.letter_id))
                elif entry.letter.letter_id not in struck:
                    await journal.write(letter_path(entry.letter.letter_id), _encode(entry.letter))
            except Unavailable as error:
                faults.append(error)
                return None
            return entry.number

    numbers = await asyncio.gather(*(one(entry) for entry in letters))
    return [number for number in numbers if number is not None], (faults[0] if faults else None)
