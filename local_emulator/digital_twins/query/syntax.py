"""Queries as values: the syntax tree, and how text becomes one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import lark

from local_emulator.digital_twins import errors, limits

from .grammar import GRAMMAR

type Scalar = str | float | bool | None


@dataclass(frozen=True, slots=True)
class Path:
    """Steps to a value; the first may be the collection's alias."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A literal."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands and the sign between them."""

    left: Path | Value
    sign: str
    right: Path | Value


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether an operand is, or is not, among literals."""

    operand: Path | Value
    is_negated: bool
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A test of one value: text, array or kind; ``argument`` for the first two."""

    name: str
    path: Path
    argument: Scalar = None


@dataclass(frozen=True, slots=True)
class IsOfModel:
    """Whether a twin is of a model."""

    model: str
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class Junction:
    """All or any of several conditions."""

    kind: Literal["and", "or"]
    conditions: tuple["Condition", ...]


type Condition = Comparison | Membership | Function | IsOfModel | Not | Junction | Path


@dataclass(frozen=True, slots=True)
class Projection:
    """One column of the result."""

    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query.

    Attributes
    ----------
    collection
        ``DIGITALTWINS`` or ``RELATIONSHIPS``.
    alias
        The collection's name in paths.
    projections
        Columns; none for whole rows.
    top
        How many rows at most.
    is_count
        Whether only the number of rows is wanted.
    condition
        Which rows.
    """

    collection: str
    alias: str | None
    projections: tuple[Projection, ...] = ()
    top: int | None = None
    is_count: bool = False
    condition: Condition | None = None


_PARSER = lark.Lark(GRAMMAR, start="query", parser="lalr", propagate_positions=False)
_ESCAPE = re.compile(r"\\(.)")
_UNSUPPORTED = frozenset({"JOIN", "MATCH"})


@lru_cache(maxsize=256)
def parse_query(text: str) -> Query:
    """Parse a query, or refuse it as the service does."""
    if len(text) > limits.QUERY_LENGTH:
        raise errors.query_invalid(f"The query has more than {limits.QUERY_LENGTH} characters.")
    try:
        tree = _PARSER.parse(text)
    except lark.exceptions.UnexpectedInput as error:
        raise _refusal(text, error) from error
    try:
        query: Query = _ToQuery().transform(tree)
    except lark.exceptions.VisitError as error:
        if isinstance(error.orig_exc, errors.ServiceError):
            raise error.orig_exc from error
        raise
    return query


def _refusal(text: str, error: lark.exceptions.UnexpectedInput) -> errors.ServiceError:
    """Word a syntax error as the service's own parser does."""
    position = min(error.pos_in_stream or 0, len(text)) if not _is_at_end(error) else len(text)
    word = re.match(r"[\w$]+|\S?", text[position:])
    found = (word[0] if word else "") or "<EOF>"
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1)
    where = f"SQL Parser Error, Line={line}, Position={column}, Message="
    if found.upper() in _UNSUPPORTED:
        return errors.query_invalid(f"{where}'{found}' is not supported by the emulator.")
    if position == 0:
        return errors.query_invalid(f"{where}missing SELECT at '{found}'")
    wanted = sorted(name.lstrip("_") for name in _wanted(error))
    return errors.query_invalid(f"{where}mismatched input '{found}' expecting {{{', '.join(wanted)}}}")


def _is_at_end(error: lark.exceptions.UnexpectedInput) -> bool:
    return isinstance(error, lark.exceptions.UnexpectedToken) and error.token.type == "$END"


def _wanted(error: lark.exceptions.UnexpectedInput) -> Sequence[str]:
    names = getattr(error, "accepts", None) or getattr(error, "expected", None)
    return list(names or getattr(error, "allowed", None) or ())


def _operators(condition: Condition | None) -> int:
    """Count the ANDs and ORs in a condition."""
    if isinstance(condition, Not):
        return _operators(condition.condition)
    if isinstance(condition, Junction):
        return len(condition.conditions) - 1 + sum(_operators(item) for item in condition.conditions)
    return 0


@lark.v_args(inline=True)
class _ToQuery(lark.Transformer[lark.Token, Query]):
    """Turns lark's tree into ours, from the leaves up."""

    def name(self, token: lark.Token) -> str:
        return str(token).removeprefix("[[").removesuffix("]]")

    def path(self, *steps: str) -> Path:
        return Path(steps)

    def string(self, token: lark.Token) -> Value:
        return Value(_ESCAPE.sub(r"\1", token[1:-1]))

    def number(self, token: lark.Token) -> Value:
        return Value(float(token) if re.search(r"[.eE]", token) else int(token))

    def truth_literal(self, token: lark.Token) -> Value:
        return Value(token.upper() == "TRUE")

    def null(self) -> Value:
        return Value(None)

    def top(self, token: lark.Token) -> int:
        return int(token)

    def projection(self, path: Path, label: str | None) -> Projection:
        return Projection(path, label or path.steps[-1])

    def projections(self, *items: Projection) -> tuple[Projection, ...]:
        return items

    def source(self, collection: lark.Token, alias: str | None) -> tuple[str, str | None]:
        return collection.upper(), alias

    def comparison(self, left: Path | Value, sign: lark.Token, right: Path | Value) -> Comparison:
        return Comparison(left, str(sign), right)

    def membership(self, operand: Path | Value, word: lark.Token, *values: Value) -> Membership:
        if len(values) > limits.QUERY_LIST:
            raise errors.query_invalid(f"{word} takes up to {limits.QUERY_LIST} values.")
        return Membership(operand, word.upper() != "IN", tuple(value.value for value in values))

    def text_test(self, name: lark.Token, path: Path, argument: Value) -> Function:
        return Function(name.upper(), path, argument.value)

    array_contains = text_test

    def kind_test(self, name: lark.Token, path: Path) -> Function:
        return Function(name.upper(), path)

    def is_of_model(self, _alias: str | None, model: Value, exact: lark.Token | None) -> IsOfModel:
        return IsOfModel(str(model.value), exact is not None)

    def truth(self, path: Path) -> Path:
        return path

    def negated(self, condition: Condition) -> Not:
        return Not(condition)

    def conjunction(self, *conditions: Condition) -> Junction:
        return Junction("and", conditions)

    def disjunction(self, *conditions: Condition) -> Junction:
        return Junction("or", conditions)

    def count(self) -> Query:
        return Query("", None, is_count=True)

    def everything(self, top: int | None, _star: lark.Token) -> Query:
        return Query("", None, top=top)

    def first(self, top: int) -> Query:
        return Query("", None, top=top)

    def chosen(self, top: int | None, projections: tuple[Projection, ...]) -> Query:
        return Query("", None, projections, top)

    def query(self, select: Query, source: tuple[str, str | None], condition: Condition | None) -> Query:
        collection, alias = source
        if _operators(condition) > limits.QUERY_OPERATORS:
            raise errors.query_invalid(f"A query takes up to {limits.QUERY_OPERATORS} AND and OR operators.")
        return Query(collection, alias, select.projections, select.top, select.is_count, condition)
