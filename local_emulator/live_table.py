"""The picture that ``make run`` draws: twins, what they foresee, and what was done about it."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo

import msgspec
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from local_emulator.live_events import Event, Happened, Row

EVENTS = 6
"""Events that are shown, the newest first."""

SECONDS_A_DAY = 86_400.0

PRIORITIES = (
    ("-", ""),
    ("low", "green"),
    ("medium", "yellow"),
    ("high", "dark_orange"),
    ("critical", "bold red"),
)
"""What the numbers of the graph's `maintenancePriority` mean, and their colours."""


class Column(msgspec.Struct, frozen=True):
    """A column of the table.

    Attributes
    ----------
    heading : str
    cell : Callable
        Twin and what happened → what to show.
    rank : int
        Where there is no room the lowest go in first; those of rank 0 always do.
    is_number : bool
    """

    heading: str
    cell: Callable[[Row, Happened], Text]
    rank: int
    is_number: bool = False


def _measured(heading: str, name: str, form: str, rank: int) -> Column:
    def cell(twin: Row, _: Happened) -> Text:
        value = twin.get(name)
        return Text(format(value, form) if isinstance(value, int | float) else "-")

    return Column(heading, cell, rank, is_number=True)


def _connection(twin: Row, _: Happened) -> Text:
    return _coloured(str(twin.get("connection", "-")), good="online", bad="offline")


def _quality(twin: Row, _: Happened) -> Text:
    return _coloured(str(twin.get("quality", "-")), good="good", bad="bad")


def _coloured(word: str, *, good: str, bad: str) -> Text:
    return Text(word, style="green" if word == good else "red" if word == bad else "yellow")


def _health(twin: Row, _: Happened) -> Text:
    health = twin.get("health")
    if not isinstance(health, int | float):
        return Text("-")
    return Text(f"{health:.2f}", style="green" if health > 0.8 else "yellow" if health > 0.4 else "red")


def _remaining(twin: Row, _: Happened) -> Text:
    name = "remainingUsefulLifeDays"
    days = [twin.get(name + bound) for bound in ("", "Lower", "Upper")]
    return Text(remaining(*(day if isinstance(day, int | float) else None for day in days)))


def _priority(twin: Row, _: Happened) -> Text:
    priority = twin.get("maintenancePriority", 0)
    known = isinstance(priority, int) and 0 <= priority < len(PRIORITIES)
    return Text(*PRIORITIES[priority]) if known else Text(str(priority))


def _alerts(twin: Row, now: Happened) -> Text:
    names = now.alerts.get(str(twin["$dtId"]), ())
    if names:
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        return Text(names[-1] + more, style="red")
    count = twin.get("activeAlerts", 0)
    return Text(str(count), style="red") if count else Text("-")


def _command(twin: Row, now: Happened) -> Text:
    return Text(now.commands.get(str(twin["$dtId"]), "-"))


COLUMNS = (
    Column("twin", lambda twin, _: Text(str(twin["$dtId"])), 0),
    Column("connection", _connection, 2),
    _measured("rpm", "lastSpeed", ".0f", 4),
    _measured("flow m³/h", "lastFlow", ".1f", 7),
    _measured("head m", "head", ".1f", 10),
    _measured("power kW", "lastPower", ".2f", 8),
    _measured("bear. °C", "lastBearingTemperature", ".1f", 6),
    _measured("motor °C", "lastMotorTemperature", ".1f", 11),
    Column("quality", _quality, 9),
    Column("health", _health, 1, is_number=True),
    Column("life left", _remaining, 0, is_number=True),
    Column("priority", _priority, 0),
    Column("alerts", _alerts, 0),
    Column("last automatic", _command, 3),
    _measured("readings", "readingCount", "d", 5),
)

PADDING = 2
"""Between two columns; in the table the box draws one letter of it."""


def picture(
    twins: Sequence[Row], now: Happened, title: str, caption: str, width: int, zone: tzinfo | None = None
) -> Group:
    """Return the table of the twins and the newest events below it.

    Parameters
    ----------
    twins
        As the graph shows them.
    now
    title, caption
        Above and below the table.
    width
        Letters on a line; columns that find no room are left out.
    zone
        Of the times shown; that of this machine unless said.
    """
    parts: list[RenderableType] = [Text(title, style="bold"), _table(twins, now, width)]
    if caption:
        parts.append(Text(caption, style="dim italic"))
    if now.events:
        parts.append(_events(now.events[:EVENTS], width, zone))
    return Group(*parts)


def _table(twins: Sequence[Row], now: Happened, width: int) -> Table:
    cells = {column.heading: [column.cell(twin, now) for twin in twins] for column in COLUMNS}
    widths = {
        column.heading: PADDING + max(cell_len(column.heading), *(cell.cell_len for cell in cells[column.heading]), 0)
        for column in COLUMNS
    }
    shown: set[str] = set()
    for column in sorted(COLUMNS, key=lambda one: one.rank):
        if not column.rank or sum(widths[name] for name in (*shown, column.heading)) <= width:
            shown.add(column.heading)
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, PADDING - 1, 0, 0), show_edge=False)
    columns = [column for column in COLUMNS if column.heading in shown]
    for column in columns:
        drawn.add_column(
            column.heading, justify="right" if column.is_number else "left", no_wrap=True, overflow="ellipsis"
        )
    for row in zip(*(cells[column.heading] for column in columns), strict=True):
        drawn.add_row(*row)
    return drawn


def _events(events: Sequence[Event], width: int, zone: tzinfo | None) -> Text:
    """Return a line for each event; what is too long is cut."""
    twin_width = max(cell_len(event.twin_id) for event in events)
    lines = []
    for event in events:
        line = Text(f"{event.time.astimezone(zone):%H:%M:%S}", style="dim")
        line.append("  " + set_cell_size(event.twin_id, twin_width) + "  ", style="not dim")
        line.append(" ".join(event.text.split()), style=f"not dim {event.style}")
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return Text("\n").join(lines)


def remaining(estimate: float | None, lower: float | None, upper: float | None) -> str:
    """Return how long a machine will last, with bounds, in the unit that suits the longest of the three."""
    if estimate is None or not math.isfinite(estimate):
        return "-"
    longest = estimate if upper is None else max(estimate, upper)
    unit, factor = ("d", 1.0) if longest >= 2.0 else ("h", 24.0) if longest >= 2.0 / 24.0 else ("min", 1440.0)
    bounds = ""
    if lower is not None and upper is not None:
        bounds = f" ({_rounded(lower * factor)}–{_rounded(upper * factor)})"  # noqa: RUF001  an en dash, as in print
    return f"{_rounded(estimate * factor)} {unit}{bounds}"


def _rounded(value: float) -> str:
    """Return two significant digits, or three of a number above a hundred."""
    if value < 10.0:
        return f"{value:.2g}" if value >= 0.05 else "0"
    digits = 2 if value < 100.0 else 3
    return str(int(float(f"{value:.{digits}g}")))


def wear_caption(accelerations: Mapping[str, float]) -> str:
    """Return what to know of simulated machines that wear faster than real, empty where none does."""
    by_factor: dict[float, list[str]] = {}
    for twin_id, factor in accelerations.items():
        if factor != 1.0:
            by_factor.setdefault(factor, []).append(twin_id)
    return "\n".join(
        f"{', '.join(names)} {'wears' if len(names) == 1 else 'wear'} {factor:,.0f} times faster than real: "
        f"a predicted day passes in {SECONDS_A_DAY / factor:.2g} s"
        for factor, names in by_factor.items()
    )
