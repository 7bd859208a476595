"""All emulators in this process and function apps in theirs, as an end-to-end test wants them."""

import asyncio
import io
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from azure.digitaltwins.core.aio import DigitalTwinsClient
from azure.eventhub.aio import EventHubConsumerClient
from azure.iot.device.aio import IoTHubDeviceClient
from azure.iot.hub import IoTHubRegistryManager

from local_emulator.azurite import Azurite
from local_emulator.certificates import Certificates, ensure_certificates
from local_emulator.digital_twins import DigitalTwins
from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec
from local_emulator.functions_host import FunctionsHost
from local_emulator.functions_host.host import Pace
from local_emulator.identity import Identity
from local_emulator.iot_hub import IotHub, RoutedEvent
from local_emulator.iot_hub.hub import Partitioning
from tests.end_to_end.hub_process import HubProcess
from tests.end_to_end.tokens import TestCredential
from twin_actors.journals.blob import BlobJournal
from twin_actors.shard import Shard
from twin_actors.snapshot import restore

REPOSITORY = Path(__file__).parents[2]
PARTITIONS = 4
PUMP = "dtmi:twinfold:Pump;1"
SECONDS_BETWEEN_TICKS = 1.0
RESTORE_PAUSE = 0.3
"""Between two looks into the journals, which cost the workers' processor too."""
MAILBOX = HubSpec("mailbox", PARTITIONS, ("functions", "gaps"))


@dataclass
class Stack:
    """The services, and what a test asks of them."""

    folder: Path
    certificates: Certificates
    storage: Azurite
    event_hubs: EventHubs | HubProcess
    iot_hub: IotHub
    digital_twins: DigitalTwins
    identity: Identity
    log: io.StringIO = field(default_factory=io.StringIO)
    journal_storage: str = ""
    """Another way to the storage of the journals, for tests that stand in between."""
    app: Path = REPOSITORY
    """The folder of the function app, where it is not this one."""

    def settings(self) -> dict[str, str]:
        """Return the settings of the function app."""
        return {
            "AzureWebJobsStorage": self.storage.connection_string,
            "Mailbox": self.event_hubs.connection_string,
            "MailboxName": "mailbox",
            "MailboxConsumerGroup": "functions",
            "MailboxGapConsumerGroup": "gaps",
            "JournalStorage": self.journal_storage or self.storage.connection_string,
            "JournalContainer": "journals",
            "WorkOrderQueue": "work-orders",
            "IotHub": self.iot_hub.service_connection_string,
            "DigitalTwinsUrl": self.digital_twins.https_url,
            "IDENTITY_ENDPOINT": self.identity.endpoint,
            "IDENTITY_HEADER": self.identity.header,
            "SSL_CERT_FILE": str(self.certificates.bundle_file),
            "REQUESTS_CA_BUNDLE": str(self.certificates.bundle_file),
        }

    def host(self, name: str, *, expiry: float = 10.0) -> FunctionsHost:
        """Return a host of the function app, not yet started."""
        pace = Pace(balancing_interval=min(2.0, expiry / 3), ownership_expiry=expiry, longest_pause=0.5)
        return FunctionsHost(self.app, settings=self.settings(), data_dir=self.folder / name, pace=pace, log=self.log)

    async def operate(self, *arguments: str) -> str:
        """Run an operator's command of the product, and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "twin_actors",
            *arguments,
            cwd=self.app,
            env={**os.environ, **self.settings()},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return printed.decode()

    @asynccontextmanager
    async def device(self, device_id: str, *, model: str = PUMP) -> AsyncIterator[IoTHubDeviceClient]:
        """Register a device with the official service client, and connect it with the official device client."""
        await asyncio.to_thread(self._register, device_id)
        async with self.connected(device_id, model=model) as client:
            yield client

    @asynccontextmanager
    async def connected(self, device_id: str, *, model: str = PUMP) -> AsyncIterator[IoTHubDeviceClient]:
        """Connect a device that is registered."""
        # The SDK waits here while another device connects, to the hub that runs on this loop.
        client = await asyncio.to_thread(
            IoTHubDeviceClient.create_from_connection_string,
            self.iot_hub.device_connection_string(device_id),
            server_verification_cert=self.certificates.ca_file.read_text(),
            product_info=model,
        )
        await client.connect()
        try:
            yield client
        finally:
            await client.shutdown()

    def _register(self, device_id: str) -> None:
        registry = IoTHubRegistryManager.from_connection_string(self.iot_hub.service_connection_string)
        registry.create_device_with_sas(device_id, "", "", "enabled")

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[BlobJournal]:
        """Open the journals."""
        journal = BlobJournal.from_connection_string(self.storage.connection_string, "journals")
        try:
            yield journal
        finally:
            await journal.close()

    async def shards(self) -> list[Shard]:
        """Restore every shard, as its next owner would."""
        async with self.journal() as journal:
            return [(await restore(journal, partition))[0] for partition in range(PARTITIONS)]

    async def partitions(self) -> list[dict]:
        """Return what the mailbox says of its partitions."""
        client = EventHubConsumerClient.from_connection_string(
            self.event_hubs.connection_string, "$Default", eventhub_name="mailbox"
        )
        async with client:
            return list(
                await asyncio.gather(
                    *(client.get_partition_properties(str(partition)) for partition in range(PARTITIONS))
                )
            )

    async def last_sequence_numbers(self) -> list[int]:
        """Return the newest event of each partition of the mailbox."""
        if isinstance(self.event_hubs, EventHubs):  # which need not be asked through half a second of AMQP
            return [self.event_hubs.last_sequence_number("mailbox", str(number)) for number in range(PARTITIONS)]
        return [state["last_enqueued_sequence_number"] for state in await self.partitions()]

    def storage_url(self, service: str) -> str:
        """The address of a service of the storage account, without the account's name."""
        parts = dict(part.split("=", 1) for part in self.storage.connection_string.strip(";").split(";"))
        return parts[f"{service}Endpoint"].rsplit("/", 1)[0]

    @staticmethod
    def is_settled(shards: list[Shard], last_sequence_numbers: list[int]) -> bool:
        """Whether every event is folded and the outbox is empty."""
        folded = [-1 if shard.watermark is None else shard.watermark.sequence_number for shard in shards]
        done = all(at >= last for at, last in zip(folded, last_sequence_numbers, strict=True))
        return done and not any(shard.outbox for shard in shards)

    async def settled(self, seconds: float = 60, ticker: "Ticker | None" = None) -> list[Shard]:
        """Wait until every event is folded and the outbox is empty.

        What was delivered is known to be when the next record says so: a ticker brings it sooner than the timer.
        """

        async def look() -> list[Shard] | None:
            last = await self.last_sequence_numbers()  # asked first: a tick that comes in between needs no wait
            shards = await self.shards()
            if self.is_settled(shards, last):
                return shards
            if ticker is not None:
                await ticker.fire()
            return None

        try:
            return await eventually(look, seconds, pause=RESTORE_PAUSE)
        except TimeoutError:
            owed = [list(shard.outbox.values())[:3] for shard in await self.shards()]
            reason = f"not settled within {seconds} s; outboxes: {owed}; the host's log:\n{self.log.getvalue()}"
            raise AssertionError(reason) from None

    @asynccontextmanager
    async def graph(self) -> AsyncIterator[DigitalTwinsClient]:
        """Open the graph with the official client."""
        client = DigitalTwinsClient(
            self.digital_twins.https_url, TestCredential(), connection_verify=str(self.certificates.ca_file)
        )
        try:
            yield client
        finally:
            await client.close()


class Ticker:
    """Lets the timer fire, but not faster than its worker can follow."""

    def __init__(self, host: FunctionsHost) -> None:
        self._host = host
        self._last = 0.0

    async def fire(self) -> None:
        """Let the timer fire now, unless it fired a moment ago."""
        if time.monotonic() - self._last < SECONDS_BETWEEN_TICKS:
            return
        url, key = f"{self._host.url}/admin/functions/sweep", {"x-functions-key": self._host.keys.master}
        async with aiohttp.ClientSession() as http, http.post(url, json={"input": ""}, headers=key) as answer:
            assert answer.status in {202, 503}  # its worker is being started
        self._last = time.monotonic()


async def eventually[T](look: Callable[[], object], seconds: float = 30, *, pause: float = 0.1) -> T:
    """Look again until there is something to see: other processes do the work."""
    async with asyncio.timeout(seconds):
        while True:
            seen = look()
            if asyncio.iscoroutine(seen):
                seen = await seen
            if seen:
                return seen
            await asyncio.sleep(pause)


def copy_app(folder: Path) -> None:
    """Copy the function app of this repository, for a test to change it."""
    for name in ("functions", "twin_actors", "kernels"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("function_app.py", "host.json"):
        shutil.copy(REPOSITORY / name, folder)


@asynccontextmanager
async def running(
    folder: Path,
    *,
    partitioning: Partitioning = "device-id",
    event_hubs: AbstractAsyncContextManager[HubProcess] | None = None,
) -> AsyncIterator[Stack]:
    """Run the services; the function app is for the test to start.

    Event Hubs may be a process of its own, which only those who speak its protocol reach: IoT Hub is here.
    """
    async with AsyncExitStack() as stack:
        certificates = ensure_certificates(folder / "tls")
        mailbox = await stack.enter_async_context(event_hubs or EventHubs(folder / "event_hubs", hubs=[MAILBOX]))

        async def publish(event: RoutedEvent) -> None:
            routed = HubEvent(event.body, event.annotations, event.properties, event.application_properties)
            await mailbox.publish("mailbox", routed, partition_key=event.partition_key)

        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle_file))
        services = Stack(
            folder=folder,
            certificates=certificates,
            storage=await stack.enter_async_context(Azurite(folder / "azurite")),
            event_hubs=mailbox,
            iot_hub=await stack.enter_async_context(
                IotHub(
                    folder / "iot_hub",
                    certificates=certificates,
                    publish=publish,
                    host=None,
                    partitioning=partitioning,
                )
            ),
            digital_twins=await stack.enter_async_context(
                DigitalTwins(folder / "digital_twins", certificates=certificates)
            ),
            identity=await stack.enter_async_context(Identity()),
        )
        await services.operate("model", "publish")
        try:
            yield services
        finally:
            sys.stdout.write(services.log.getvalue())  # shown where the test fails
