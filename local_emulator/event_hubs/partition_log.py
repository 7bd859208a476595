"""The durable log of one partition: segments on disk, a marker of where it begins, nothing in memory.

An append returns when the operating system has the bytes, so a killed process loses nothing that was
acknowledged. Reads go to the files; what was written lately is in the system's page cache. File access
blocks the event loop for microseconds, which is what an emulator on one machine needs.
"""

import contextlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from local_emulator.event_hubs.message import Event
from local_emulator.event_hubs.segment import HEAD, Entry, IsBefore, Segment, encode_entry

SEGMENT_BYTES = 8 * 1024 * 1024
_BEGIN_FILE = "begin"


class Stored(NamedTuple):
    """An event as it is delivered; the header section is told apart so that annotations can follow it."""

    header_size: int
    message: memoryview


class Cursor:
    """Where a reader is: the next sequence number, and its place in the files once known."""

    __slots__ = ("position", "segment", "sequence")

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.segment: Segment | None = None
        self.position = 0


class PartitionLog:
    """Append, read, find and expire events; `on_append` callbacks wake the readers."""

    def __init__(self, folder: Path, now: Callable[[], int], segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._now = now
        self._segment_bytes = segment_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._segments = [Segment(path) for path in sorted(folder.glob("*.log"))]
        if not self._segments:
            self._segments = [Segment.create(folder, 0, 0)]
        self.last: Entry | None = self._active.recover()
        if self.last is None and len(self._segments) > 1:
            self.last = self._segments[-2].last()
        self.next_sequence = self.last.sequence + 1 if self.last else self._active.first_sequence
        self.begin = max(self._read_begin(), self._segments[0].first_sequence)
        self._active.open()
        self.on_append: set[Callable[[], None]] = set()

    @property
    def _active(self) -> Segment:
        return self._segments[-1]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read (any more)."""
        return self.begin >= self.next_sequence

    def close(self) -> None:
        """Give the file back."""
        self._active.close()

    def append(self, events: Sequence[Event]) -> None:
        """Stamp the events and write them with one system call; then wake the readers."""
        active = self._active
        if active.size and (active.size >= self._segment_bytes or self.is_empty):
            active = self._roll()
        enqueued = max(self._now(), self.last.enqueued if self.last else 0)
        position, sequence = active.first_offset + active.size, self.next_sequence
        chunks: list[bytes] = []
        entries: list[Entry] = []
        for event in events:
            data = encode_entry(sequence, enqueued, len(event.header), event.stamped(sequence, position, enqueued))
            chunks.append(data)
            entries.append(Entry(sequence, position, enqueued))
            position += len(data)
            sequence += 1
        active.append(b"".join(chunks), entries)
        self.last = entries[-1]
        self.next_sequence = sequence
        self._drop_expired_segments()
        for wake in self.on_append:
            wake()

    def read(self, cursor: Cursor, max_events: int, max_bytes: int) -> list[Stored]:
        """Return the next events and move the cursor behind them; events that are gone are jumped over."""
        if cursor.sequence < self.begin:
            cursor.sequence, cursor.segment = self.begin, None
        if cursor.sequence >= self.next_sequence:
            return []
        segment = cursor.segment
        if segment is None or cursor.position >= segment.size:  # the next file, which may not be the neighbour
            segment = self._locate(cursor)
        chunk = segment.read(cursor.position, max_bytes)
        length = HEAD.size + int(HEAD.unpack_from(chunk)[0])
        if length > len(chunk):
            chunk = segment.read(cursor.position, length)
        return _take(chunk, cursor, max_events)

    def find(self, is_before: IsBefore) -> int:
        """Return the sequence number of the first event that is not before a point; the next one if all are."""
        found = bisect_left(self._segments, 1, key=lambda each: not _all_before(each, is_before))
        entry = self._segments[max(found - 1, 0)].find(is_before)
        if entry is None and found < len(self._segments):
            entry = self._segments[found].first()
        return max(entry.sequence if entry else self.next_sequence, self.begin)

    def expire(self, before_sequence: int) -> None:
        """Drop the events below a sequence number, for good."""
        begin = min(before_sequence, self.next_sequence)
        if begin <= self.begin:
            return
        self.begin = begin
        draft = self._folder / f"{_BEGIN_FILE}.new"
        draft.write_text(str(begin))
        draft.replace(self._folder / _BEGIN_FILE)
        self._drop_expired_segments()

    def _read_begin(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return int((self._folder / _BEGIN_FILE).read_text())
        return 0

    def _drop_expired_segments(self) -> None:
        """Delete finished segments that are wholly below the begin; the last one stays: it knows the numbers."""
        while len(self._segments) > 1 and self._segments[1].first_sequence <= self.begin and self._active.size:
            self._segments.pop(0).path.unlink()

    def _roll(self) -> Segment:
        finished = self._active
        segment = Segment.create(self._folder, self.next_sequence, finished.first_offset + finished.size)
        finished.close()
        segment.open()
        self._segments.append(segment)
        return segment

    def _locate(self, cursor: Cursor) -> Segment:
        """Find the place of the cursor's sequence number in the files."""
        firsts = [segment.first_sequence for segment in self._segments]
        at = bisect_left(firsts, cursor.sequence + 1) - 1
        segment = self._segments[at]
        cursor.segment, cursor.position = segment, 0
        if cursor.sequence > segment.first_sequence:
            entry = segment.find(lambda each: each.sequence < cursor.sequence)
            assert entry is not None, f"{segment.path} lacks sequence number {cursor.sequence}"
            cursor.position = entry.offset - segment.first_offset
        return segment


def _all_before(segment: Segment, is_before: IsBefore) -> bool:
    first = segment.first()
    return first is not None and is_before(first)


def _take(chunk: bytes, cursor: Cursor, max_events: int) -> list[Stored]:
    """Cut whole entries out of a chunk and move the cursor behind them."""
    view = memoryview(chunk)
    stored: list[Stored] = []
    position, end = 0, len(chunk)
    unpack, head_size = HEAD.unpack_from, HEAD.size
    while len(stored) < max_events and position + head_size <= end:
        length, _, _, _, header_size = unpack(chunk, position)
        after = position + head_size + length
        if after > end:
            break
        stored.append(Stored(header_size, view[position + head_size : after]))
        position = after
    cursor.position += position
    cursor.sequence += len(stored)
    return stored
