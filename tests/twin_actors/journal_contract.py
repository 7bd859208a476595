"""What every journal promises, one function a promise: call each with a fresh journal."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

import pytest

from twin_actors.errors import Fenced, PartitionStopped
from twin_actors.journals import ABSENT, Journal, Names

type Promise = Callable[[Journal], Awaitable[None]]

SEGMENT = "segments/0/00000000-00000000"


async def a_segment_is_made_once(journal: Journal) -> None:
    """The second maker is told that it exists, and what is in it stays."""
    assert await journal.create_segment(SEGMENT)
    await journal.append(SEGMENT, 0, b"record")
    assert not await journal.create_segment(SEGMENT)
    assert await journal.read_segment(SEGMENT, 0) == b"record"


async def one_of_many_makers_wins(journal: Journal) -> None:
    """However many make a segment at once, one is told that it made it."""
    made = await asyncio.gather(*(journal.create_segment(SEGMENT) for _ in range(8)))
    assert sorted(made) == [False] * 7 + [True]


async def appends_follow_each_other(journal: Journal) -> None:
    """Appends at the end are kept in order, byte for byte."""
    await journal.create_segment(SEGMENT)
    position = 0
    for data in (b"first", bytes(range(256)), b"x" * 100_000):
        await journal.append(SEGMENT, position, data)
        position += len(data)
    assert await journal.read_segment(SEGMENT, 0) == b"first" + bytes(range(256)) + b"x" * 100_000


async def an_append_anywhere_else_is_fenced(journal: Journal) -> None:
    """Before the end, beyond it, and at the start of a segment that is not empty: nothing is written."""
    await journal.create_segment(SEGMENT)
    await journal.append(SEGMENT, 0, b"0123456789")
    for position in (0, 5, 9, 11, 1000):
        with pytest.raises(Fenced):
            await journal.append(SEGMENT, position, b"stale")
    assert await journal.read_segment(SEGMENT, 0) == b"0123456789"


async def one_of_many_appends_wins(journal: Journal) -> None:
    """Of appends at one position, one stands whole and all others are fenced."""
    await journal.create_segment(SEGMENT)
    results = await asyncio.gather(
        *(journal.append(SEGMENT, 0, f"writer {number}".encode()) for number in range(8)), return_exceptions=True
    )
    assert [type(result) for result in results if result is not None] == [Fenced] * 7
    winner = results.index(None)
    assert await journal.read_segment(SEGMENT, 0) == f"writer {winner}".encode()


async def the_same_append_again_is_fenced(journal: Journal) -> None:
    """An append sent twice stands once: that is how an unanswered one may be sent again."""
    await journal.create_segment(SEGMENT)
    await journal.append(SEGMENT, 0, b"record")
    with pytest.raises(Fenced):
        await journal.append(SEGMENT, 0, b"record")
    assert await journal.read_segment(SEGMENT, 0) == b"record"


async def an_append_to_nothing_stops(journal: Journal) -> None:
    """A segment that is gone is no conflict, it is a loss."""
    with pytest.raises(PartitionStopped):
        await journal.append("segments/0/gone", 0, b"record")


async def a_segment_is_read_from_anywhere(journal: Journal) -> None:
    """From the start, the middle and the end; nothing beyond the end, and None for no segment."""
    assert await journal.read_segment(SEGMENT, 0) is None
    assert await journal.read_segment(SEGMENT, 3) is None
    await journal.create_segment(SEGMENT)
    assert await journal.read_segment(SEGMENT, 0) == b""
    await journal.append(SEGMENT, 0, b"0123456789")
    assert await journal.read_segment(SEGMENT, 4) == b"456789"
    assert await journal.read_segment(SEGMENT, 10) == b""


async def a_made_again_segment_refuses_the_old_end(journal: Journal) -> None:
    """Deleted and made again, a segment is empty, and who remembers another end is fenced."""
    await journal.create_segment(SEGMENT)
    await journal.append(SEGMENT, 0, b"record")
    await journal.delete(SEGMENT)
    assert await journal.create_segment(SEGMENT)
    with pytest.raises(Fenced):
        await journal.append(SEGMENT, 6, b"stale")
    assert await journal.read_segment(SEGMENT, 0) == b""


async def an_object_is_read_as_written(journal: Journal) -> None:
    """Bytes in, bytes out, with the tag the writer was told; None where there is none."""
    assert await journal.read("manifests/0") is None
    tag = await journal.write("manifests/0", b"\0one\xff")
    stored = await journal.read("manifests/0")
    assert stored is not None
    assert (stored.data, stored.etag) == (b"\0one\xff", tag)


async def every_write_changes_the_tag(journal: Journal) -> None:
    """Even a write of the same bytes."""
    tags = [await journal.write("manifests/0", b"same") for _ in range(3)]
    assert len(set(tags)) == 3


async def a_write_can_demand_absence(journal: Journal) -> None:
    """The second of two who both found nothing is fenced."""
    await journal.write("manifests/0", b"mine", ABSENT)
    with pytest.raises(Fenced):
        await journal.write("manifests/0", b"yours", ABSENT)
    stored = await journal.read("manifests/0")
    assert stored is not None
    assert stored.data == b"mine"


async def a_write_can_demand_a_tag(journal: Journal) -> None:
    """A stale writer must not replace what a newer one wrote; a refused write leaves the tag as it was."""
    first = await journal.write("manifests/0", b"1", ABSENT)
    second = await journal.write("manifests/0", b"2", first)
    with pytest.raises(Fenced):
        await journal.write("manifests/0", b"stale", first)
    stored = await journal.read("manifests/0")
    assert stored is not None
    assert (stored.data, stored.etag) == (b"2", second)


async def a_write_of_a_tag_fails_where_nothing_is(journal: Journal) -> None:
    """What was deleted has no tag to match."""
    tag = await journal.write("manifests/0", b"1")
    await journal.delete("manifests/0")
    with pytest.raises(Fenced):
        await journal.write("manifests/0", b"2", tag)
    assert await journal.read("manifests/0") is None


async def one_of_many_conditional_writes_wins(journal: Journal) -> None:
    """Of writes that demand one tag, one is done."""
    tag = await journal.write("manifests/0", b"start")
    results = await asyncio.gather(
        *(journal.write("manifests/0", f"writer {number}".encode(), tag) for number in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, Fenced) for result in results) == 7


async def large_objects_are_whole(journal: Journal) -> None:
    """A snapshot is larger than one piece of an upload or a download."""
    data = bytes(range(256)) * 160_000  # 41 MB: beyond the 32 MiB that a download begins with
    await journal.write("snapshots/0/large", data)
    stored = await journal.read("snapshots/0/large")
    assert stored is not None
    assert stored.data == data


async def an_append_may_be_four_mebibytes(journal: Journal) -> None:
    """The largest frame fits one append."""
    await journal.create_segment(SEGMENT)
    await journal.append(SEGMENT, 0, b"x" * 4 * 1024 * 1024)
    assert await journal.read_segment(SEGMENT, 4 * 1024 * 1024 - 1) == b"x"


async def deleting_is_final_and_may_repeat(journal: Journal) -> None:
    """Objects and segments go; what is absent is fine."""
    await journal.create_segment(SEGMENT)
    await journal.write("manifests/0", b"1")
    for _ in range(2):
        await journal.delete(SEGMENT)
        await journal.delete("manifests/0")
    assert await journal.read_segment(SEGMENT, 0) is None
    assert await journal.read("manifests/0") is None


async def names_are_listed_by_prefix(journal: Journal) -> None:
    """Sorted, of both kinds, and partition 1 is not partition 10."""
    for path in ("segments/1/b", "segments/1/a", "segments/10/a"):
        await journal.create_segment(path)
    await journal.write("snapshots/1/a", b"1")
    assert await journal.names("segments/1/") == ["segments/1/a", "segments/1/b"]
    assert await journal.names("s") == ["segments/1/a", "segments/1/b", "segments/10/a", "snapshots/1/a"]
    assert await journal.names("none") == []


async def sizes_are_listed_by_prefix(journal: Journal) -> None:
    """Of segments and of objects, as long as they are now."""
    await journal.create_segment("segments/1/a")
    await journal.create_segment("segments/10/a")
    await journal.append("segments/10/a", 0, b"12345")
    await journal.write("snapshots/1/a", b"123")
    assert await journal.sizes("segments/1/") == {"segments/1/a": 0}
    assert await journal.sizes("s") == {"segments/1/a": 0, "segments/10/a": 5, "snapshots/1/a": 3}
    assert await journal.sizes("none") == {}


async def names_are_paged(journal: Journal) -> None:
    """Each path once, in order, pages no longer than asked; the last one says that it is."""
    paths = [f"dead-letters/0/{number:020d}" for number in range(5)]
    for path in (*reversed(paths), "dead-letters-not/0"):
        await journal.write(path, b"letter")
    first = await journal.page("dead-letters/", 2)
    second = await journal.page("dead-letters/", 2, first.token)
    await journal.delete(paths[4])
    third = await journal.page("dead-letters/", 2, second.token)
    assert [first.paths, second.paths] == [paths[:2], paths[2:4]]
    assert (third.paths, third.token) == ([], "")
    assert await journal.page("dead-letters/", 4) == Names(paths[:4])
    assert await journal.page("none", 2) == Names([])


PROMISES: list[Promise] = [
    promise
    for name, promise in list(globals().items())
    if inspect.iscoroutinefunction(promise) and not name.startswith("_")
]
