"""Whether a JSON value fits a schema."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

from .model import Array, Enum, Object, Primitive, Schema

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OFFSET = r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_TIME = re.compile(rf"{_CLOCK}{_OFFSET}")
_DATE_TIME = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}{_OFFSET}")
_DURATION = re.compile(
    r"P(?!$)(?:(?:(?:\d+Y|\d+\.\d+Y$)?(?:\d+M|\d+\.\d+M$)?)|(?:(?:\d+W|\d+\.\d+W$)?))"
    r"(?:\d+D|\d+\.\d+D$)?(?:T(?!$)(?:\d+H|\d+\.\d+H$)?(?:\d+M|\d+\.\d+M$)?(?:\d+(?:\.\d+)?S)?)?"
)

_LARGEST = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where a value departs from its schema.

    Attributes
    ----------
    path
        Names and indices from the value down to the offending part.
    expected
        The schema wanted there, or the empty string when that part is not declared at all.
    """

    path: tuple[str, ...]
    expected: str

    @property
    def is_undeclared(self) -> bool:
        """Whether the part is one that the schema does not have."""
        return not self.expected


def _is_integer(value: object, bits: int) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if isinstance(value, float) and not value.is_integer():
        return False
    return -(1 << (bits - 1)) <= value < (1 << (bits - 1))


def _is_number(value: object) -> bool:
    # Compared, not converted: an integer beyond the range of floats is no float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _reads(form: re.Pattern[str], read: Callable[[str], object], value: object) -> bool:
    if not isinstance(value, str) or not form.fullmatch(value):
        return False
    try:
        read(value)
    except ValueError:
        return False
    return True


_FITS: Mapping[str, Callable[[object], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_integer(value, 32),
    "long": lambda value: _is_integer(value, 64),
    "float": _is_number,
    "double": _is_number,
    "date": lambda value: _reads(_DATE, date.fromisoformat, value),
    "time": lambda value: _reads(_TIME, time.fromisoformat, value),
    "dateTime": lambda value: _reads(_DATE_TIME, datetime.fromisoformat, value),
    "duration": lambda value: isinstance(value, str) and _DURATION.fullmatch(value) is not None,
}


def validate_value(schema: Schema, value: object) -> Mismatch | None:
    """Compare a JSON value with a schema.

    Returns
    -------
    Mismatch or None
        The first departure found, None when the value fits.
    """
    return _mismatch(schema, value, ())


def _mismatch(schema: Schema, value: object, path: tuple[str, ...]) -> Mismatch | None:
    match schema:
        case Primitive(name):
            return None if _FITS[name](value) else Mismatch(path, name)
        case Enum(values=values):
            return None if _is_choice(value, [choice.value for choice in values]) else Mismatch(path, "enum")
        case Object(fields):
            return _object_mismatch({part.name: part.schema for part in fields}, value, path)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    kind, form, part = ("array", list, schema.element) if isinstance(schema, Array) else ("map", dict, schema.value)
    if not isinstance(value, form):
        return Mismatch(path, kind)
    return _first((part, item, (*path, str(key))) for key, item in items)


def _is_choice(value: object, choices: Sequence[object]) -> bool:
    """Whether the value is one of them, True being no 1."""
    return any(type(choice) is type(value) and choice == value for choice in choices)


def _object_mismatch(parts: Mapping[str, Schema], value: object, path: tuple[str, ...]) -> Mismatch | None:
    if not isinstance(value, dict):
        return Mismatch(path, "object")
    for name in value:
        if name not in parts:
            return Mismatch((*path, name), "")
    return _first((parts[name], item, (*path, name)) for name, item in value.items())


def _first(comparisons: Iterator[tuple[Schema, object, tuple[str, ...]]]) -> Mismatch | None:
    for schema, value, path in comparisons:
        found = _mismatch(schema, value, path)
        if found:
            return found
    return None
