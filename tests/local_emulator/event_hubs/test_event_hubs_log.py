"""The partition log: against a plain list, cut at every byte, damaged, and on one owner at a time."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_emulator.event_hubs import CorruptLogError, EventHubs, HubSpec
from local_emulator.event_hubs.message import Event, HubEvent, encode_event, take_apart
from local_emulator.event_hubs.partition_log import Cursor, PartitionLog
from local_emulator.event_hubs.segment import Entry
from local_emulator.event_hubs.state import Namespace


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        """Return the milliseconds."""
        return self.now


def event(text: str) -> Event:
    """Return a message with a text."""
    return encode_event(HubEvent(text.encode()), None)


def read_all(log: PartitionLog, cursor: Cursor, max_events: int = 7) -> list[bytes]:
    """Return the messages from a cursor to the end."""
    messages: list[bytes] = []
    while batch := log.read(cursor, max_events, 300):
        messages += [bytes(stored.message) for stored in batch]
    return messages


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("expire"), st.integers(0, 60)),
        st.tuples(st.just("wait"), st.integers(1, 50)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=operations, queries=st.lists(st.integers(0, 60), max_size=4))
def test_log_equals_a_list(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]], queries: list[int]
) -> None:
    """Whatever is appended, expired and reopened: reads, numbers and searches are those of a list."""
    folder, clock = tmp_path_factory.mktemp("log"), Clock()
    log = PartitionLog(folder, clock, segment_bytes=400)
    model: list[tuple[bytes, Entry]] = []
    begin = 0
    follower = Cursor(0)

    def messages_from(sequence: int) -> list[bytes]:
        return [message for message, _ in model[max(begin, sequence) :]]

    for operation, number in operations:
        if operation == "append":
            events = [event(f"{len(model)}.{index}") for index in range(number)]
            for each in events:
                sequence = len(model)
                offset = model[-1][1].offset + len(model[-1][0]) + 26 if model else 0
                model.append((each.stamped(sequence, offset, clock.now), Entry(sequence, offset, clock.now)))
            log.append(events)
        elif operation == "expire":
            log.expire(number)
            begin = max(begin, min(number, len(model)))
        elif operation == "wait":
            clock.now += number
            expected_messages = messages_from(follower.sequence)
            assert read_all(log, follower) == expected_messages
        else:
            log.close()
            log = PartitionLog(folder, clock, segment_bytes=400)
            follower = Cursor(follower.sequence)
    log_size = sum(path.stat().st_size for path in folder.glob("*.log"))
    assert (log.begin, log.next_sequence, log.last) == (begin, len(model), model[-1][1] if model else None)
    assert read_all(log, Cursor(0)) == messages_from(0)
    expected_messages = messages_from(follower.sequence)
    assert read_all(log, follower, max_events=1) == expected_messages
    assert log_size <= 400 + sum(len(message) + 26 for message, _ in model[begin:]) + 5 * 300
    for query in queries:
        expected = next((each.sequence for _, each in model if each.sequence >= query), len(model))
        assert log.find(lambda entry, at=query: entry.sequence < at) == max(expected, begin)
        moment = 1_000 + query * 3
        expected = next((each.sequence for _, each in model if each.enqueued >= moment), len(model))
        assert log.find(lambda entry, at=moment: entry.enqueued < at) == max(expected, begin)
    log.close()


def test_torn_last_entry_is_cut_off(tmp_path: Path) -> None:
    """Cut the file at every byte of its last entry: what is before stays, what follows continues the numbers."""
    log = PartitionLog(tmp_path / "whole", Clock())
    log.append([event("first")])
    size = log._active.size
    log.append([event("second")])
    log.close()
    whole = log._active.path.read_bytes()

    for cut in range(size, len(whole)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / log._active.path.name).write_bytes(whole[:cut])
        torn = PartitionLog(folder, Clock())
        assert torn.next_sequence == 1
        torn.append([event("second")])
        torn.close()
        assert (folder / log._active.path.name).read_bytes() == whole


def test_damage_inside_the_log_is_not_hidden(tmp_path: Path) -> None:
    """A changed byte in the middle stops the start, and says which file it is."""
    log = PartitionLog(tmp_path, Clock())
    log.append([event("first"), event("second")])
    log.close()
    path = log._active.path
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptLogError, match=str(path)):
        PartitionLog(tmp_path, Clock())


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Twenty megabytes of events, appended and read, leave less than one in memory."""
    log = PartitionLog(tmp_path, Clock())
    body = event("x" * 1000)
    tracemalloc.start()
    for _ in range(200):
        log.append([body] * 100)
    cursor, count = Cursor(0), 0
    while batch := log.read(cursor, 300, 65536):
        count += len(batch)
    del batch
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log.close()
    assert count == 20_000
    assert held < 1_000_000


def test_time_retention(tmp_path: Path) -> None:
    """Events older than the retention time go, and their files with them; numbers go on."""
    clock = Clock()
    namespace = Namespace(tmp_path, [HubSpec("h", 1, retention_hours=1.0)], clock)
    log = namespace.hub("H").partitions[0].log
    log.append([event("old")])
    clock.now += 3_000_000
    log.append([event("young")])
    clock.now += 700_000
    namespace.expire_by_time()
    assert (log.begin, log.next_sequence, log.is_empty) == (1, 2, False)
    clock.now += 3_600_000
    namespace.expire_by_time()
    assert log.is_empty
    log.append([event("new")])
    assert [path.name[:20] for path in log._folder.glob("*.log")] == ["2".zfill(20)]
    namespace.close()


def test_clock_that_goes_back_does_not_disorder_events(tmp_path: Path) -> None:
    """Enqueued times never decrease, whatever the machine's clock does."""
    clock = Clock()
    log = PartitionLog(tmp_path, clock)
    log.append([event("a")])
    clock.now -= 500
    log.append([event("b")])
    assert log.last == Entry(1, log.last.offset if log.last else 0, 1_000)
    log.close()


def test_hub_identity(tmp_path: Path) -> None:
    """The creation time is kept over restarts, and new for a hub made anew; partitions are fixed."""
    clock = Clock()
    namespace = Namespace(tmp_path, [HubSpec("h", 2)], clock)
    created_at = namespace.hub("h").created_at
    namespace.close()

    clock.now += 10_000
    namespace = Namespace(tmp_path, [HubSpec("h", 2)], clock)
    assert namespace.hub("h").created_at == created_at
    namespace.delete("h")
    namespace.create(HubSpec("h", 2))
    assert namespace.hub("h").created_at > created_at
    namespace.close()

    with pytest.raises(ValueError, match="has 2 partitions and the number is fixed"):
        Namespace(tmp_path, [HubSpec("h", 3)], clock)


@pytest.mark.parametrize(("name", "count"), [("a/b", 1), ("..", 1), ("", 1), ("h", 0), ("h", 33)])
def test_hub_specification_is_checked(name: str, count: int) -> None:
    """Names that could leave the folder, and partition counts that Azure refuses, are errors."""
    with pytest.raises(ValueError, match=r"cannot name|must be 1 to 32"):
        HubSpec(name, count)


async def test_one_process_serves_a_folder(tmp_path: Path) -> None:
    """A second service on the same folder is refused while the first one runs."""
    async with EventHubs(tmp_path, hubs=[HubSpec("h", 1)]):
        with pytest.raises(RuntimeError, match="another process serves"):
            async with EventHubs(tmp_path, hubs=[HubSpec("h", 1)]):
                pytest.fail("two services on one folder")
    async with EventHubs(tmp_path, hubs=[HubSpec("h", 1)]):
        pass


def test_messages_without_body_or_sense_are_refused() -> None:
    """What readers could not decode does not get into the log."""
    for data in (b"", b"\x00\x53\x70\xc0\x02\x01\x41", b"\x01\x02\x03", b"\x00\x53\x75\xa0\x09xy"):
        with pytest.raises((ValueError, IndexError)):
            take_apart(data)
