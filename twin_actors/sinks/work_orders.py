"""Work orders to another system: through a storage queue, or by HTTP. Both carry the canonical JSON."""

import asyncio
import contextlib
from typing import Any, NoReturn, Self

import msgspec
from azure.core import AsyncPipelineClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.storage.queue import BinaryBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

from twin_actors.documents import WorkOrder
from twin_actors.errors import Unanswered, Unavailable
from twin_actors.sinks import Refused, Throttled
from twin_actors.sinks.tables import ANSWER_SECONDS, STORAGE_OPTIONS, Tables, answered, key_of

KEYS_TABLE = "workorderkeys"
"""Remembers which orders are in the queue."""

MAX_MESSAGE_BYTES = 48 * 1024
"""Of a queue message, before base64 makes it a third longer: the service takes 64 KiB."""

NEVER = -1
"""A message waits until somebody takes it; without this it would vanish after a week."""

PLACED = {409}
"""Besides 2xx: a receiver that answers so has the order."""

ELSEWHERE = {*range(300, 400), 404, 405}
"""No orders are taken at this address."""

LATER = {401, 403, 408, 429, *ELSEWHERE}
"""Answers below 500 that say nothing of the order: an operator or time mends them."""

_READ_BYTES = 4096
_SHOWN_LETTERS = 200

type Transport = AsyncHttpTransport[Any, AsyncHttpResponse]

_encode = msgspec.json.Encoder(order="deterministic").encode


def canonical_json(order: WorkOrder) -> bytes:
    """Return an order as other systems get it: the same bytes for the same order, UTF-8, times in RFC 3339 UTC."""
    return _encode(order)


class QueueWorkOrders:
    """`WorkOrders` as messages of a storage queue, in base64, as a queue trigger of Azure Functions reads them.

    An idempotency key is placed once: a row of the table ``workorderkeys`` remembers it. If this process dies after
    the message and before the row, or two place the same order at the same moment, there are two messages; each
    carries the key, by which its reader must tell.

    Parameters
    ----------
    queue
        Made with `STORAGE_OPTIONS` and an encoding, as the two class methods do.
    tables
        Keep the keys.
    """

    def __init__(self, queue: QueueClient, tables: Tables) -> None:
        self._queue = queue
        self._tables = tables

    @classmethod
    def from_connection_string(cls, connection_string: str, queue: str) -> Self:
        """Place orders in a queue of an account reached by connection string."""
        client = QueueClient.from_connection_string(
            connection_string, queue, message_encode_policy=BinaryBase64EncodePolicy(), **STORAGE_OPTIONS
        )
        return cls(client, Tables.from_connection_string(connection_string))

    @classmethod
    def from_addresses(
        cls, queue_address: str, table_address: str, queue: str, credential: AsyncTokenCredential
    ) -> Self:
        """Place orders in a queue reached by identity."""
        client = QueueClient(
            queue_address,
            queue,
            credential=credential,
            message_encode_policy=BinaryBase64EncodePolicy(),
            **STORAGE_OPTIONS,
        )
        return cls(client, Tables.from_address(table_address, credential))

    async def place(self, order: WorkOrder) -> None:
        """Hand over an order; the same idempotency key again is the same order."""
        message = canonical_json(order)
        if len(message) > MAX_MESSAGE_BYTES:
            raise Refused(f"order {order.idempotency_key}: {len(message)} bytes are more than {MAX_MESSAGE_BYTES}")
        keys = (key_of(order.twin_id), key_of(order.idempotency_key))
        if await self._tables.read(KEYS_TABLE, keys, ["RowKey"]) is not None:
            return
        await self._send(message)
        await self._tables.insert(KEYS_TABLE, {"PartitionKey": keys[0], "RowKey": keys[1]})

    async def close(self) -> None:
        """Let go of connections."""
        await self._queue.close()
        await self._tables.close()

    async def _send(self, message: bytes) -> None:
        place = f"queue {self._queue.queue_name}"
        try:
            async with answered(place, ResourceNotFoundError):
                await self._queue.send_message(message, time_to_live=NEVER)
                return
        except ResourceNotFoundError:
            async with answered(place):
                with contextlib.suppress(ResourceExistsError):
                    await self._queue.create_queue()
        async with answered(place):
            await self._queue.send_message(message, time_to_live=NEVER)


class HttpWorkOrders:
    """`WorkOrders` posted to an address, each with its ``Idempotency-Key``; redirects are not followed.

    Parameters
    ----------
    url : str
    credential, optional
        Whose token is sent; whoever made it closes it.
    scope : str
        What the token is for; empty for none.
    transport, optional
        In place of azure-core's own.
    """

    def __init__(
        self,
        url: str,
        credential: AsyncTokenCredential | None = None,
        scope: str = "",
        *,
        transport: Transport | None = None,
    ) -> None:
        self._url = url
        policies = [AsyncBearerTokenCredentialPolicy(credential, scope)] if credential and scope else []
        self._client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
            url, policies=policies, transport=transport or AioHttpTransport()
        )

    async def place(self, order: WorkOrder) -> None:
        """Hand over an order; the same idempotency key again is the same order."""
        request = HttpRequest(
            "POST",
            self._url,
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": order.idempotency_key,
                "Accept-Encoding": "identity",  # what is shown of the answer is text
            },
            content=canonical_json(order),
        )
        place = f"work order {order.idempotency_key}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._client.send_request(request, stream=True)
                async with response:
                    said = await _beginning(response)
        except ClientAuthenticationError as error:
            raise Unavailable(f"{place}: this worker gets no token: {error.message}") from error
        except (AzureError, TimeoutError) as error:
            raise Unanswered(f"{place}: no answer: {error!r}") from error
        if not (200 <= response.status_code < 300 or response.status_code in PLACED):
            _raise(place, response, said)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


async def _beginning(response: AsyncHttpResponse) -> str:
    """Return how an answer begins, and read no more of it."""
    data = b""
    async for piece in response.iter_raw():
        data += piece
        if len(data) >= _READ_BYTES:
            break
    return data[:_READ_BYTES].decode(errors="replace")[:_SHOWN_LETTERS]


def _raise(place: str, response: AsyncHttpResponse, text: str) -> NoReturn:
    status = response.status_code
    hint = "no orders are taken there, correct WorkOrdersUrl: " if status in ELSEWHERE else ""
    said = f"{place}: HTTP {status}: {hint}{text}"
    wait = response.headers.get("Retry-After", "")
    if status in {429, 503} and wait.isdigit():
        raise Throttled(float(wait))
    if status == 429:
        raise Throttled(1.0)
    if status in LATER:
        raise Unavailable(said)
    if status >= 500:
        raise Unanswered(said)
    raise Refused(said)
