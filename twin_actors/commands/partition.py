"""``partition``: the partitions of the mailbox."""

from argparse import Namespace

from twin_actors.commands.output import Result, Row, add_output, listing
from twin_actors.commands.ports import Ports
from twin_actors.commands.verbs import Nouns, add_noun
from twin_actors.errors import PartitionStopped
from twin_actors.snapshot import restore


def add(nouns: Nouns) -> None:
    """Add the noun to the command line."""
    verb = add_noun(nouns, "partition", "the partitions of the mailbox")
    add_output(verb("list", "list watermark, lag, epoch and counts of each partition", list_partitions))


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
        rows.append(row | {"segment": tail.segment, "totals": shard.totals})
    return listing(rows)
