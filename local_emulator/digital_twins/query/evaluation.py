"""Conditions and projections, applied to rows.

Logic has three values, as in the database under the service: a test of something absent, or a comparison of
unlike things, is neither true nor false, and so is its opposite; only rows for which the condition is true count.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from twin_actors.dtdl import Dtmi, Interface

from .syntax import Comparison, Condition, Function, IsOfModel, Junction, Membership, Not, Path, Query, Value

type Row = Mapping[str, Any]
type Truth = bool | None


class _Absent:
    """The value of what is not there."""


ABSENT: Final = _Absent()

_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_TEXT_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "STARTSWITH": str.startswith,
    "ENDSWITH": str.endswith,
    "CONTAINS": operator.contains,
}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_KIND_TESTS: Mapping[str, Callable[[object], bool]] = {
    "IS_DEFINED": lambda value: value is not ABSENT,
    "IS_NULL": lambda value: value is None,
    "IS_BOOL": lambda value: isinstance(value, bool),
    "IS_NUMBER": _is_number,
    "IS_STRING": lambda value: isinstance(value, str),
    "IS_OBJECT": lambda value: isinstance(value, dict),
    "IS_PRIMITIVE": lambda value: value is None or isinstance(value, (str, bool, int, float)),
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a query's rows are judged by.

    Attributes
    ----------
    query
        The query.
    interfaces
        The interface of each model, for ``IS_OF_MODEL``.
    """

    query: Query
    interfaces: Mapping[Dtmi, Interface]

    def wants(self, row: Row) -> bool:
        """Whether the row is part of the result."""
        condition = self.query.condition
        return condition is None or self._truth(condition, row) is True

    def project(self, row: Row) -> Row:
        """Give the row's columns."""
        if not self.query.projections:
            return row
        columns = {item.label: self._value(item.path, row) for item in self.query.projections}
        return {label: value for label, value in columns.items() if value is not ABSENT}

    def _value(self, operand: Path | Value, row: Row) -> Any:  # noqa: ANN401 -- a JSON value of any form
        if isinstance(operand, Value):
            return operand.value
        steps = operand.steps
        if steps[0] == self.query.alias:
            steps = steps[1:]
        value: Any = row
        for step in steps:
            if not isinstance(value, dict) or step not in value:
                return ABSENT
            value = value[step]
        return value

    def _truth(self, condition: Condition, row: Row) -> Truth:  # noqa: PLR0911 -- one for each kind of condition
        match condition:
            case Comparison(left, sign, right):
                return compare(self._value(left, row), sign, self._value(right, row))
            case Membership(operand, is_negated, values):
                value = self._value(operand, row)
                found = any(compare(value, "=", item) is True for item in values)
                return None if value is ABSENT else found is not is_negated
            case Function():
                return _call(condition, self._value(condition.path, row))
            case IsOfModel(model, is_exact):
                return self._is_of_model(row, model, is_exact=is_exact)
            case Not(inner):
                truth = self._truth(inner, row)
                return None if truth is None else not truth
            case Junction(kind, conditions):
                return _join(kind == "or", (self._truth(item, row) for item in conditions))
            case Path():
                value = self._value(condition, row)
                return value if isinstance(value, bool) else None

    def _is_of_model(self, row: Row, model: str, *, is_exact: bool) -> Truth:
        metadata = row.get("$metadata")
        own = metadata.get("$model") if isinstance(metadata, dict) else None
        if not isinstance(own, str):
            return None
        interface = self.interfaces.get(Dtmi(own))
        return own == model or (not is_exact and interface is not None and interface.is_a(model))


def compare(left: object, sign: str, right: object) -> Truth:
    """Compare two values of like kind; unlike ones do not compare."""
    if left is ABSENT or right is ABSENT:
        return None
    for kind in (bool, str, dict, list, type(None)):
        if isinstance(left, kind) or isinstance(right, kind):
            if not (isinstance(left, kind) and isinstance(right, kind)):
                return None
            if kind not in (str, bool) and sign not in ("=", "!="):
                return None
            break
    return _SIGNS[sign](left, right)


def _call(function: Function, value: object) -> Truth:
    test = _KIND_TESTS.get(function.name)
    if test is not None:
        return test(value)
    if function.name == "ARRAY_CONTAINS":
        if not isinstance(value, list):
            return None
        return any(compare(item, "=", function.argument) is True for item in value)
    if not isinstance(value, str) or not isinstance(function.argument, str):
        return None
    return _TEXT_TESTS[function.name](value, function.argument)


def _join(wanted: bool, truths: Iterator[Truth]) -> Truth:
    """Join truths: the first that settles it, else unknown if any is unknown."""
    is_unknown = False
    for truth in truths:
        if truth is wanted:
            return wanted
        is_unknown = is_unknown or truth is None
    return None if is_unknown else not wanted
