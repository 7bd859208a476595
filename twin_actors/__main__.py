"""Operators' commands: ``python -m twin_actors <noun> <verb>``.

They read the same settings as the function app, from the environment. Exit codes: 0 done, 1 not
found or refused, 2 wrong usage or settings, 3 a service does not answer.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from functions import wiring
from twin_actors.commit import DeadLetter, KeepLetter
from twin_actors.errors import PartitionStopped, SettingsError, TwinfoldError, Unavailable
from twin_actors.journals import Journal
from twin_actors.messages import KIND, LETTER, Kind
from twin_actors.outbox import letter_path
from twin_actors.ownership import restore
from twin_actors.registry import load_registry
from twin_actors.settings import Settings, read_settings
from twin_actors.shard import Shard

type Rows = list[dict[str, object]]


class NotFoundError(TwinfoldError):
    """What the command names does not exist."""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m twin_actors", description="Operate the twins of a function app.")
    nouns = top.add_subparsers(dest="noun", required=True, metavar="NOUN")

    letters = nouns.add_parser("dead-letter", help="messages that could not be folded").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    listing = letters.add_parser("list", help="list the open dead letters")
    listing.add_argument("--partition", type=int, help="of this partition only")
    _add_output(listing)
    show = letters.add_parser("show", help="show a dead letter with its body")
    show.add_argument("id", help="its id, as listed")
    _add_output(show)
    replay = letters.add_parser("replay", help="ask the owner to fold dead letters again")
    replay.add_argument("id", nargs="*", help="their ids, as listed")
    replay.add_argument("--all", action="store_true", help="every open dead letter")
    _add_output(replay)

    partitions = nouns.add_parser("partition", help="the partitions of the mailbox").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    listing = partitions.add_parser("list", help="list owner, watermark, lag and counts of each partition")
    _add_output(listing)

    models = nouns.add_parser("model", help="the DTDL models of the twin types").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    publish = models.add_parser("publish", help="upload the models that Azure Digital Twins lacks")
    _add_output(publish)
    return top


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", choices=("json", "table"), default="table", help="how to print it")


async def dead_letter_list(settings: Settings, arguments: argparse.Namespace) -> Rows:
    """Return the open dead letters."""
    journal = wiring.make_journal(settings)
    try:
        rows: Rows = []
        for partition in await _partitions(journal):
            if arguments.partition not in {None, partition}:
                continue
            shard, _, _ = await restore(journal, partition)
            for letter_id in sorted(shard.letters, key=_position):
                letter = await _letter(journal, shard, letter_id)
                rows.append(_summary(letter_id, shard.letters[letter_id], letter))
        return rows
    finally:
        await journal.close()


async def dead_letter_show(settings: Settings, arguments: argparse.Namespace) -> Rows:
    """Return one dead letter, body and all."""
    journal = wiring.make_journal(settings)
    try:
        partition, _ = _position(arguments.id)
        shard, _, _ = await restore(journal, partition)
        if arguments.id not in shard.letters:
            raise NotFoundError(f"no open dead letter {arguments.id}; `dead-letter list` lists them")
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
        return [row]
    finally:
        await journal.close()


async def dead_letter_replay(settings: Settings, arguments: argparse.Namespace) -> Rows:
    """Send a replay message for each dead letter to the partition that keeps it."""
    listed = await dead_letter_list(settings, argparse.Namespace(partition=None))
    known = [str(row["id"]) for row in listed]
    wanted = known if arguments.all else arguments.id
    if not wanted and not arguments.all:
        raise NotFoundError("name the dead letters to replay, or say --all")
    unknown = [letter_id for letter_id in wanted if letter_id not in known]
    if unknown:
        raise NotFoundError(f"no open dead letter {', '.join(unknown)}; `dead-letter list` lists them")
    sender = wiring.make_sender(settings)
    try:
        for letter_id in wanted:
            properties = {KIND: Kind.REPLAY.value, LETTER: letter_id}
            await sender.send(_position(letter_id)[0], [(b"{}", properties)])
    finally:
        await sender.close()
    return [{"id": letter_id, "replay": "requested"} for letter_id in wanted]


async def partition_list(settings: Settings, _arguments: argparse.Namespace) -> Rows:
    """Return what is known of each partition."""
    journal, reader = wiring.make_journal(settings), wiring.make_reader(settings)
    try:
        rows: Rows = []
        for partition in range((await reader.describe(0)).partition_count):
            hub = await reader.describe(partition)
            row: dict[str, object] = {"partition": partition, "last": hub.last_sequence_number}
            try:
                shard, tail, _ = await restore(journal, partition)
            except PartitionStopped as error:
                rows.append(row | {"error": str(error)})
                continue
            folded = -1 if shard.watermark is None else shard.watermark.sequence_number
            row |= {"watermark": folded, "lag": hub.last_sequence_number - folded, "epoch": shard.epoch}
            row |= {"twins": len(shard.twins), "outbox": len(shard.outbox), "dead_letters": len(shard.letters)}
            rows.append(row | {"segment": tail.segment, "totals": shard.totals})
        return rows
    finally:
        await journal.close()
        await reader.close()


async def model_publish(settings: Settings, _arguments: argparse.Namespace) -> Rows:
    """Upload the models that the instance lacks, in one request."""
    client = wiring.make_digital_twins(settings)
    try:
        present = {model.id async for model in client.list_models()}
        documents = load_registry().models()
        lacking = [document for document in documents if document["@id"] not in present]
        if lacking:
            await client.create_models([dict(document) for document in lacking])
        uploaded = {document["@id"] for document in lacking}
        return [
            {"model": document["@id"], "state": "uploaded" if document["@id"] in uploaded else "present"}
            for document in documents
        ]
    finally:
        await client.close()


COMMANDS = {
    ("dead-letter", "list"): dead_letter_list,
    ("dead-letter", "show"): dead_letter_show,
    ("dead-letter", "replay"): dead_letter_replay,
    ("partition", "list"): partition_list,
    ("model", "publish"): model_publish,
}


async def _partitions(journal: Journal) -> list[int]:
    stored = await journal.read("partition-count")
    return [] if stored is None else list(range(int(stored.data)))


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
        raise NotFoundError(f"{letter_id!r} is no id of a dead letter; ids look like 2-1743")
    return int(partition), int(sequence_number)


def _summary(letter_id: str, reason: str, letter: DeadLetter | None) -> dict[str, object]:
    row: dict[str, object] = {"id": letter_id, "reason": reason}
    if letter is not None:
        event = letter.event
        enqueued = datetime.fromtimestamp(event.enqueued_time, UTC).isoformat(timespec="seconds")
        row |= {"twin": letter.twin_id, "enqueued": enqueued, "bytes": len(event.body)}
    return row


def show(rows: Rows, output: str) -> str:
    """Return rows as text."""
    if output == "json":
        return json.dumps(rows, indent=2, default=str)
    if not rows:
        return "nothing"
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={one}" for name, one in value.items())
    return "" if value is None else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code."""
    parsed = parser().parse_args(arguments)
    try:
        settings = read_settings(os.environ)
        rows = asyncio.run(_run(parsed, settings))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except NotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 3
    sys.stdout.write(show(rows, parsed.output) + "\n")
    return 0


async def _run(parsed: argparse.Namespace, settings: Settings) -> Rows:
    try:
        return await COMMANDS[parsed.noun, parsed.verb](settings, parsed)
    finally:
        await wiring.close()


if __name__ == "__main__":
    sys.exit(main())
