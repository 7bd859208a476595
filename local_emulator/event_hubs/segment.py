"""One file of a partition's log: entries appended one behind the other.

An entry is a fixed head (length, checksum, sequence number, enqueued time, length of the message's header
section) and the message as it is delivered. An event's offset is its byte position in the whole log, so a
segment's name (first sequence number, first offset) and a position in the file say all about an entry.
"""

import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HEAD = struct.Struct(">IIQqH")  # message length, checksum, sequence number, enqueued time, header section length
_CHECKED = struct.Struct(">QqH")
_INDEX_BYTES = 64 * 1024  # one index entry per so many bytes
_SCAN_BYTES = 1024 * 1024


class CorruptLogError(Exception):
    """An entry inside a log is damaged: not the torn end that a kill leaves."""


class Entry(NamedTuple):
    """Where an event is and when it came, without its message."""

    sequence: int
    offset: int
    enqueued: int


type IsBefore = Callable[[Entry], bool]


def encode_entry(sequence: int, enqueued: int, header_size: int, message: bytes) -> bytes:
    """Return the bytes of one entry."""
    checksum = zlib.crc32(message, zlib.crc32(_CHECKED.pack(sequence, enqueued, header_size)))
    return HEAD.pack(len(message), checksum, sequence, enqueued, header_size) + message


class Segment:
    """A log file; open only while it is the last of its partition, which is when it is written."""

    def __init__(self, path: Path) -> None:
        first_sequence, first_offset = path.stem.split("-")
        self.path = path
        self.first_sequence = int(first_sequence)
        self.first_offset = int(first_offset)
        self.size = path.stat().st_size
        self._index: list[Entry] | None = None
        self._file: int | None = None

    @classmethod
    def create(cls, folder: Path, first_sequence: int, first_offset: int) -> "Segment":
        """Make the empty file for entries from here on."""
        path = folder / f"{first_sequence:020d}-{first_offset:020d}.log"
        path.touch(exist_ok=False)
        segment = cls(path)
        segment._index = []
        return segment

    def open(self) -> None:
        """Make ready for appending, and for reading what was appended a moment ago."""
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND)

    def close(self) -> None:
        """Give the file back; nothing needs flushing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def read(self, position: int, size: int) -> bytes:
        """Return bytes of the file; the operating system's page cache is the cache."""
        size = min(size, self.size - position)
        if self._file is not None:
            return os.pread(self._file, size, position)
        file = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(file, size, position)
        finally:
            os.close(file)

    def first(self) -> Entry | None:
        """Return the first entry, if there is one."""
        index = self._index
        if index is None:
            head = self.read(0, HEAD.size)
            return self._entry(head, 0, 0) if len(head) == HEAD.size else None
        return index[0] if index else None

    def append(self, data: bytes, entries: list[Entry]) -> None:
        """Hand the bytes of new entries to the system: all of them, or none and an error."""
        assert self._file is not None
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:] if written else data)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        for entry in entries:
            self._note(self.index(), entry)
        self.size += len(data)

    def recover(self) -> Entry | None:
        """Check every entry, cut off a torn last one, and return the last good one."""
        index: list[Entry] = []
        last: Entry | None = None
        end = 0
        data = self.read(0, self.size)
        while end < len(data):
            if len(data) - end < HEAD.size:
                break
            length, checksum, sequence, enqueued, header_size = HEAD.unpack_from(data, end)
            after = end + HEAD.size + length
            if after > len(data):
                break
            body = memoryview(data)[end + HEAD.size : after]
            expected = self.first_sequence if last is None else last.sequence + 1
            good = zlib.crc32(body, zlib.crc32(_CHECKED.pack(sequence, enqueued, header_size))) == checksum
            if not good or sequence != expected:
                raise CorruptLogError(
                    f"{self.path}: the entry at byte {end} is damaged, and entries follow it. Restore the file, or "
                    "delete the hub's folder to start it anew."
                )
            last = self._entry(data, end, end)
            self._note(index, last)
            end = after
        if end < self.size:
            os.truncate(self.path, end)
            self.size = end
        self._index = index
        return last

    def last(self) -> Entry | None:
        """Return the last entry of a finished segment."""
        last: Entry | None = None
        for entry in self._scan(self._position(-1)):
            last = entry
        return last

    def index(self) -> list[Entry]:
        """Return the sparse index; built on first use for segments of an earlier run."""
        if self._index is None:
            index: list[Entry] = []
            for entry in self._scan(0):
                self._note(index, entry)
            self._index = index
        return self._index

    def find(self, is_before: IsBefore) -> Entry | None:
        """Return the first entry that is not before a point, or None when all are."""
        index = self.index()
        nearest = max(bisect_left(index, 1, key=lambda entry: not is_before(entry)) - 1, 0)
        return next((entry for entry in self._scan(self._position(nearest)) if not is_before(entry)), None)

    def _position(self, at: int) -> int:
        """Where in the file an indexed entry is."""
        index = self.index()
        return index[at].offset - self.first_offset if index else 0

    def _note(self, index: list[Entry], entry: Entry) -> None:
        if not index or entry.offset - index[-1].offset >= _INDEX_BYTES:
            index.append(entry)

    def _entry(self, data: bytes, at: int, position: int) -> Entry:
        _, _, sequence, enqueued, _ = HEAD.unpack_from(data, at)
        return Entry(sequence, self.first_offset + position, enqueued)

    def _scan(self, position: int) -> Iterator[Entry]:
        """Yield the entries from a position on, reading their heads only."""
        data, base = b"", position
        while position < self.size:
            if position + HEAD.size > base + len(data):
                data, base = self.read(position, _SCAN_BYTES), position
            yield self._entry(data, position - base, position)
            position += HEAD.size + int(HEAD.unpack_from(data, position - base)[0])
