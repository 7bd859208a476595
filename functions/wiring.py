"""The composition root: settings become a runtime, once per worker."""

import asyncio
import functools
import gc
import os
import sys
from typing import NoReturn

from azure.digitaltwins.core.aio import DigitalTwinsClient
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.identity.aio import DefaultAzureCredential

from functions.http.sides import Sides
from twin_actors.active import Ports
from twin_actors.clock import SystemClock
from twin_actors.errors import SettingsError
from twin_actors.gaps.event_hubs import EventHubGapReader
from twin_actors.journals.blob import BlobJournal
from twin_actors.prognostics.model import model_faults, rul_model
from twin_actors.registry import Registry, load_registry, type_names
from twin_actors.runtime import Runtime
from twin_actors.settings import Settings, read_settings
from twin_actors.sinks import WorkOrders
from twin_actors.sinks.device_commands import IotHubDevices
from twin_actors.sinks.digital_twins import DigitalTwinsGraph
from twin_actors.sinks.documents import TableDocuments
from twin_actors.sinks.mailbox import EventHubSender
from twin_actors.sinks.work_orders import HttpWorkOrders, QueueWorkOrders

ANSWER_SECONDS = 10
"""How long one call to the graph may take before it counts as unanswered."""


@functools.cache
def credential() -> DefaultAzureCredential:
    """Return the identity of this worker."""
    return DefaultAzureCredential()


async def close() -> None:
    """Let go of the identity's connections, if any were made."""
    if credential.cache_info().currsize:
        await credential().close()


def make_journal(settings: Settings) -> BlobJournal:
    """Return the journals' container."""
    storage = settings.journal_storage
    if storage.connection_string:
        return BlobJournal.from_connection_string(storage.connection_string, settings.journal_container)
    return BlobJournal.from_address(storage.address, settings.journal_container, credential())


def make_digital_twins(settings: Settings) -> DigitalTwinsClient:
    """Return a client of the graph."""
    return DigitalTwinsClient(
        settings.digital_twins_url,
        credential(),
        retry_total=0,
        connection_timeout=ANSWER_SECONDS,
        read_timeout=ANSWER_SECONDS,
    )


def make_sender(settings: Settings) -> EventHubSender:
    """Return a sender to the mailbox."""

    def client() -> EventHubProducerClient:
        mailbox = settings.mailbox
        if mailbox.connection_string:
            return EventHubProducerClient.from_connection_string(
                mailbox.connection_string, eventhub_name=settings.mailbox_name
            )
        return EventHubProducerClient(mailbox.address, settings.mailbox_name, credential())

    return EventHubSender(client)


def make_reader(settings: Settings) -> EventHubGapReader:
    """Return a reader of what the trigger skips."""

    def client() -> EventHubConsumerClient:
        mailbox, group = settings.mailbox, settings.gap_consumer_group
        if mailbox.connection_string:
            return EventHubConsumerClient.from_connection_string(
                mailbox.connection_string, group, eventhub_name=settings.mailbox_name
            )
        return EventHubConsumerClient(mailbox.address, settings.mailbox_name, group, credential())

    return EventHubGapReader(client)


def make_documents(settings: Settings) -> TableDocuments:
    """Return what apps look up outside the graph."""
    storage = settings.table_storage
    if storage.connection_string:
        return TableDocuments.from_connection_string(storage.connection_string)
    return TableDocuments.from_address(storage.address, credential())


def make_work_orders(settings: Settings) -> WorkOrders:
    """Return the system that plans maintenance."""
    if settings.work_orders_url:
        scope = settings.work_orders_scope
        return HttpWorkOrders(settings.work_orders_url, credential() if scope else None, scope)
    storage = settings.queue_storage
    if storage.connection_string:
        return QueueWorkOrders.from_connection_string(storage.connection_string, settings.work_order_queue)
    return QueueWorkOrders.from_addresses(
        storage.address, settings.table_storage.address, settings.work_order_queue, credential()
    )


def make_devices(settings: Settings) -> IotHubDevices:
    """Return the devices behind the IoT Hub."""
    hub = settings.iot_hub
    if hub.connection_string:
        return IotHubDevices.from_connection_string(hub.connection_string)
    return IotHubDevices.from_address(hub.address, credential())


def make_sides() -> Sides:
    """Return what HTTP stands on."""
    settings = read_settings(os.environ)
    return Sides(
        graph=make_digital_twins(settings),
        documents=make_documents(settings),
        sender=make_sender(settings),
        reader=make_reader(settings),
        journal=make_journal(settings),
        registry=twin_types(),
        clock=SystemClock(),
        has_sign_in=settings.has_sign_in,
    )


def twin_types() -> Registry:
    """Return the twin types of this app; where any is faulty, the worker ends and says all that is wrong.

    They are loaded at the first call, not at start: the app is indexed without numpy. A call that failed would be
    tried again for ever and look like any other failure.
    """
    try:
        registry = load_registry()
    except SettingsError as error:
        _end(SettingsError((*error.faults, *model_faults(type_names()))))
    faults = tuple(model_faults(registry.by_name))
    if faults:
        _end(SettingsError(faults))
    return registry


def _end(error: SettingsError) -> NoReturn:
    """End this worker: only another deployment mends what is wrong."""
    sys.stderr.write(f"{error}\n")  # what is logged would be lost: it travels behind the answer to the host
    sys.stderr.flush()
    os._exit(os.EX_CONFIG)


_lock = asyncio.Lock()
_runtimes: list[Runtime] = []


async def runtime() -> Runtime:
    """Return this worker's runtime, made at the first call."""
    async with _lock:
        if not _runtimes:
            _runtimes.append(await _start(read_settings(os.environ)))
        return _runtimes[0]


async def _start(settings: Settings) -> Runtime:
    registry = twin_types()
    journal = make_journal(settings)
    await journal.create_container()
    ports = Ports(
        journal=journal,
        graph=DigitalTwinsGraph(make_digital_twins(settings)),
        sender=make_sender(settings),
        reader=make_reader(settings),
        devices=make_devices(settings),
        documents=make_documents(settings),
        orders=make_work_orders(settings),
        models=rul_model,
        clock=SystemClock(),
    )
    settle_memory()
    return Runtime(registry.by_name, ports)


def settle_memory() -> None:
    """Take what start-up made out of the garbage collector's sight: it stays, and each look at it delays a batch."""
    gc.collect()
    gc.freeze()
