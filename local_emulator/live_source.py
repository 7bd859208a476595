"""Where ``make run`` looks: the graph, the tables of documents, the mailbox and the trigger's checkpoints."""

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import aiohttp
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.data.tables.aio import TableServiceClient
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from local_emulator.emulator import CONSUMER_GROUP, MAILBOX, Emulator
from local_emulator.live_events import Happened, Row, happened

RATE_WINDOW = 10
"""Samples over which the events a second are counted."""

RECENT = timedelta(hours=1)
"""How far back events are shown."""

QUERY = "SELECT * FROM DIGITALTWINS"


class Source:
    """What the picture shows."""

    def __init__(self, emulator: Emulator) -> None:
        assert emulator.storage is not None
        assert emulator.event_hubs is not None
        assert emulator.digital_twins is not None
        self._hubs = emulator.event_hubs
        self._partitions = [str(number) for number in range(emulator.plan.partitions)]
        self._address = f"{emulator.plan.host}:{emulator.event_hubs.port}"
        self._query_url = f"{emulator.digital_twins.url}/query?api-version=2023-10-31"
        storage = emulator.storage.connection_string
        store = BlobCheckpointStore.from_connection_string(storage, "azure-webjobs-eventhub")
        self._store: Any = store
        self._tables = TableServiceClient.from_connection_string(storage, retry_total=0)
        self._session = aiohttp.ClientSession()
        self._samples: deque[tuple[float, int]] = deque(maxlen=RATE_WINDOW)
        self._happened = Happened()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._tables.close()
        await self._store.close()

    async def twins(self) -> list[dict[str, Any]]:
        """Return the twins as the graph shows them."""
        async with self._session.post(self._query_url, json={"query": QUERY}) as answer:
            rows: list[dict[str, Any]] = (await answer.json())["value"]
        return sorted(rows, key=lambda twin: str(twin["$dtId"]))

    async def happened(self) -> Happened:
        """Return what was foreseen and done of late; what was known before where the tables do not answer."""
        with contextlib.suppress(AzureError):
            self._happened = await recent(self._tables, datetime.now(UTC) - RECENT)
        return self._happened

    async def progress(self) -> tuple[int, float]:
        """Return how many events wait for the trigger, and how many a second it finishes."""
        try:
            checkpoints = await self._store.list_checkpoints(self._address, MAILBOX, CONSUMER_GROUP)
        except AzureError:
            checkpoints = []
        done = {one["partition_id"]: int(one["sequence_number"]) for one in checkpoints}
        newest = {name: self._hubs.last_sequence_number(MAILBOX, name) for name in self._partitions}
        lag = sum(last - done.get(name, -1) for name, last in newest.items())
        self._samples.append((time.monotonic(), sum(done.values())))
        (early, before), (late, after) = self._samples[0], self._samples[-1]
        return lag, (after - before) / (late - early) if late > early else 0.0


async def recent(tables: TableServiceClient, since: datetime) -> Happened:
    """Return what was foreseen and done since then, and the alerts that are still active."""
    return happened(
        await _rows(tables, "alerts", "Time ge @since or Status eq 'active'", since),
        await _rows(tables, "operations", "Time ge @since", since),
        await _rows(tables, "workorders", "Time ge @since", since),
    )


async def _rows(tables: TableServiceClient, name: str, wanted: str, since: datetime) -> Sequence[Row]:
    """Return the rows of a table; the app makes it when it has the first."""
    found = tables.get_table_client(name).query_entities(wanted, parameters={"since": since})
    try:
        return [row async for row in found]
    except ResourceNotFoundError:
        return []
