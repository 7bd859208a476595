"""Whatever a released version wrote is read by this one, and says the same."""

import json
from pathlib import Path

import msgspec
import pytest

from tests.twin_actors.golden_journal import GOLDEN, shown
from twin_actors.commit import MAGIC, READABLE
from twin_actors.errors import PartitionStopped
from twin_actors.journals.memory import MemoryJournal
from twin_actors.shard import Shard
from twin_actors.snapshot import SNAPSHOT_FORMAT, Snapshot, Tail, follow, manifest_path, restore, segment_path

VERSIONS = sorted(folder.name for folder in GOLDEN.iterdir())
PARTITIONS = (0, 1)


async def stored(version: str) -> MemoryJournal:
    """Return the journal as that version left it."""
    journal = MemoryJournal()
    for file in [file for file in sorted((GOLDEN / version).rglob("*")) if file.is_file()]:
        path = file.relative_to(GOLDEN / version).as_posix()
        if path.startswith("segments/"):
            await journal.create_segment(path)
            await journal.append(path, 0, file.read_bytes())
        elif "/" in path:
            await journal.write(path, file.read_bytes())
    return journal


def expected(version: str, partition: int) -> object:
    """Return what the version itself said of a shard."""
    return json.loads(Path(GOLDEN, version, f"shard-{partition}.json").read_bytes())


def test_there_is_a_journal_of_every_format() -> None:
    """A format is released with its golden journal."""
    readable = sorted(READABLE)
    assert readable[-1] == MAGIC
    assert [f"v{magic[3:].decode()}" for magic in readable][: len(VERSIONS)] == VERSIONS
    assert len(readable) - len(VERSIONS) <= 1, "the newest format may lack one until it is released"


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_restores_what_was_written(version: str, partition: int) -> None:
    """From the newest snapshot, and from the first record."""
    journal = await stored(version)
    shard, _, _ = await restore(journal, partition)
    assert shown(shard) == expected(version, partition)
    whole = Shard(partition=partition)
    await follow(journal, whole, Tail(segment=segment_path(partition, 0, 0)))
    assert shown(whole) == expected(version, partition)


async def test_refuses_a_newer_snapshot() -> None:
    """Rather than overlooking what it does not know."""
    journal = MemoryJournal()
    newer = Snapshot(SNAPSHOT_FORMAT + 1, Shard(partition=0), Tail(segment=segment_path(0, 0, 0)))
    await journal.write("snapshots/0/newer", msgspec.msgpack.encode(newer))
    await journal.write(manifest_path(0), b"snapshots/0/newer")
    with pytest.raises(PartitionStopped, match="deploy the version of the app that wrote it"):
        await restore(journal, 0)
