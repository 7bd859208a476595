"""What ``make run`` reads is what the product writes."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from azure.data.tables.aio import TableServiceClient

from local_emulator.azurite import Azurite
from local_emulator.live_events import Happened
from local_emulator.live_source import recent
from twin_actors.documents import (
    Alert,
    Collection,
    Operation,
    OperationStatus,
    Reason,
    Severity,
    WorkOrder,
    document_of,
    moment,
)
from twin_actors.sinks.documents import TableDocuments

NOW = 1_780_000_000.0
SINCE = moment(NOW) - timedelta(hours=1)
REASON = Reason(
    rule="hot",
    signal="temperature",
    value=91.0,
    limit=80.0,
    since=moment(NOW),
    position="2-77",
    reading_time=moment(NOW),
    values={f"channel{number}": float(number) for number in range(2000)},  # more than one column holds
    prediction_model="",
    twin_model="dtmi:test:Pump;1",
    layout=1,
    state_version=77,
)


def alert(number: int, raised: float, cleared: float | None = None) -> Alert:
    """Return an alert."""
    return Alert(
        alert_id=f"hot-{number}",
        rule=f"hot{number}",
        severity=Severity.CRITICAL,
        text="Let it rest.",
        raised=moment(raised),
        cleared=None if cleared is None else moment(cleared),
        reason=REASON,
    )


OPERATION = Operation(
    operation_id="o-1",
    kind="command",
    name="setSpeed",
    request=2030.0,
    caller="rule:hot",
    status=OperationStatus.ANSWERED,
    requested=moment(NOW),
    answer_status=200,
    answer={"speed": 2030.0},
    reason=REASON,
)
ORDER = WorkOrder(
    order_id="pump-5-1",
    revision=1,
    idempotency_key="pump-5-1.1",
    twin_id="pump-5",
    twin_model="dtmi:test:Pump;1",
    priority="critical",
    title="pump-5: hot",
    text="Let it rest.",
    created=moment(NOW),
    due=None,
    remaining_useful_life_days=None,
    remaining_useful_life_days_lower=None,
    remaining_useful_life_days_upper=None,
    alerts=["hot"],
    reason=REASON,
)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[str]:
    """The connection string of a storage account of this test's own."""
    async with Azurite(tmp_path) as azurite:
        yield azurite.connection_string


async def test_recent_documents_are_read(storage: str) -> None:
    """Nothing where there are no tables; then what is recent, and what is still active however old."""
    async with TableServiceClient.from_connection_string(storage, retry_total=0) as tables:
        assert await recent(tables, SINCE) == Happened({}, {}, ())
        documents = TableDocuments.from_connection_string(storage)
        old = NOW - 86_400.0
        for status, time, one in (
            ("active", old, alert(1, old)),
            ("cleared", old, alert(2, old, cleared=old)),
            ("active", NOW - 9.0, alert(3, NOW - 9.0)),
        ):
            await documents.put(Collection.ALERTS, document_of("pump-5", one.alert_id, status, time, one))
        await documents.put(Collection.OPERATIONS, document_of("pump-5", "o-1", "answered", NOW, OPERATION))
        await documents.put(Collection.WORK_ORDERS, document_of("pump-5", "pump-5-1", "placed", NOW + 1.0, ORDER))
        await documents.close()
        now = await recent(tables, SINCE)
    assert now.alerts == {"pump-5": ["hot1", "hot3"]}
    assert now.commands == {"pump-5": "setSpeed 2030 answered"}
    assert [(event.time, event.twin_id, event.text) for event in now.events] == [
        (moment(NOW + 1.0), "pump-5", "work order placed: pump-5: hot (critical)"),
        (moment(NOW), "pump-5", "command setSpeed 2030 answered · rule:hot"),
        (moment(NOW - 9.0), "pump-5", "alert hot3 (critical): Let it rest."),
        (moment(old), "pump-5", "alert hot1 (critical): Let it rest."),
    ]
