"""What happened to the twins, read from the rows of the tables of documents."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

SEVERITIES = {"info": "", "warning": "yellow", "critical": "bold red"}
"""How bad an alert is, and its colour."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a twin."""

    time: datetime
    twin_id: str
    text: str
    style: str = ""


class Happened(msgspec.Struct, frozen=True):
    """What the tables of documents tell.

    Attributes
    ----------
    alerts : Mapping
        Twin → its active alerts, the oldest first.
    commands : Mapping
        Twin → the last command that one of its rules gave.
    events : tuple of Event
        The newest first.
    """

    alerts: Mapping[str, Sequence[str]] = {}
    commands: Mapping[str, str] = {}
    events: tuple[Event, ...] = ()


class _Alert(msgspec.Struct, rename="camel"):
    rule: str
    severity: str
    text: str
    raised: datetime
    cleared: datetime | None = None
    acknowledged_by: str = ""
    acknowledged: datetime | None = None


class _Operation(msgspec.Struct, rename="camel"):
    kind: str
    name: str
    request: Any
    caller: str
    status: str
    detail: str = ""
    answer_status: int | None = None


class _Order(msgspec.Struct, rename="camel"):
    priority: str
    title: str
    due: datetime | None = None


type Row = Mapping[str, Any]
"""A row of a table, as the SDK gives it."""


def happened(alerts: Sequence[Row], operations: Sequence[Row], orders: Sequence[Row]) -> Happened:
    """Read the rows of the three tables."""
    active: dict[str, list[tuple[datetime, str]]] = {}
    events: list[Event] = []
    for row in alerts:
        alert = msgspec.json.decode(_body(row), type=_Alert)
        if alert.cleared is None:
            active.setdefault(row["PartitionKey"], []).append((alert.raised, alert.rule))
        events += _alert_events(row["PartitionKey"], alert)
    commands: dict[str, tuple[datetime, str]] = {}
    for row in operations:
        operation = msgspec.json.decode(_body(row), type=_Operation)
        if operation.kind == "acknowledge":
            continue  # the alert tells
        told = _operation_text(operation)
        is_bad = operation.status in {"refused", "expired"} or (operation.answer_status or 200) >= 400
        detail = f": {operation.detail}" if is_bad and operation.detail else ""
        text = f"{operation.kind} {told} · {operation.caller}{detail}"
        events.append(Event(row["Time"], row["PartitionKey"], text, "red" if is_bad else "cyan"))
        if operation.kind == "command" and operation.caller.startswith("rule:"):
            last = commands.get(row["PartitionKey"])
            if last is None or last[0] < row["Time"]:
                commands[row["PartitionKey"]] = (row["Time"], told)
    for row in orders:
        order = msgspec.json.decode(_body(row), type=_Order)
        due = f", due {order.due:%Y-%m-%d}" if order.due else ""
        text = f"work order {row['Status']}: {order.title} ({order.priority}{due})"
        events.append(Event(row["Time"], row["PartitionKey"], text, "magenta"))
    return Happened(
        {twin_id: [rule for _, rule in sorted(found)] for twin_id, found in active.items()},
        {twin_id: told for twin_id, (_, told) in commands.items()},
        tuple(sorted(events, key=lambda event: event.time, reverse=True)),
    )


def _body(row: Row) -> str:
    """Return the document in a row; what is long is cut over several columns."""
    parts = [row["Body"]]
    while (name := f"Body{len(parts)}") in row:
        parts.append(row[name])
    return "".join(parts)


def _alert_events(twin_id: str, alert: _Alert) -> list[Event]:
    raised = f"alert {alert.rule} ({alert.severity}): {alert.text}"
    events = [Event(alert.raised, twin_id, raised, SEVERITIES.get(alert.severity, ""))]
    if alert.acknowledged is not None:
        seen = f"alert {alert.rule} acknowledged by {alert.acknowledged_by}"
        events.append(Event(alert.acknowledged, twin_id, seen))
    if alert.cleared is not None:
        events.append(Event(alert.cleared, twin_id, f"alert {alert.rule} cleared", "green"))
    return events


def _operation_text(operation: _Operation) -> str:
    words = [operation.name]
    if operation.request is not None:
        request = operation.request
        words.append(f"{request:.4g}" if isinstance(request, float) else msgspec.json.encode(request).decode())
    words.append(operation.status)
    if operation.answer_status is not None and operation.answer_status != 200:
        words.append(str(operation.answer_status))
    return " ".join(word for word in words if word)
