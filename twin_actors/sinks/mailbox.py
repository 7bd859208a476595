"""Sends messages of our own to partitions of the mailbox."""

import asyncio
from collections.abc import Callable, Mapping

from azure.core.exceptions import AzureError
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from twin_actors.errors import Unavailable

SEND_SECONDS = 10.0


class EventHubSender:
    """A `MailboxSender` on an Event Hub.

    Parameters
    ----------
    make_client
        Makes a client when the first message is sent: most workers never forward anything.
    """

    def __init__(self, make_client: Callable[[], EventHubProducerClient]) -> None:
        self._make_client = make_client
        self._client: EventHubProducerClient | None = None
        self._lock = asyncio.Lock()

    async def send(self, partition: int, messages: list[tuple[bytes, Mapping[str, str]]]) -> None:
        """Send bodies with their properties, in order; when this returns, all are in the hub."""
        if self._client is None:
            self._client = self._make_client()
        try:
            async with self._lock:  # the client sends one batch at a time
                batch = await self._client.create_batch(partition_id=str(partition))
                for body, properties in messages:
                    event = EventData(body)
                    event.properties = {name: value for name, value in properties.items()}  # noqa: C416  the SDK's keys are str or bytes
                    try:
                        batch.add(event)
                    except ValueError:  # it is full
                        await self._client.send_batch(batch, timeout=SEND_SECONDS)
                        batch = await self._client.create_batch(partition_id=str(partition))
                        batch.add(event)
                await self._client.send_batch(batch, timeout=SEND_SECONDS)
        except (EventHubError, AzureError, OSError, TimeoutError) as error:
            raise Unavailable(f"the mailbox takes nothing for partition {partition}: {error}") from error

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.close()
