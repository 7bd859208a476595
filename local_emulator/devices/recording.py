"""Recordings: CSV files, plain or gzipped, with a header and any of the usual separators."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from local_emulator.devices.errors import RecordingError
from local_emulator.devices.mapping import Mapping, Value, translate

SEPARATORS = ",;\t|"
GZIP_MAGIC = b"\x1f\x8b"

type Row = tuple[float, dict[str, Value]]


class Recording:
    """Reads a recording row by row; what cannot be sent is counted by its reason.

    Attributes
    ----------
    skipped : Counter
        Reason → rows that were not given out.
    flawed : Counter
        Reason → cells of rows that were: text in place of a number is given as it is, an empty cell
        leaves its channel out.
    """

    def __init__(self, path: Path, mapping: Mapping) -> None:
        self.skipped: Counter[str] = Counter()
        self.flawed: Counter[str] = Counter()
        self._path = path
        self._mapping = mapping
        self._translation = translate(mapping)

    def __iter__(self) -> Iterator[Row]:
        """Give out time (seconds since 1970) and channels of each row that has both.

        Raises
        ------
        RecordingError
            The file cannot be read, or ends where it should not, or lacks a column of the mapping.
        """
        try:
            with _open(self._path) as file:
                yield from self._rows(file)
        except (OSError, EOFError, zlib.error) as error:
            raise RecordingError(f"{self._path} cannot be read: {error}") from error

    def _rows(self, file: TextIO) -> Iterator[Row]:
        header = file.readline()
        separator = self._separator(header)
        names = next(csv.reader([header], delimiter=separator))
        reader = csv.reader(file, delimiter=separator)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self.skipped[f"no CSV: {error}"] += 1
                continue
            row = self._row(names, cells)
            if isinstance(row, str):
                self.skipped[row] += 1
            else:
                yield row

    def _separator(self, header: str) -> str:
        """Tell the separator by the columns that must come out; commonness can be fooled, these cannot."""
        wanted = self._mapping.columns
        found = {one: frozenset(next(csv.reader([header], delimiter=one), ())) for one in SEPARATORS}
        best = max(SEPARATORS, key=lambda one: (len(wanted & found[one]), len(found[one])))
        missing = wanted - found[best]
        if missing:
            raise RecordingError(
                f"{self._path} has no column {', '.join(sorted(missing))}; it has {', '.join(sorted(found[best]))}"
            )
        return best

    def _row(self, names: list[str], cells: list[str]) -> Row | str:
        """Return time and channels, or why there are none."""
        if not cells:
            return "blank line"
        if len(cells) != len(names):
            return "number of cells is not that of the header"
        row = dict(zip(names, cells, strict=True))
        try:
            time = self._translation.read_time(row[self._mapping.time.column])
        except (ValueError, OverflowError, OSError):
            return "unreadable time"
        channels: dict[str, Value] = {}
        for name, (column, read) in self._translation.read_channel.items():
            text = row[column]
            if not text.strip():
                self.flawed[f"{column} is empty"] += 1
                continue
            channels[name] = read(text)
            if isinstance(channels[name], str):
                self.flawed[f"{column} is no number, sent as it is"] += 1
        return (time, channels) if channels else "no channel has a value"


def _open(path: Path) -> TextIO:
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    opened = (gzip.open if is_gzip else open)(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return cast("TextIO", opened)
