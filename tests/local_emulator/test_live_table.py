"""What ``make run`` draws, letter by letter."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from local_emulator.live_events import Happened, happened
from local_emulator.live_table import COLUMNS, picture, remaining, wear_caption

NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
TITLE = "2 twins · lag 0 events · 2 events/s"

FINE = {
    "$dtId": "pump-1",
    "connection": "online",
    "lastSpeed": 2810.4,
    "lastFlow": 80.25,
    "head": 31.8,
    "lastPower": 11.31,
    "lastBearingTemperature": 52.4,
    "lastMotorTemperature": 61.0,
    "quality": "good",
    "health": 0.97,
    "readingCount": 120,
    "remainingUsefulLifeDays": 1243.7,
    "remainingUsefulLifeDaysLower": 801.2,
    "remainingUsefulLifeDaysUpper": 2046.0,
    "maintenancePriority": 1,
    "activeAlerts": 0,
}
WORN = FINE | {
    "$dtId": "pump-5",
    "health": 0.12,
    "remainingUsefulLifeDays": 3.2,
    "remainingUsefulLifeDaysLower": 1.1,
    "remainingUsefulLifeDaysUpper": 6.4,
    "maintenancePriority": 4,
    "activeAlerts": 2,
}


def row(twin_id: str, status: str, seconds: float, body: Mapping[str, object]) -> dict[str, Any]:
    """Return a row as Table storage has it, its body cut in two."""
    text = json.dumps(body)
    half = len(text) // 2
    time = NOON + timedelta(seconds=seconds)
    return {"PartitionKey": twin_id, "RowKey": "any", "Status": status, "Time": time, "Body": text[:half]} | {
        "Body1": text[half:]
    }


def alert(rule: str, seconds: float, **more: object) -> dict[str, Any]:
    """Return the row of an alert of pump-5."""
    raised = (NOON + timedelta(seconds=seconds)).isoformat()
    body = {"alertId": f"{rule}-1", "rule": rule, "severity": "critical", "text": "Repair it.", "raised": raised}
    return row("pump-5", "cleared" if more.get("cleared") else "active", seconds, body | more | {"reason": {}})


def operation(seconds: float, **more: object) -> dict[str, Any]:
    """Return the row of an operation of pump-5."""
    body = {"operationId": "o", "kind": "command", "name": "setSpeed", "request": 2030.0, "caller": "rule:hot"}
    body |= {"status": "answered", "requested": NOON.isoformat(), "answerStatus": 200} | more
    return row("pump-5", str(body["status"]), seconds, body)


def order(seconds: float) -> dict[str, Any]:
    """Return the row of a work order of pump-5."""
    due = (NOON + timedelta(days=1)).isoformat()
    return row("pump-5", "placed", seconds, {"priority": "critical", "title": "pump-5: failure-near", "due": due})


def drawn(width: int, twins: list[dict[str, Any]], now: Happened, caption: str = "") -> list[str]:
    """Return the picture as lines of text."""
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(picture(twins, now, TITLE, caption, width, UTC))
    return [line.rstrip() for line in capture.get().splitlines()]


NOW = happened(
    [
        alert("failure-foreseen", 1.0),
        alert("failure-near", 3.0),
        alert("overheating", -60.0, cleared=(NOON + timedelta(seconds=-30)).isoformat()),
    ],
    [operation(2.0), operation(-5.0, request=2500.0)],
    [order(4.0)],
)


def test_the_newest_events_stand_first() -> None:
    """What was foreseen, what was done about it; no more than fit."""
    lines = drawn(200, [FINE, WORN], NOW)
    assert lines[-6:] == [
        "12:00:04  pump-5  work order placed: pump-5: failure-near (critical, due 2026-05-05)",
        "12:00:03  pump-5  alert failure-near (critical): Repair it.",
        "12:00:02  pump-5  command setSpeed 2030 answered · rule:hot",
        "12:00:01  pump-5  alert failure-foreseen (critical): Repair it.",
        "11:59:55  pump-5  command setSpeed 2500 answered · rule:hot",
        "11:59:30  pump-5  alert overheating cleared",
    ]


def test_a_wide_terminal_shows_every_column() -> None:
    """A row has the twin, its measurements, and what it foresees."""
    lines = drawn(240, [FINE, WORN], NOW)
    assert lines[0] == TITLE
    for column in COLUMNS:
        assert column.heading in lines[1]
    assert lines[3].split() == [
        *("pump-1", "online", "2810", "80.2", "31.8", "11.31", "52.4", "61.0", "good", "0.97"),
        *("1240", "d", "(801–2050)", "low", "-", "-", "120"),  # noqa: RUF001  an en dash
    ]
    assert "3.2 d (1.1–6.4)  critical  failure-near +1  setSpeed 2030 answered" in lines[4]  # noqa: RUF001  an en dash


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_a_narrow_terminal_keeps_what_matters(width: int) -> None:
    """Whole columns are left out, none is squeezed, and no line is too long."""
    lines = drawn(width, [FINE, WORN], NOW)
    assert max(len(line) for line in lines) <= width
    header = lines[1]
    for heading in ("twin", "life left", "priority", "alerts"):
        assert heading in header
    assert "…" not in "".join(lines[:5])
    assert ("last automatic" in header) == (width >= 100)
    assert "connection" in header or width == 60


def test_what_is_not_known_yet_is_a_dash() -> None:
    """A new twin, without tables and without predictions."""
    lines = drawn(240, [{"$dtId": "pump-9"}], Happened())
    assert lines[3].split() == ["pump-9", *(["-"] * (len(COLUMNS) - 1))]
    assert len(lines) == 4


def test_the_count_of_alerts_stands_in_for_their_names() -> None:
    """The graph knows it before the tables do."""
    (line,) = [line for line in drawn(80, [WORN], Happened()) if line.startswith("pump-5")]
    assert line.split()[-3:] == ["critical", "2", "-"]


def test_what_went_wrong_says_why() -> None:
    """Refused, expired, and answered with a fault; an acknowledgement is told by its alert."""
    now = happened(
        [alert("hot", 0.0, acknowledgedBy="ada", acknowledged=(NOON + timedelta(seconds=9)).isoformat())],
        [
            operation(1.0, status="refused", answerStatus=None, detail="outside the limits"),
            operation(2.0, status="expired", answerStatus=None, caller="ada"),
            operation(3.0, answerStatus=410, detail="too late"),
            operation(4.0, kind="acknowledge", name="hot-1", request=None, caller="ada", status="persisted"),
            operation(5.0, kind="edit", name="", request={"automaticControl": False}, caller="ada", status="persisted"),
        ],
        [],
    )
    assert [event.text for event in now.events] == [
        "alert hot acknowledged by ada",
        'edit {"automaticControl":false} persisted · ada',
        "command setSpeed 2030 answered 410 · rule:hot: too late",
        "command setSpeed 2030 expired · ada",
        "command setSpeed 2030 refused · rule:hot: outside the limits",
        "alert hot (critical): Repair it.",
    ]
    assert [event.style for event in now.events][2:5] == ["red", "red", "red"]
    assert now.commands == {"pump-5": "setSpeed 2030 answered 410"}


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ((412.3, 300.0, 610.0), "412 d (300–610)"),  # noqa: RUF001  an en dash
        ((1243.0, 801.0, 12345.0), "1240 d (801–12300)"),  # noqa: RUF001  an en dash
        ((45.6, 30.2, 99.6), "46 d (30–100)"),  # noqa: RUF001  an en dash
        ((0.065, 0.0, 18.0), "0.065 d (0–18)"),  # noqa: RUF001  an en dash
        ((1.5, 0.5, 1.9), "36 h (12–46)"),  # noqa: RUF001  an en dash
        ((0.02, 0.0, 0.08), "29 min (0–115)"),  # noqa: RUF001  an en dash
        ((0.0, 0.0, 0.0), "0 min (0–0)"),  # noqa: RUF001  an en dash
        ((5.0, None, None), "5 d"),
        ((None, None, None), "-"),
        ((float("nan"), 1.0, 2.0), "-"),
    ],
)
def test_remaining_life_has_few_digits(days: tuple[float | None, float | None, float | None], told: str) -> None:
    """In the unit that suits the longest."""
    assert remaining(*days) == told


def test_the_caption_says_what_a_predicted_day_is() -> None:
    """Nobody takes a simulated week for a week."""
    factors = {"pump-1": 1.0, "pump-4": 1000.0, "pump-5": 400_000.0, "pump-6": 400_000.0}
    assert wear_caption(factors).splitlines() == [
        "pump-4 wears 1,000 times faster than real: a predicted day passes in 86 s",
        "pump-5, pump-6 wear 400,000 times faster than real: a predicted day passes in 0.22 s",
    ]
    assert wear_caption({"pump-1": 1.0}) == ""
