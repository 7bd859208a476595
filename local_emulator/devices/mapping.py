"""How the columns of a recording become the channels of a device: a small TOML file.

.. code:: toml

    model = "dtmi:twinfold:Pump;1"   # announced when the device connects

    [time]
    column = "datetime"
    format = "%Y-%m-%d %H:%M:%S"     # of datetime.strptime; or "iso8601", "unix", "unix_ms"
    zone = "Europe/Berlin"           # of times that carry none; UTC if absent

    [channels.dischargePressure]
    column = "Pressure"
    unit = "bar"                     # what the column holds
    to = "kPa"                       # what the channel wants; as it is if both are absent
    offset = 101.325                 # added in the end: this gauge shows 0 in the open
"""

import math
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from local_emulator.devices.errors import MappingError
from local_emulator.devices.units import Conversion, conversion

type Value = float | str


class TimeColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a row's time stands, and how it is written."""

    column: str
    format: str = "iso8601"
    zone: str = "UTC"


class ChannelColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a channel's number stands, and how it changes on its way."""

    column: str
    unit: str | None = None
    to: str | None = None
    factor: float = 1.0
    offset: float = 0.0
    decimal: str = "."


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a mapping file."""

    time: TimeColumn
    channels: dict[str, ChannelColumn]
    model: str = ""

    @property
    def columns(self) -> frozenset[str]:
        """The columns that a recording must have."""
        return frozenset((self.time.column, *(channel.column for channel in self.channels.values())))


class Translation(NamedTuple):
    """A mapping made ready: reads times as seconds since 1970, and cells as what is sent."""

    read_time: Callable[[str], float]
    read_channel: dict[str, tuple[str, Callable[[str], Value]]]


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises
    ------
    MappingError
        It cannot be read, is no TOML, or says something that a mapping does not have.
    """
    try:
        with path.open("rb") as file:
            mapping = msgspec.convert(tomllib.load(file), Mapping)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise MappingError(f"{path} is no mapping: {error}") from error
    if not mapping.channels or "time" in mapping.channels:
        raise MappingError(f"{path} must name at least one channel, and none of them 'time'")
    return mapping


def translate(mapping: Mapping) -> Translation:
    """Make a mapping ready to read rows.

    Raises
    ------
    MappingError
        A unit or a time zone is not known, or units do not fit.
    """
    return Translation(
        _time_reader(mapping.time),
        {name: (channel.column, _channel_reader(name, channel)) for name, channel in mapping.channels.items()},
    )


def _time_reader(column: TimeColumn) -> Callable[[str], float]:
    match column.format:
        case "unix":
            return _finite
        case "unix_ms":
            return lambda text: _finite(text) / 1000.0
        case "iso8601":
            parse = datetime.fromisoformat
        case pattern:

            def parse(text: str) -> datetime:
                return datetime.strptime(text, pattern)  # noqa: DTZ007  the zone is added below

    try:
        zone = UTC if column.zone == "UTC" else ZoneInfo(column.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise MappingError(f"time zone {column.zone!r} is not known: {error}") from error

    def read(text: str) -> float:
        moment = parse(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()

    return read


def _finite(text: str) -> float:
    number = float(text)
    if not abs(number) < 1e14:
        raise ValueError(f"{text} is no time")
    return number


def _channel_reader(name: str, channel: ChannelColumn) -> Callable[[str], Value]:
    if (channel.unit is None) != (channel.to is None):
        raise MappingError(f"channel {name}: give both unit and to, or neither")
    units = Conversion() if channel.unit is None or channel.to is None else conversion(channel.unit, channel.to)
    factor, offset = units.factor * channel.factor, units.offset * channel.factor + channel.offset

    def read(text: str) -> Value:
        """Return the number, or the text where it is none: whoever receives it judges its quality."""
        try:
            number = float(text.replace(channel.decimal, ".")) * factor + offset
        except ValueError:
            return text
        return number if math.isfinite(number) else text

    return read
