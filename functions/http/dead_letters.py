"""Dead letters: messages that could not be folded, and their replay."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path

from functions.http.dependencies import UsesSides
from functions.http.description import responses
from functions.http.paging import Cursor, Limit, Page, from_cursor, to_cursor
from functions.http.problems import Problem, not_found
from functions.http.sides import Sides
from functions.http.views import DeadLetterSummary, DeadLetterView, ReplayView
from twin_actors.commit import DeadLetter
from twin_actors.messages import KIND, LETTER, Kind
from twin_actors.outbox import letter_path

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])

FOLDER = "dead-letters/"
READS = 16
"""Bodies read at the same time."""

LetterIdPath = Annotated[
    str,
    Path(
        alias="letterId",
        pattern="^[0-9]{1,4}-[0-9]{1,19}$",
        description="`partition-sequence number`.",
        examples=["2-1743"],
    ),
]

_decoder = msgspec.msgpack.Decoder(DeadLetter)


@router.get("", operation_id="listDeadLetters", responses=responses(400, 503))
async def list_dead_letters(sides: UsesSides, limit: Limit = 50, cursor: Cursor = "") -> Page[DeadLetterSummary]:
    """List the open dead letters."""
    names = await sides.journal.page(FOLDER, limit, from_cursor(cursor, FOLDER))
    reading = asyncio.Semaphore(READS)

    async def one(path: str) -> DeadLetterSummary | None:
        async with reading:
            try:
                letter = await _read(sides, path)
            except Problem as problem:
                return _unreadable(path, str(problem))
            return None if letter is None else _summary(letter)

    letters = await asyncio.gather(*(one(path) for path in names.paths))
    items = [letter for letter in letters if letter is not None]  # one may just have been folded
    return Page(items=items, nextCursor=to_cursor(names.token, FOLDER))


@router.get("/{letterId}", operation_id="getDeadLetter", responses=responses(400, 404, 500, 503))
async def get_dead_letter(letter_id: LetterIdPath, sides: UsesSides) -> DeadLetterView:
    """Return a dead letter with all that arrived."""
    letter = await _open(sides, letter_id)
    event = letter.event
    return DeadLetterView(
        **dict(_summary(letter)),
        message_id=event.message_id,
        content_type=event.content_type,
        properties=event.properties,
        body=event.body.decode(errors="backslashreplace"),
    )


@router.post(
    "/{letterId}/replay", status_code=202, operation_id="replayDeadLetter", responses=responses(400, 404, 413, 500, 503)
)
async def replay_dead_letter(letter_id: LetterIdPath, sides: UsesSides) -> ReplayView:
    """Let the partition that keeps a dead letter fold it again; when that is done, it is gone from the list."""
    letter = await _open(sides, letter_id)
    partition = int(letter_id.partition("-")[0])
    await sides.sender.send(partition, [(b"{}", {KIND: Kind.REPLAY.value, LETTER: letter.letter_id})])
    return ReplayView(letter_id=letter.letter_id)


async def _open(sides: Sides, letter_id: str) -> DeadLetter:
    letter = await _read(sides, letter_path(letter_id))
    if letter is None:
        raise not_found(
            "dead letter", f"dead letter {letter_id} is not open; GET /api/dead-letters lists those that are"
        )
    return letter


async def _read(sides: Sides, path: str) -> DeadLetter | None:
    stored = await sides.journal.read(path)
    if stored is None:
        return None
    try:
        return _decoder.decode(stored.data)
    except msgspec.DecodeError as error:
        detail = f"{path} in the journal's container cannot be read ({error}): restore or delete that object"
        raise Problem(500, "unreadable", "What is kept cannot be read", detail) from error


def _unreadable(path: str, detail: str) -> DeadLetterSummary:
    """Return what is known of a letter by its path: the others are not hidden because of it."""
    partition, number = map(int, path.split("/")[1:])
    return DeadLetterSummary(
        letter_id=f"{partition}-{number}",
        partition=partition,
        sequence_number=number,
        reason="unreadable",
        detail=detail,
        twin_id="",
        bytes=0,
    )


def _summary(letter: DeadLetter) -> DeadLetterSummary:
    event = letter.event
    partition, _, number = letter.letter_id.partition("-")
    return DeadLetterSummary(
        letter_id=letter.letter_id,
        partition=int(partition),
        sequence_number=int(number),
        reason=letter.reason,
        detail=letter.detail,
        twin_id=letter.twin_id,
        device_id=event.device_id,
        enqueued_time=datetime.fromtimestamp(event.enqueued_time, UTC),
        bytes=len(event.body),
    )
