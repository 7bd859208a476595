"""``partition``: the partitions of the mailbox."""

import dataclasses
import uuid
from argparse import ArgumentTypeError, Namespace

from twin_actors.commands.errors import NotFound
from twin_actors.commands.output import Result, Row, add_output, listing
from twin_actors.commands.ports import Ports
from twin_actors.commands.verbs import NOT_DONE, Nouns, add_consent, add_noun
from twin_actors.commit import Commit
from twin_actors.errors import Fenced, PartitionStopped, Rejected
from twin_actors.ownership import Owner
from twin_actors.rebase import Move, Start, find, plan, rebase
from twin_actors.snapshot import restore
from twin_actors.stops import read_stop

CHECKPOINTS = """if no batch arrives afterwards, the trigger's checkpoint is of the old hub and beyond the end of this
one: stop the app, delete the checkpoints of the mailbox in the container azure-webjobs-eventhub, start the app"""


def add(nouns: Nouns) -> None:
    """Add the noun to the command line."""
    verb = add_noun(nouns, "partition", "the partitions of the mailbox")
    add_output(verb("list", "list watermark, lag, epoch and counts of each partition", list_partitions))
    command = verb("rebase", "let a partition go on in a hub that was made anew, or past events", rebase_partitions)
    command.add_argument("partition", nargs="?", type=int, help="its number")
    command.add_argument("--all", action="store_true", help="every partition")
    command.add_argument(
        "--from",
        dest="start",
        type=_start,
        metavar="earliest|latest|SEQUENCE",
        help="the event to fold next; unless said, the earliest of a hub that was made anew",
    )
    command.add_argument("--reason", default="", help="why, for the journal")
    add_consent(command)
    add_output(command)
    command = verb("sweep-again", "give twins that killed whoever swept them another try", sweep_again)
    command.add_argument("partition", type=int, help="its number")
    add_output(command)


def _start(text: str) -> Start:
    if text in {"earliest", "latest"}:
        return text
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is neither earliest, latest nor a sequence number")
    return int(text)


async def list_partitions(ports: Ports, _arguments: Namespace) -> Result:
    """Return what is known of each partition."""
    journal, reader = ports.journal(), ports.reader()
    rows: list[Row] = []
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
        caution = shard.caution
        row |= {"one_by_one": caution.events + caution.twins, "left_out_of_sweeps": caution.left_out}
        stop = await read_stop(journal, partition, tail)
        row |= {"stopped": None if stop is None else stop.reason}
        rows.append(row | {"segment": tail.segment, "totals": shard.totals})
    return listing(rows)


async def rebase_partitions(ports: Ports, arguments: Namespace) -> Result:
    """Let partitions go on elsewhere; without consent, say what that would do."""
    count = (await ports.reader().describe(0)).partition_count
    if arguments.all == (arguments.partition is not None):
        raise NotFound("name a partition, or say --all")
    if not arguments.all and not 0 <= arguments.partition < count:
        raise NotFound(f"the hub has partitions 0 to {count - 1}")
    if isinstance(arguments.start, int) and arguments.all:
        raise NotFound("a sequence number is of one partition: name it, in place of --all")
    rows: list[Row] = []
    has_failed = False
    for partition in range(count) if arguments.all else [arguments.partition]:
        try:
            rows.append(await _rebase_one(ports, arguments, partition))
        except (Rejected, PartitionStopped, Fenced) as error:
            if not arguments.all:
                raise
            # Those that go on in this hub need nothing; the others are gone through all the same.
            is_fault = not (isinstance(error, Rejected) and error.reason == "nothing_to_rebase")
            has_failed |= is_fault
            rows.append({"partition": partition, "rebase": "failed" if is_fault else "not needed", "error": str(error)})
    if not arguments.yes:
        ports.note("nothing was changed: say --yes to do it")
    ports.note(CHECKPOINTS)
    return dataclasses.replace(listing(rows), exit_code=1 if has_failed else 0 if arguments.yes else NOT_DONE)


async def _rebase_one(ports: Ports, arguments: Namespace, partition: int) -> Row:
    journal = ports.journal()
    to = await find(journal, ports.reader(), ports.clock, partition, arguments.start)
    if not arguments.yes:
        return _row(await plan(journal, partition, to), "planned")
    done = await rebase(journal, ports.clock, partition, to, ports.caller, arguments.reason, uuid.uuid4().hex)
    return _row(done, "done")


async def sweep_again(ports: Ports, arguments: Namespace) -> Result:
    """Let sweeps look at twins again that they leave out: the code is mended that they died of."""
    journal, partition = ports.journal(), arguments.partition
    restored = await restore(journal, partition)
    left_out = list(restored[0].caution.left_out)
    if not left_out:
        raise NotFound(f"sweeps of partition {partition} leave no twin out")
    owner = await Owner.claim(journal, ports.clock, restored, uuid.uuid4().hex)
    await owner.append(
        Commit(
            append_id=owner.next_append_id(), epoch=owner.epoch, watermark=owner.shard.watermark, readmitted=left_out
        )
    )
    return listing([{"twin": twin_id, "sweeps": "look at it again"} for twin_id in left_out])


def _row(move: Move, what: str) -> Row:
    before = move.before
    row: dict[str, object] = {
        "partition": move.partition,
        "rebase": "not needed" if move.is_nothing else what,
        "from_hub": None if before is None else before.hub,
        "folded": None if before is None else before.sequence_number,
        "to_hub": move.after.hub,
        "next": move.after.sequence_number + 1,
        "lost": move.lost,
        "again": move.again,
    }
    if before is not None and before.hub != move.after.hub:
        row["gone"] = f"whatever was enqueued in the old hub after event {before.sequence_number}"
    return row
