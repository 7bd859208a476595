"""What a command prints, as JSON or as a table."""

import dataclasses
import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence

type Row = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a command found or did.

    Attributes
    ----------
    data : object
        JSON: a list for a verb that lists, an object for one that shows.
    rows : sequence of Row
        The same for a table.
    exit_code : int
    """

    data: object
    rows: Sequence[Row]
    exit_code: int = 0


def listing(rows: Sequence[Row], columns: Iterable[str] = ()) -> Result:
    """Return rows, of which a table has these columns, or all."""
    names = tuple(columns)
    return Result(rows, [{name: row.get(name) for name in names} for row in rows] if names else rows)


def item(fields: Row, exit_code: int = 0) -> Result:
    """Return one thing, of which a table has a line for each field."""
    return Result(fields, [{"field": name, "value": value} for name, value in _flat(fields)], exit_code)


def _flat(fields: Row, above: str = "") -> Iterable[tuple[str, object]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif value not in (None, ""):
            yield above + name, value


def add_output(command: ArgumentParser) -> None:
    """Take how to print."""
    command.add_argument("-o", "--output", choices=("json", "table"), default="table", help="how to print it")


def text(result: Result, output: str) -> str:
    """Return a result as text."""
    if output == "json":
        return json.dumps(result.data, indent=2, ensure_ascii=False, default=str)
    if not result.rows:
        return "nothing"
    every = dict.fromkeys(name for row in result.rows for name in row)
    names = [name for name in every if any(row.get(name) is not None for row in result.rows)]
    cells = [names, *([cell(row.get(name)) for name in names] for row in result.rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def cell(value: object) -> str:
    """Return a value as a table shows it, on one line."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case Mapping():
            return " ".join(f"{name}={cell(one)}" for name, one in value.items())
        case list() | tuple():
            return ", ".join(cell(one) for one in value)
        case _:
            return str(value).replace("\n", " ")
