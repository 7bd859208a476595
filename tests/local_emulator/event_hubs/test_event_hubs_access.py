"""Tokens, management, TLS, and what a wrong key or a missing hub looks like."""

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from azure.core.credentials import AccessToken
from azure.eventhub import EventData, TransportType
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventHubError

from local_emulator.certificates import ensure_certificates
from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec

from .conftest import HUB, PARTITIONS, SDK_DROPS_SOCKETS, SECONDS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), SDK_DROPS_SOCKETS]

HOUR = 3600


class Credential:
    """A shared access signature, made as Microsoft documents it; what the SDK believes may differ."""

    token_type = b"servicebus.windows.net:sastoken"

    def __init__(self, *, key: str = "SAS_KEY_VALUE", seconds: int = HOUR, hub: str | None = None) -> None:
        self.key = key
        self.seconds = seconds
        self.hub = hub

    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        """Sign the audience; the SDK is told that the token lasts."""
        audience = quote_plus(scopes[0] if self.hub is None else f"sb://anywhere/{self.hub}")
        expiry = int(time.time()) + self.seconds
        digest = hmac.digest(self.key.encode(), f"{audience}\n{expiry}".encode(), hashlib.sha256)
        signature = quote_plus(base64.b64encode(digest))
        token = f"SharedAccessSignature sr={audience}&sig={signature}&se={expiry}&skn=RootManageSharedAccessKey"
        return AccessToken(token, int(time.time()) + HOUR)


def producer_with(event_hubs: EventHubs, credential: Credential, hub: str = HUB) -> EventHubProducerClient:
    """A producer that shows this credential."""
    return EventHubProducerClient(f"127.0.0.1:{event_hubs.port}", hub, credential, use_tls=False, retry_total=0)


async def test_properties_of_hub_and_partition(event_hubs: EventHubs, producer: EventHubProducerClient) -> None:
    """An untouched partition is empty: nothing enqueued, in the year 1."""
    hub = await producer.get_eventhub_properties()
    assert hub["eventhub_name"] == HUB
    assert hub["partition_ids"] == [str(number) for number in range(PARTITIONS)]
    assert abs((datetime.now(UTC) - hub["created_at"]).total_seconds()) < HOUR
    again = await producer.get_eventhub_properties()
    assert again["created_at"] == hub["created_at"]

    empty = await producer.get_partition_properties("31")
    assert empty["is_empty"]
    assert (empty["beginning_sequence_number"], empty["last_enqueued_sequence_number"]) == (0, -1)
    assert empty["last_enqueued_offset"] == "-1"
    assert empty["last_enqueued_time_utc"].year == 1

    before = datetime.now(UTC)
    await event_hubs.publish(HUB, HubEvent(b"x"), partition_id="30")
    full = await producer.get_partition_properties("30")
    assert not full["is_empty"]
    assert (full["beginning_sequence_number"], full["last_enqueued_sequence_number"]) == (0, 0)
    assert full["last_enqueued_offset"] == "0"
    assert abs((full["last_enqueued_time_utc"] - before).total_seconds()) < SECONDS

    with pytest.raises(ConnectError, match="Status code: 400"):
        await producer.get_partition_properties("32")


async def test_tokens_that_are_refused(event_hubs: EventHubs) -> None:
    """A wrong, expired or misdirected token, and any token for a missing hub, fails to authenticate."""
    cases = [
        (Credential(key="wrong"), HUB, 401),
        (Credential(seconds=-5), HUB, 401),
        (Credential(hub="small"), HUB, 401),
        (Credential(), "nowhere", 404),
    ]

    async def refused(credential: Credential, hub: str, status: int) -> None:
        async with producer_with(event_hubs, credential, hub) as client:
            with pytest.raises(AuthenticationError, match=f"Status code: {status}"):
                await client.send_event(EventData("x"))

    await asyncio.gather(*(refused(*case) for case in cases))


async def test_token_that_expires_closes_the_link(event_hubs: EventHubs) -> None:
    """A receiver whose token ends is cut off, though its client believes that the token lasts."""
    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def on_error(_: object, error: Exception) -> None:
        if not failed.done():
            failed.set_result(error)

    async def on_event(_: object, __: object) -> None:
        return

    client = EventHubConsumerClient(
        f"127.0.0.1:{event_hubs.port}",
        HUB,
        "$Default",
        Credential(seconds=3),
        use_tls=False,
        retry_total=0,
        load_balancing_interval=0.1,
    )
    receiving = asyncio.create_task(client.receive(on_event, on_error=on_error, partition_id="0"))
    async with asyncio.timeout(SECONDS):
        error = await failed
    await client.close()
    await receiving

    assert isinstance(error, EventHubError)
    assert error.error == "unauthorized-access"
    assert "'Listen' claim(s) are required" in error.message


async def test_recreated_hub_is_another_hub(event_hubs: EventHubs) -> None:
    """Deleting cuts clients off; the hub made anew is empty and has a new creation time."""
    event_hubs.create_hub(HubSpec("passing", 1))
    async with producer_with(event_hubs, Credential(), "passing") as client:
        await client.send_event(EventData("x"))
        first = await client.get_eventhub_properties()
        event_hubs.delete_hub("passing")
        with pytest.raises(EventHubError):
            await client.send_event(EventData("y"))
    event_hubs.create_hub(HubSpec("passing", 2))
    async with producer_with(event_hubs, Credential(), "passing") as client:
        second = await client.get_eventhub_properties()
        partition = await client.get_partition_properties("0")
    assert second["created_at"] > first["created_at"]
    assert second["partition_ids"] == ["0", "1"]
    assert partition["is_empty"]


async def test_tls(tmp_path: Path) -> None:
    """The same service behind TLS, as the SDK reaches it on any port."""
    certificates = ensure_certificates(tmp_path / "certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert_file, certificates.key_file)
    async with EventHubs(tmp_path / "hubs", hubs=[HubSpec(HUB, 1)], tls=context) as service:
        async with EventHubProducerClient.from_connection_string(
            service.connection_string,
            eventhub_name=HUB,
            custom_endpoint_address=f"sb://127.0.0.1:{service.port}",
            transport_type=TransportType.Amqp,
            connection_verify=str(certificates.bundle_file),
            retry_total=0,
        ) as client:
            await client.send_batch([EventData("secret")])
            partition = await client.get_partition_properties("0")
        assert partition["last_enqueued_sequence_number"] == 0
