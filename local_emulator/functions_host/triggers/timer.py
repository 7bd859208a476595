"""The timer trigger: one instance of the app fires, its schedule is remembered in storage.

As in production a blob lease decides who fires, and a status blob says when a schedule was last
met, so that a time that passed while nothing ran is made up for and marked past due. Schedules of
less than a minute are not remembered.
"""

import asyncio
import contextlib
import json
import logging
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, BlobServiceClient

from local_emulator.functions_host.bindings import FunctionSpec, TimerTrigger, resolve_settings
from local_emulator.functions_host.connections import storage_account
from local_emulator.functions_host.invocation import Invocations
from local_emulator.functions_host.protos import TypedData
from local_emulator.functions_host.triggers.schedule import parse_schedule

__all__ = ["TimerListener"]

_LOG = logging.getLogger("host.timer")
_CONTAINER = "azure-webjobs-hosts"
_LEASE_SECONDS = 15
_RENEW_SECONDS = 4
_ASK_SECONDS = 1.0
_SHORTEST_REMEMBERED = timedelta(minutes=1)


class _Status(msgspec.Struct, rename="pascal"):
    """What is remembered of a schedule; Last is None until it has fired."""

    last: datetime | None
    next: datetime
    last_updated: datetime


def _now() -> datetime:
    return datetime.now(UTC)


class TimerListener:
    """Fires one timer function."""

    def __init__(
        self,
        function: FunctionSpec,
        trigger: TimerTrigger,
        invocations: Invocations,
        host_id: str,
        instance_id: str,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._function = function
        self._run_on_startup = trigger.run_on_startup
        self._schedule = parse_schedule(resolve_settings(trigger.schedule, os.environ))
        self._invocations = invocations
        self._clock = clock
        now = clock()
        first = self._schedule.next_after(now)
        interval = self._schedule.next_after(first) - first
        self._remembers = trigger.use_monitor and interval >= _SHORTEST_REMEMBERED
        self._status: _Status | None = None
        self._stopping = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._names = (
            f"timers/{host_id}/Host.Functions.{function.name}/status",
            f"locks/{host_id}/Host.Functions.{function.name}.Listener",
        )
        # A worker that replaces a dead one of the same host takes over its lease at once.
        self._lease_id = str(uuid.uuid5(uuid.UUID(instance_id), function.name))
        self._service: BlobServiceClient | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch the schedule."""
        self._service = storage_account(os.environ).blob_service()
        container = self._service.get_container_client(_CONTAINER)
        with contextlib.suppress(ResourceExistsError):
            await container.create_container()
        status, lock = (container.get_blob_client(name) for name in self._names)
        with contextlib.suppress(ResourceExistsError, HttpResponseError):
            # Fails when another instance holds it: then it exists.
            await lock.upload_blob(b"", overwrite=False)
        self._task = asyncio.create_task(self._run(status, BlobLeaseClient(lock, self._lease_id)))

    async def stop(self) -> None:
        """Fire no more; an invocation that runs is waited for."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        async with self._one_at_a_time:
            pass
        if self._service is not None:
            await self._service.close()

    async def fire(self) -> None:
        """Run the function now, whatever the schedule says."""
        await self._invoke(past_due=False)

    async def _run(self, status: BlobClient, lease: BlobLeaseClient) -> None:
        while not self._stopping.is_set():
            try:
                await lease.acquire(lease_duration=_LEASE_SECONDS)
            except HttpResponseError as error:
                if error.status_code != 409:
                    _LOG.warning("The lock of %s cannot be had: %s", self._function.name, error.message)
                await self._pause(_ASK_SECONDS)
                continue
            except AzureError as error:
                _LOG.warning("The lock of %s cannot be had: %s", self._function.name, error)
                await self._pause(_ASK_SECONDS)
                continue
            lost = asyncio.Event()
            renewing = asyncio.create_task(self._renew(lease, lost))
            try:
                await self._keep_schedule(status, lost)
            except AzureError as error:
                _LOG.warning("The schedule of %s cannot be kept: %s", self._function.name, error)
                await self._pause(_ASK_SECONDS)
            finally:
                renewing.cancel()
        with contextlib.suppress(AzureError):
            await lease.release()

    async def _renew(self, lease: BlobLeaseClient, lost: asyncio.Event) -> None:
        try:
            while True:
                await asyncio.sleep(_RENEW_SECONDS)
                await lease.renew()
        except AzureError as error:
            _LOG.warning("The lock of %s is lost: %s", self._function.name, error)
            lost.set()

    async def _keep_schedule(self, status: BlobClient, lost: asyncio.Event) -> None:
        """Fire when due, for as long as the lock is held."""
        now = self._clock()
        self._status = await self._load(status) if self._remembers else None
        due = self._schedule.next_after(now)
        past_due = False
        if self._remembers and self._status is not None:
            # Computed anew, so that a changed schedule counts from the last time it was met.
            expected = self._schedule.next_after(self._status.last or self._status.last_updated)
            past_due = expected <= now
        elif self._remembers:
            await self._store(status, None, due)
        if past_due or self._run_on_startup:
            self._run_on_startup = False
            due = await self._occur(status, now, past_due=past_due)
        while not lost.is_set() and not self._stopping.is_set():
            wait = (due - self._clock()).total_seconds()
            if wait > 0:
                await self._pause(min(wait, _ASK_SECONDS))
            else:
                due = await self._occur(status, due, past_due=False)

    async def _occur(self, status: BlobClient, moment: datetime, *, past_due: bool) -> datetime:
        await self._invoke(past_due=past_due)
        # Times that passed while the function ran are not made up for.
        due = self._schedule.next_after(max(moment, self._clock()))
        if self._remembers and not self._stopping.is_set():
            await self._store(status, moment, due)
        return due

    async def _invoke(self, *, past_due: bool) -> None:
        status = self._status
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": json.loads(msgspec.json.encode(status)) if status else None,
            "IsPastDue": past_due,
        }
        async with self._one_at_a_time:
            await self._invocations.invoke_with_retries(
                self._function, TypedData(json=json.dumps(info)), {}, self._stopping
            )

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _load(self, blob: BlobClient) -> _Status | None:
        try:
            content = await (await blob.download_blob()).readall()
        except ResourceNotFoundError:
            return None
        return msgspec.json.decode(content, type=_Status)

    async def _store(self, blob: BlobClient, last: datetime | None, due: datetime) -> None:
        self._status = _Status(last=last, next=due, last_updated=self._clock())
        await blob.upload_blob(msgspec.json.encode(self._status), overwrite=True)
