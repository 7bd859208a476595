"""Tokens, management, TLS, and what a wrong key or a missing hub looks like."""

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from datetime import UTC, datetime
from urllib.parse import quote_plus

import pytest
from azure.core.credentials import AccessToken
from azure.eventhub import EventData, TransportType
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventHubError

from local_emulator.certificates import ensure_certificates
from local_emulator.event_hubs import EventHubs, HubEvent, HubSpec

from .conftest import HUB, PARTITIONS, SECONDS, World, side_by_side

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


def producer_with(service: EventHubs, credential: Credential, hub: str = HUB) -> EventHubProducerClient:
    """A producer that shows this credential."""
    return EventHubProducerClient(f"127.0.0.1:{service.port}", hub, credential, use_tls=False, retry_total=0)


@side_by_side
async def test_properties_of_hub_and_partition(world: World) -> None:
    """An untouched partition is empty: nothing enqueued, in the year 1."""
    hub = await world.producer.get_eventhub_properties()
    assert hub["eventhub_name"] == HUB
    assert hub["partition_ids"] == [str(number) for number in range(PARTITIONS)]
    assert abs((datetime.now(UTC) - hub["created_at"]).total_seconds()) < HOUR
    again = await world.producer.get_eventhub_properties()
    assert again["created_at"] == hub["created_at"]

    empty = await world.producer.get_partition_properties("31")
    assert empty["is_empty"]
    assert (empty["beginning_sequence_number"], empty["last_enqueued_sequence_number"]) == (0, -1)
    assert empty["last_enqueued_offset"] == "-1"
    assert empty["last_enqueued_time_utc"].year == 1

    before = datetime.now(UTC)
    await world.service.publish(HUB, HubEvent(b"x"), partition_id="30")
    full = await world.producer.get_partition_properties("30")
    assert not full["is_empty"]
    assert (full["beginning_sequence_number"], full["last_enqueued_sequence_number"]) == (0, 0)
    assert full["last_enqueued_offset"] == "0"
    assert abs((full["last_enqueued_time_utc"] - before).total_seconds()) < SECONDS

    with pytest.raises(ConnectError, match="Status code: 400"):
        await world.producer.get_partition_properties("32")


@side_by_side
async def test_tokens_that_are_refused(world: World) -> None:
    """A wrong, expired or misdirected token, and any token for a missing hub, fails to authenticate."""
    cases = [
        (Credential(key="wrong"), HUB, 401),
        (Credential(seconds=-5), HUB, 401),
        (Credential(hub="small"), HUB, 401),
        (Credential(), "nowhere", 404),
    ]

    async def refused(credential: Credential, hub: str, status: int) -> None:
        async with producer_with(world.service, credential, hub) as client:
            with pytest.raises(AuthenticationError, match=f"Status code: {status}"):
                await client.send_event(EventData("x"))

    await asyncio.gather(*(refused(*case) for case in cases))


@side_by_side
async def test_token_that_expires_closes_the_link(world: World) -> None:
    """A receiver whose token ends is cut off, though its client believes that the token lasts."""
    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def on_error(_: object, error: Exception) -> None:
        if not failed.done():
            failed.set_result(error)

    async def on_event(_: object, __: object) -> None:
        return

    client = EventHubConsumerClient(
        f"127.0.0.1:{world.service.port}",
        HUB,
        "$Default",
        Credential(seconds=2),
        use_tls=False,
        retry_total=0,
        load_balancing_interval=0.1,
    )
    receiving = asyncio.create_task(client.receive(on_event, on_error=on_error, partition_id="0"))
    async with asyncio.timeout(SECONDS):
        error = await failed
    world.ending += [asyncio.create_task(client.close()), receiving]

    assert isinstance(error, EventHubError)
    assert error.error == "unauthorized-access"
    assert "'Listen' claim(s) are required" in error.message


@side_by_side
async def test_recreated_hub_is_another_hub(world: World) -> None:
    """Deleting closes links; the hub made anew is empty and has a new creation time."""
    world.service.create_hub(HubSpec("passing", 1))
    async with producer_with(world.service, Credential(), "passing") as client:
        await client.send_event(EventData("x"))
        first = world.service._namespace.hub("passing").created_at
        world.service.delete_hub("passing")
        with pytest.raises(EventHubError):
            await client.send_event(EventData("y"))
    world.service.create_hub(HubSpec("passing", 2))
    async with producer_with(world.service, Credential(), "passing") as client:
        second = await client.get_eventhub_properties()
        partition = await client.get_partition_properties("0")
    assert second["created_at"].timestamp() * 1000 > first
    assert second["partition_ids"] == ["0", "1"]
    assert partition["is_empty"]


@side_by_side
async def test_tls(world: World) -> None:
    """The same service behind TLS, as the SDK reaches it on any port."""
    certificates = ensure_certificates(world.folder / "certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert_file, certificates.key_file)
    async with EventHubs(world.folder / "tls", hubs=[HubSpec(HUB, 1)], tls=context) as service:
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
