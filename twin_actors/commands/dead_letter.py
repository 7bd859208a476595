"""``dead-letter``: messages that could not be folded."""

from argparse import Namespace
from datetime import UTC, datetime

import msgspec

from twin_actors.commands.errors import NotFound
from twin_actors.commands.output import Result, Row, add_output, item, listing
from twin_actors.commands.ports import Ports
from twin_actors.commands.verbs import Nouns, add_noun
from twin_actors.commit import DeadLetter, KeepLetter
from twin_actors.journals import Journal
from twin_actors.messages import KIND, LETTER, Kind
from twin_actors.outbox import letter_path
from twin_actors.shard import Shard
from twin_actors.snapshot import partitions, restore


def add(nouns: Nouns) -> None:
    """Add the noun to the command line."""
    verb = add_noun(nouns, "dead-letter", "messages that could not be folded")
    command = verb("list", "list the open dead letters", list_letters)
    command.add_argument("--partition", type=int, help="of this partition only")
    add_output(command)
    command = verb("show", "show a dead letter with its body", show)
    command.add_argument("id", help="its id, as listed")
    add_output(command)
    command = verb("replay", "ask the owner to fold dead letters again", replay)
    command.add_argument("id", nargs="*", help="their ids, as listed")
    command.add_argument("--all", action="store_true", help="every open dead letter")
    add_output(command)


async def list_letters(ports: Ports, arguments: Namespace) -> Result:
    """Return the open dead letters."""
    return listing(await _open_letters(ports.journal(), arguments.partition))


async def show(ports: Ports, arguments: Namespace) -> Result:
    """Return one dead letter, body and all."""
    journal = ports.journal()
    partition, _ = _position(arguments.id)
    shard, _, _ = await restore(journal, partition)
    if arguments.id not in shard.letters:
        raise NotFound(f"no open dead letter {arguments.id}; `dead-letter list` lists them")
    letter = await _letter(journal, shard, arguments.id)
    row = _summary(arguments.id, shard.letters[arguments.id], letter)
    if letter is not None:
        event = letter.event
        row |= {
            "detail": letter.detail,
            "device": event.device_id,
            "message_id": event.message_id,
            "properties": event.properties,
            "body": event.body.decode(errors="backslashreplace"),
        }
    return item(row)


async def replay(ports: Ports, arguments: Namespace) -> Result:
    """Send a replay message for each dead letter to the partition that keeps it."""
    known = [str(row["id"]) for row in await _open_letters(ports.journal(), None)]
    wanted = known if arguments.all else arguments.id
    if not wanted and not arguments.all:
        raise NotFound("name the dead letters to replay, or say --all")
    unknown = [letter_id for letter_id in wanted if letter_id not in known]
    if unknown:
        raise NotFound(f"no open dead letter {', '.join(unknown)}; `dead-letter list` lists them")
    sender = ports.sender()
    for letter_id in wanted:
        properties = {KIND: Kind.REPLAY.value, LETTER: letter_id}
        await sender.send(_position(letter_id)[0], [(b"{}", properties)])
    return listing([{"id": letter_id, "replay": "requested"} for letter_id in wanted])


async def _open_letters(journal: Journal, only: int | None) -> list[Row]:
    rows: list[Row] = []
    for partition in await partitions(journal):
        if only not in {None, partition}:
            continue
        shard, _, _ = await restore(journal, partition)
        for letter_id in sorted(shard.letters, key=_position):
            letter = await _letter(journal, shard, letter_id)
            rows.append(_summary(letter_id, shard.letters[letter_id], letter))
    return rows


async def _letter(journal: Journal, shard: Shard, letter_id: str) -> DeadLetter | None:
    """Return a dead letter from the outbox or from where bodies are kept."""
    waiting: KeepLetter | None = shard.kept_letter(letter_id)
    if waiting is not None:
        return waiting.letter
    stored = await journal.read(letter_path(letter_id))
    return None if stored is None else msgspec.msgpack.decode(stored.data, type=DeadLetter)


def _position(letter_id: str) -> tuple[int, int]:
    partition, _, sequence_number = letter_id.partition("-")
    if not (partition.isdigit() and sequence_number.isdigit()):
        raise NotFound(f"{letter_id!r} is no id of a dead letter; ids look like 2-1743")
    return int(partition), int(sequence_number)


def _summary(letter_id: str, reason: str, letter: DeadLetter | None) -> dict[str, object]:
    row: dict[str, object] = {"id": letter_id, "reason": reason}
    if letter is not None:
        event = letter.event
        enqueued = datetime.fromtimestamp(event.enqueued_time, UTC).isoformat(timespec="seconds")
        row |= {"twin": letter.twin_id, "enqueued": enqueued, "bytes": len(event.body)}
    return row
