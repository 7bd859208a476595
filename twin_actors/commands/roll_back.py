"""``twin roll-back``: write the states of a type as an earlier version of the app can read them."""

from argparse import ArgumentParser, Namespace
from typing import Any

from twin_actors.commands.errors import NotFound
from twin_actors.commands.output import Result, add_output, listing
from twin_actors.commands.ports import Ports
from twin_actors.commands.verbs import NOT_DONE, AddVerb, add_consent
from twin_actors.commit import Commit, Twin, in_parts
from twin_actors.errors import Fenced, Rejected
from twin_actors.journals import read_partition_count
from twin_actors.layout import rolled_back
from twin_actors.ownership import Owner
from twin_actors.shard import Shard
from twin_actors.snapshot import restore
from twin_actors.twin import TwinType


def add(verb: AddVerb) -> ArgumentParser:
    """Add the verb to its noun."""
    command = verb("roll-back", "write all twins of a type as an earlier version of the app can read them", roll_back)
    command.add_argument("type", help="the twin type")
    command.add_argument("--to", type=int, required=True, metavar="LAYOUT", help="the state_version of that app")
    add_consent(command)
    add_output(command)
    return command


async def roll_back(ports: Ports, arguments: Namespace) -> Result:
    """Roll all twins of a type back, or none where one of them cannot be.

    Stop the function app before: a worker that runs brings twins forward again as it hears of them.
    """
    twin_type = ports.registry.by_name.get(arguments.type)
    if twin_type is None:
        raise NotFound(f"there is no twin type {arguments.type}; there are: {', '.join(ports.registry.by_name)}")
    if not 1 <= arguments.to < twin_type.state_version:
        earlier = f"1 to {twin_type.state_version - 1}" if twin_type.state_version > 1 else "none"
        raise Rejected("bad_request", f"{twin_type.name} has no earlier layout {arguments.to}; there are: {earlier}")
    found: dict[int, int] = {}
    for partition in range(await read_partition_count(ports.journal()) or 0):
        shard, _, _ = await restore(ports.journal(), partition)
        found[partition] = len(_due(shard, twin_type, arguments.to))
    rows = [{"partition": partition, "twins": count} for partition, count in found.items()]
    if not arguments.yes:
        ports.note("nothing was changed: stop the function app, then run this again with --yes")
        return Result(rows, rows, NOT_DONE)
    epochs = {
        partition: await _roll_back(ports, partition, twin_type, arguments.to)
        for partition, count in found.items()
        if count
    }
    for partition, epoch in epochs.items():
        shard, _, _ = await restore(ports.journal(), partition)
        if shard.epoch != epoch:
            raise _running(partition)
    return listing(rows)


def _due(shard: Shard, twin_type: TwinType[Any], layout: int) -> list[Twin]:
    """Return the twins that must be written, as they will be."""
    mine = (twin for twin in shard.twins.values() if twin.type_name == twin_type.name)
    return [after for twin in mine if (after := rolled_back(twin, twin_type, layout)) is not twin]


async def _roll_back(ports: Ports, partition: int, twin_type: TwinType[Any], layout: int) -> int:
    """Write one partition's twins as its owner, and return the epoch."""
    try:
        restored = await restore(ports.journal(), partition)
        owner = await Owner.claim(ports.journal(), ports.clock, restored, f"roll-back-{ports.clock.now():.6f}")
        for twins in in_parts(_due(owner.shard, twin_type, layout)):
            await owner.append(
                Commit(
                    append_id=owner.next_append_id(),
                    epoch=owner.epoch,
                    watermark=owner.shard.watermark,
                    twins=twins,
                    counts={"rolled_back": len(twins)},
                )
            )
    except Fenced:
        raise _running(partition) from None
    return owner.epoch


def _running(partition: int) -> Rejected:
    return Rejected(
        "app_runs",
        f"partition {partition} was taken by a worker, which may have brought twins forward again: stop the function "
        "app, then run this again",
    )
