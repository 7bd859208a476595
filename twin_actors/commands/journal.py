"""``journal``: what storage has of a partition, whether it is whole, and what to do where it is not."""

import uuid
from argparse import Namespace
from collections import Counter, deque

from twin_actors.audit import audit, waiting_bytes
from twin_actors.chain import Entry, Fault, read_all, take_stock
from twin_actors.commands.errors import NotFound
from twin_actors.commands.output import Result, Row, add_output, item, listing
from twin_actors.commands.ports import Ports
from twin_actors.commands.verbs import NOT_DONE, Nouns, add_consent, add_noun
from twin_actors.commit import Claim, Commit, Intent, Rebase, Record, Repair, Seal
from twin_actors.journals import partition_count
from twin_actors.repair import LEAST_JUMP, Loss, examine, repair
from twin_actors.snapshot import partitions, taken

RECORDS = 50
"""That are shown unless said."""


def add(nouns: Nouns) -> None:
    """Add the noun to the command line."""
    verb = add_noun(nouns, "journal", "what storage has of a partition, and whether it is whole")
    command = verb("show", "list the records of a partition", show)
    command.add_argument("partition", type=int, help="its number")
    command.add_argument(
        "--from", dest="start", type=int, metavar="SEQUENCE", help="from the record that folds this event on"
    )
    command.add_argument("--limit", type=int, default=RECORDS, help=f"at most so many, the last {RECORDS} unless said")
    add_output(command)
    command = verb("verify", "read all of a journal and say what is wrong with it", verify)
    command.add_argument("partition", nargs="?", type=int, help="its number")
    command.add_argument("--all", action="store_true", help="every partition")
    add_output(command)
    command = verb("repair", "let a partition go on whose journal is damaged", repair_partition)
    command.add_argument("partition", type=int, help="its number")
    command.add_argument("--reason", default="", help="why, for the journal")
    add_consent(command)
    add_output(command)


async def show(ports: Ports, arguments: Namespace) -> Result:
    """Return records, the newest unless an event is named."""
    journal, partition, start = ports.journal(), arguments.partition, arguments.start
    stock = await take_stock(journal, partition)
    rows: deque[Row] = deque(maxlen=arguments.limit if start is None else None)
    is_reached = start is None
    async for one in read_all(journal, stock):
        if isinstance(one, Entry) and isinstance(one.record, Commit) and one.record.watermark is not None:
            is_reached = is_reached or one.record.watermark.sequence_number >= start
        if is_reached and (start is None or len(rows) < arguments.limit):
            rows.append(_row(one))
    waiting = waiting_bytes(stock, await taken(journal, partition))
    ports.note(
        f"{len(stock.segments)} segments of {sum(stock.segments.values())} bytes; {waiting} bytes of sealed segments "
        f"wait for history; restores begin at {stock.published or 'the first record'}"
    )
    return listing(list(rows))


def _row(one: Entry | Fault) -> Row:
    row: dict[str, object] = {"segment": one.at.segment.rpartition("/")[2], "at": one.at.position}
    if isinstance(one, Fault):
        return row | {"kind": "DAMAGE", "detail": one.detail}
    record = one.record
    start = one.at.position
    row |= {"kind": type(record).__name__.lower(), "epoch": record.epoch, "bytes": one.next.position - start}
    return row | _content(record)


def _content(record: Record) -> dict[str, object]:
    """Return what a table has of a record, besides where it stands."""
    match record:
        case Commit():
            number = None if record.watermark is None else record.watermark.sequence_number
            row: dict[str, object] = {
                "watermark": number,
                "messages": len(record.accepted.twin_ids),
                "twins": len(record.twins),
            }
            return row | {"outbox": len(record.outbox), "delivered": len(record.delivered), "counts": record.counts}
        case Claim():
            return {"detail": f"owner {record.owner}"}
        case Seal():
            return {"detail": f"goes on in {record.next_segment}"}
        case Intent():
            return {"detail": f"tries {record.subject}"}
        case Rebase():
            return {"watermark": record.watermark.sequence_number, "detail": f"{record.operator}: {record.reason}"}
        case Repair():
            return {"detail": f"{record.operator}: {record.reason}; follows {record.follows} at byte {record.position}"}


async def verify(ports: Ports, arguments: Namespace) -> Result:
    """Read all of a journal, and say what is wrong with it."""
    journal = ports.journal()
    if arguments.all == (arguments.partition is not None):
        raise NotFound("name a partition, or say --all")
    rows: list[Row] = []
    has_fault = False
    for partition in await partitions(journal) if arguments.all else [arguments.partition]:
        found = await audit(journal, partition)
        has_fault |= found.has_fault
        whole = "from the first record" if found.is_whole else "from the oldest that is left"
        ports.note(
            f"partition {partition}: {found.records} records in {found.segments} segments ({found.bytes} bytes), "
            f"{whole}; epoch {found.epoch}, folded up to {found.watermark}; "
            f"{found.waiting_bytes} bytes wait for history"
        )
        rows += [
            {
                "partition": partition,
                "finding": "FAULT" if one.is_fault else "note",
                "place": one.place,
                "what": one.what,
                "do": one.do or None,
            }
            for one in found.findings
        ]
    return Result(rows, rows, int(has_fault))


async def repair_partition(ports: Ports, arguments: Namespace) -> Result:
    """Let a partition go on from what is whole; without consent, say what that would do."""
    journal, partition = ports.journal(), arguments.partition
    loss = await examine(journal, partition)
    if loss is None:
        return item({"partition": partition, "repair": "not needed", "detail": "a restore reads it to its end"})
    hub = await ports.reader().describe(partition)
    count = max(await partition_count(journal), hub.partition_count)
    report = _report(loss, hub.first_sequence_number, hub.last_sequence_number)
    if not arguments.yes:
        ports.note("nothing was changed: say --yes to do it")
        return item({"partition": partition, "repair": "planned", **report}, NOT_DONE)
    await repair(journal, ports.clock, loss, range(count), ports.caller, arguments.reason, uuid.uuid4().hex)
    return item({"partition": partition, "repair": "done", **report})


def _report(loss: Loss, first: int, last: int) -> dict[str, object]:
    """Return what a repair keeps, gives up, and reads again."""
    mark = loss.shard.watermark
    folded = -1 if mark is None else mark.sequence_number
    report: dict[str, object] = {
        "damage": loss.detail,
        "kept_up_to": f"{loss.end.segment} at byte {loss.end.position}",
        "folded": folded,
    }
    if loss.is_whole:
        return report | {"lost": "nothing: only a snapshot is damaged, and is written anew"}
    kinds = Counter(type(record).__name__.lower() for record in loss.records)
    tops = [one.watermark.sequence_number for one in loss.records if isinstance(one, Commit) and one.watermark]
    report |= {
        "given_up": [f"{path} from byte {start}" for path, start in loss.given_up.items()],
        "given_up_bytes": loss.jump - LEAST_JUMP,
        "given_up_records": dict(kinds),
        "given_up_folded": max(tops, default=None),
        "goes_on_in": loss.next_segment,
    }
    if first > folded + 1:
        report["beyond_retention"] = f"events {folded + 1} to {first - 1}: their readings are in the damaged bytes only"
    if last >= max(first, folded + 1):
        report["folded_again"] = f"events {max(first, folded + 1)} to {last}, read from the hub"
    report["sent_again"] = "what those events put out: documents and orders are told apart, commands by their operation"
    return report
