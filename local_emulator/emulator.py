"""All services together, as ``python -m local_emulator up`` starts them.

What each service needs of another is joined here and nowhere else: IoT Hub routes its telemetry to the mailbox
Event Hub, the function app finds everything by its settings.
"""

import asyncio
import errno
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from local_emulator.azurite import Azurite
from local_emulator.certificates import Certificates, ensure_certificates
from local_emulator.digital_twins import DigitalTwins
from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec
from local_emulator.functions_host import FunctionsHost
from local_emulator.identity import Identity
from local_emulator.iot_hub import IotHub, RoutedEvent

MAILBOX = "mailbox"
CONSUMER_GROUP = "functions"
GAP_CONSUMER_GROUP = "gaps"

NEEDS: Mapping[str, tuple[str, ...]] = {
    "storage": (),
    "event-hubs": (),
    "iot-hub": ("event-hubs",),
    "digital-twins": (),
    "identity": (),
    "functions": ("storage", "event-hubs", "iot-hub", "digital-twins", "identity"),
}
"""Each service, and those it cannot do without; in the order of start."""

PORTS: Mapping[str, tuple[str, int]] = {
    "blob": ("storage", 10000),
    "queue": ("storage", 10001),
    "table": ("storage", 10002),
    "event-hubs": ("event-hubs", 5672),
    "mqtt": ("iot-hub", 8883),
    "iot-hub": ("iot-hub", 8443),
    "digital-twins": ("digital-twins", 8080),
    "digital-twins-https": ("digital-twins", 8444),
    "identity": ("identity", 8081),
    "functions": ("functions", 7071),
}
"""Each port, with its service and what it is unless said otherwise."""


class StartError(Exception):
    """The emulator cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """What to start, and where.

    Attributes
    ----------
    data_dir
        Where all services keep their state.
    app_dir
        The function app.
    services
        Names of `NEEDS`; what they need starts too.
    ports
        Of `PORTS`; 0 asks the system. MQTT is always 8883 for the device SDKs, whatever the address.
    host
        The loopback address of all services.
    partitions
        Of the mailbox, when it is made.
    log
        Takes what the function app prints; standard error by default.
    """

    data_dir: Path
    app_dir: Path
    services: frozenset[str] = frozenset(NEEDS)
    ports: Mapping[str, int] = field(default_factory=lambda: {name: port for name, (_, port) in PORTS.items()})
    host: str = "127.0.0.1"
    partitions: int = 4
    log: TextIO | None = None

    def wanted(self) -> frozenset[str]:
        """Return the services to start, with those they need."""
        needed = {other for name in self.services for other in NEEDS[name]}
        return self.services | needed


@dataclass
class Emulator:
    """The running services; those that were not wanted are None."""

    plan: Plan
    certificates: Certificates
    storage: Azurite | None = None
    event_hubs: EventHubs | None = None
    iot_hub: IotHub | None = None
    digital_twins: DigitalTwins | None = None
    identity: Identity | None = None
    functions: FunctionsHost | None = None

    def app_settings(self) -> dict[str, str]:
        """Return the settings of the function app, those of services that do not run left out."""
        settings = {
            "SSL_CERT_FILE": str(self.certificates.bundle_file),
            "REQUESTS_CA_BUNDLE": str(self.certificates.bundle_file),
        }
        if self.storage is not None:
            storage = self.storage.connection_string
            settings |= {"AzureWebJobsStorage": storage, "JournalStorage": storage, "JournalContainer": "journals"}
            settings["WorkOrderQueue"] = "work-orders"
        if self.event_hubs is not None:
            settings |= {"Mailbox": self.event_hubs.connection_string, "MailboxName": MAILBOX}
            settings |= {"MailboxConsumerGroup": CONSUMER_GROUP, "MailboxGapConsumerGroup": GAP_CONSUMER_GROUP}
        if self.iot_hub is not None:
            settings["IotHub"] = self.iot_hub.service_connection_string
        if self.digital_twins is not None and self.digital_twins.https_url:
            settings["DigitalTwinsUrl"] = self.digital_twins.https_url
        if self.identity is not None:
            settings |= {"IDENTITY_ENDPOINT": self.identity.endpoint, "IDENTITY_HEADER": self.identity.header}
        return settings

    def ready(self) -> dict[str, object]:
        """Return what clients need to know."""
        ready: dict[str, object] = {"pid": os.getpid(), "ca_file": str(self.certificates.ca_file)}
        if self.storage is not None:
            ready["storage"] = {"connection_string": self.storage.connection_string}
        if self.event_hubs is not None:
            ready["event_hubs"] = {"connection_string": self.event_hubs.connection_string, "mailbox": MAILBOX}
        if self.iot_hub is not None:
            ready["iot_hub"] = {
                "host_name": self.iot_hub.host_name,
                "service_connection_string": self.iot_hub.service_connection_string,
            }
        if self.digital_twins is not None:
            ready["digital_twins"] = {"url": self.digital_twins.url, "https_url": self.digital_twins.https_url}
        if self.functions is not None:
            ready["functions"] = {"url": self.functions.url, "pids": self.functions.pids}
        return ready | {"settings": self.app_settings()}


@asynccontextmanager
async def running(plan: Plan) -> AsyncIterator[Emulator]:
    """Run the services until the context is left.

    Raises
    ------
    StartError
        A port is in use.
    """
    wanted = plan.wanted()
    for name, (service, _) in PORTS.items():
        if service in wanted:
            _check_port(plan, name)
    async with AsyncExitStack() as stack:
        try:
            emulator = Emulator(plan, ensure_certificates(plan.data_dir / "tls"))
            await _start(emulator, wanted, stack)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StartError(f"a port was taken while starting: {error}") from error
            raise
        yield emulator


def _check_port(plan: Plan, name: str) -> None:
    port = plan.ports[name]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((plan.host, port))
        except OSError as error:
            remedy = "stop what listens there" if name == "mqtt" else f"choose another with --{name}-port"
            raise StartError(f"port {port} on {plan.host}, for {PORTS[name][0]}, is in use: {remedy}") from error


async def _start(emulator: Emulator, wanted: frozenset[str], stack: AsyncExitStack) -> None:
    plan, ports, host = emulator.plan, emulator.plan.ports, emulator.plan.host
    if "storage" in wanted:
        azurite = Azurite(
            plan.data_dir / "azurite",
            host=host,
            blob_port=ports["blob"],
            queue_port=ports["queue"],
            table_port=ports["table"],
        )
        emulator.storage = await stack.enter_async_context(azurite)
    if "event-hubs" in wanted:
        hubs = [HubSpec(MAILBOX, plan.partitions, (CONSUMER_GROUP, GAP_CONSUMER_GROUP))]
        event_hubs = EventHubs(plan.data_dir / "event_hubs", hubs=hubs, host=host, port=ports["event-hubs"])
        emulator.event_hubs = await stack.enter_async_context(event_hubs)
    if "iot-hub" in wanted:
        assert emulator.event_hubs is not None
        iot_hub = IotHub(
            plan.data_dir / "iot_hub",
            certificates=emulator.certificates,
            publish=_route_to(emulator.event_hubs),
            host=host if ports["mqtt"] else None,
            rest_port=ports["iot-hub"],
        )
        emulator.iot_hub = await stack.enter_async_context(iot_hub)
    if "digital-twins" in wanted:
        digital_twins = DigitalTwins(
            plan.data_dir / "digital_twins",
            host=host,
            port=ports["digital-twins"],
            https_port=ports["digital-twins-https"],
            certificates=emulator.certificates,
        )
        emulator.digital_twins = await stack.enter_async_context(digital_twins)
    if "identity" in wanted:
        emulator.identity = await stack.enter_async_context(Identity(host=host, port=ports["identity"]))
    if "functions" in wanted:
        functions = FunctionsHost(
            plan.app_dir,
            settings=emulator.app_settings(),
            data_dir=plan.data_dir / "functions",
            host=host,
            port=ports["functions"],
            log=plan.log,
        )
        emulator.functions = await stack.enter_async_context(functions)


def _route_to(event_hubs: EventHubs) -> Callable[[RoutedEvent], Awaitable[None]]:
    async def publish(event: RoutedEvent) -> None:
        routed = HubEvent(event.body, event.annotations, event.properties, event.application_properties)
        await event_hubs.publish(MAILBOX, routed, partition_key=event.partition_key)

    return publish


async def write_ready_file(path: Path, ready: Mapping[str, object]) -> None:
    """Write the ready file whole or not at all, readable by its owner only: it holds keys."""

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(ready, file, indent=2)
        partial.replace(path)

    await asyncio.to_thread(write)
