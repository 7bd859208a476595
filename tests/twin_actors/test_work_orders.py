"""Work orders reach a queue and an HTTP address as canonical JSON, one for each idempotency key."""

import asyncio
import base64
import contextlib
import dataclasses
import itertools
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local_emulator.certificates import ensure_certificates
from tests.twin_actors.test_settings import GOOD
from tests.twin_actors.world import START
from twin_actors.documents import Collection, Reason, WorkOrder, moment
from twin_actors.errors import Unanswered, Unavailable
from twin_actors.settings import Connection, read_settings
from twin_actors.sinks import Refused, Throttled, WorkOrders, work_orders
from twin_actors.sinks.memory import MemoryWorkOrders
from twin_actors.sinks.tables import STORAGE_OPTIONS
from twin_actors.sinks.work_orders import HttpWorkOrders, QueueWorkOrders, canonical_json

REASON = Reason(
    rule="failure-near",
    signal="remainingUsefulLifeDays",
    value=5.5,
    limit=7.0,
    since=moment(START - 60),
    position="3-1041",
    reading_time=moment(START),
    values={"vibration": 7.1, "flow": 0.02},
    prediction_model="pump-rul-1",
    twin_model="dtmi:twinfold:Pump;1",
    layout=2,
    state_version=812,
)
ORDER = WorkOrder(
    order_id="pump#1-order-1",
    revision=2,
    idempotency_key="pump#1-order-1.2",
    twin_id="pump#1",
    twin_model="dtmi:twinfold:Pump;1",
    priority="critical",
    title="pump#1: failure-near",
    text="Take it out of service at 80 °C, repair it.",
    created=moment(START),
    due=moment(START + 4.5 * 86400),
    remaining_useful_life_days=5.5,
    remaining_useful_life_days_lower=4.5,
    remaining_useful_life_days_upper=7.25,
    alerts=["failure-near-2"],
    reason=REASON,
)

_queues = itertools.count()


class Office:
    """An HTTP address that takes orders, and remembers each key."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Any] = []
        self.known: set[str] = set()
        self.respond: Callable[[], web.StreamResponse] | None = None
        self.held: asyncio.Event | None = None
        self.url = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer 201 to a new key and 409 to a known one, unless told otherwise."""
        self.headers.append(request.headers)
        self.bodies.append(await request.read())
        if self.held is not None:
            await self.held.wait()
        if self.respond is not None:
            return self.respond()
        key = request.headers["Idempotency-Key"]
        answer = web.json_response({"order": key}, status=409 if key in self.known else 201)
        self.known.add(key)
        return answer


@contextlib.asynccontextmanager
async def _open_office(tls: ssl.SSLContext | None = None) -> AsyncIterator[Office]:
    taking = Office()
    app = web.Application()
    app.router.add_post("/orders", taking.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    taking.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/orders"
    try:
        yield taking
    finally:
        await runner.cleanup()


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    """An office on loopback."""
    async with _open_office() as taking:
        yield taking


@pytest.fixture
async def queue(storage: str) -> AsyncIterator[QueueClient]:
    """A queue of this test's own, which does not exist yet."""
    async with QueueClient.from_connection_string(storage, f"orders-{next(_queues)}", **STORAGE_OPTIONS) as client:
        yield client


@pytest.fixture
async def queued(storage: str, queue: QueueClient) -> AsyncIterator[QueueWorkOrders]:
    """Orders that go to the queue."""
    orders = QueueWorkOrders.from_connection_string(storage, queue.queue_name)
    yield orders
    await orders.close()


@pytest.fixture
async def posted(office: Office) -> AsyncIterator[HttpWorkOrders]:
    """Orders that go to the office."""
    orders = HttpWorkOrders(office.url)
    yield orders
    await orders.close()


async def messages(queue: QueueClient) -> list[bytes]:
    """What is in the queue, as a trigger reads it, oldest first."""
    return [base64.b64decode(message.content, validate=True) async for message in queue.receive_messages()]


def order(name: str, revision: int = 1) -> WorkOrder:
    """Another order."""
    return msgspec.structs.replace(
        ORDER, order_id=name, revision=revision, idempotency_key=f"{name}.{revision}", twin_id=name
    )


async def _place_again_and_again(orders: WorkOrders, prefix: str = "") -> None:
    """The keys are of an account, so a test's orders have names of their own."""
    for name, revision in (("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 1)):
        await orders.place(order(prefix + name, revision))


ONCE = [("a", 1), ("b", 1), ("a", 2)]


async def test_memory_has_each_key_once() -> None:
    """However often it is placed."""
    orders = MemoryWorkOrders()
    await _place_again_and_again(orders)
    assert [(each.order_id, each.revision) for each in orders.orders.values()] == ONCE


async def test_the_queue_has_each_key_once(queued: QueueWorkOrders, queue: QueueClient) -> None:
    """However often it is placed."""
    prefix = f"{queue.queue_name}-"
    await _place_again_and_again(queued, prefix)
    placed = [msgspec.json.decode(message, type=WorkOrder) for message in await messages(queue)]
    assert [(each.order_id.removeprefix(prefix), each.revision) for each in placed] == ONCE


async def test_another_worker_knows_what_was_placed(storage: str, queued: QueueWorkOrders, queue: QueueClient) -> None:
    """The keys outlive their writer."""
    mine = order(queue.queue_name)
    await queued.place(mine)
    other = QueueWorkOrders.from_connection_string(storage, queue.queue_name)
    try:
        await other.place(mine)
    finally:
        await other.close()
    assert len(await messages(queue)) == 1


async def test_a_message_is_the_canonical_json(queued: QueueWorkOrders, queue: QueueClient) -> None:
    """It waits until it is taken, and its reader finds all that was ordered."""
    mine = order(queue.queue_name)
    await queued.place(mine)
    (received,) = [message async for message in queue.receive_messages()]
    content = base64.b64decode(received.content, validate=True)
    assert content == canonical_json(mine)
    assert received.expires_on > datetime(9000, 1, 1, tzinfo=UTC)


async def test_a_lost_row_repeats_the_message(storage: str, queue: QueueClient) -> None:
    """A worker that dies between the message and the row: twice the same key, never none."""
    mine = order(queue.queue_name)

    class Dies(work_orders.Tables):
        async def insert(self, table: str, row: Any) -> bool:
            raise Unanswered(f"{table} {row}: the process ended here")

    client = QueueClient.from_connection_string(
        storage, queue.queue_name, message_encode_policy=work_orders.BinaryBase64EncodePolicy(), **STORAGE_OPTIONS
    )
    dying = QueueWorkOrders(client, Dies.from_connection_string(storage))
    living = QueueWorkOrders.from_connection_string(storage, queue.queue_name)
    try:
        with pytest.raises(Unanswered):
            await dying.place(mine)
        await living.place(mine)
        await living.place(mine)
    finally:
        await dying.close()
        await living.close()
    assert await messages(queue) == [canonical_json(mine)] * 2


async def test_an_order_that_fits_no_message_is_refused(queued: QueueWorkOrders, queue: QueueClient) -> None:
    """Nothing of it is kept."""
    large = msgspec.structs.replace(order(queue.queue_name), text="x" * 50_000)
    with pytest.raises(Refused, match="49152"):
        await queued.place(large)
    fits = msgspec.structs.replace(large, text="x" * 47_000)
    await queued.place(fits)
    assert await messages(queue) == [canonical_json(fits)]


async def test_a_queue_that_is_gone_is_made_again(storage: str, queued: QueueWorkOrders, queue: QueueClient) -> None:
    """As at the first start."""
    await queued.place(order(f"{queue.queue_name}-1"))
    async with QueueServiceClient.from_connection_string(storage, **STORAGE_OPTIONS) as service:
        await service.delete_queue(queue.queue_name)
    await queued.place(order(f"{queue.queue_name}-2"))
    assert len(await messages(queue)) == 1


async def test_no_storage_is_unavailable() -> None:
    """The order is placed again later."""
    nowhere = "AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:1/a;TableEndpoint=http://127.0.0.1:1/a"
    orders = QueueWorkOrders.from_connection_string(nowhere, "orders")
    try:
        with pytest.raises(Unavailable):
            await orders.place(ORDER)
    finally:
        await orders.close()


async def test_the_office_gets_each_key_once(posted: HttpWorkOrders, office: Office) -> None:
    """A repeat is answered 409, and is as good as placed."""
    await _place_again_and_again(posted)
    assert office.known == {"a.1", "b.1", "a.2"}
    assert len(office.bodies) == 6


async def test_the_office_gets_the_canonical_json(posted: HttpWorkOrders, office: Office) -> None:
    """With its key and no token."""
    await posted.place(ORDER)
    assert office.bodies == [canonical_json(ORDER)]
    (headers,) = office.headers
    assert headers["Idempotency-Key"] == "pump#1-order-1.2"
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers


def test_the_json_is_canonical() -> None:
    """Names in camel case, times in UTC, the same bytes whatever came first."""
    body = json.loads(canonical_json(ORDER))
    assert body["orderId"] == "pump#1-order-1"
    assert body["idempotencyKey"] == "pump#1-order-1.2"
    assert body["created"] == "2023-11-14T22:13:20Z"
    assert body["remainingUsefulLifeDaysLower"] == 4.5
    assert body["reason"]["values"] == {"flow": 0.02, "vibration": 7.1}
    turned = dict(reversed(REASON.values.items()))
    same = msgspec.structs.replace(ORDER, reason=msgspec.structs.replace(REASON, values=turned))
    assert canonical_json(same) == canonical_json(ORDER)
    assert "°".encode() in canonical_json(ORDER)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Refused),
        (406, Refused),
        (422, Refused),
        (401, Unavailable),
        (403, Unavailable),
        (408, Unavailable),
        (302, Unavailable),
        (307, Unavailable),
        (404, Unavailable),
        (405, Unavailable),
        (429, Throttled),
        (500, Unanswered),
        (503, Unanswered),
    ],
)
async def test_answers_are_told_apart(
    posted: HttpWorkOrders, office: Office, status: int, error: type[Exception]
) -> None:
    """By what the runtime does about them; what was said is told, redirects are not followed."""
    headers = {"Location": office.url.replace("orders", "elsewhere")}
    office.respond = lambda: web.Response(status=status, headers=headers, text="no order of yours. " * 100)
    with pytest.raises(error) as raised:
        await posted.place(ORDER)
    assert type(raised.value) is error
    assert len(office.bodies) == 1
    if error is not Throttled:
        hint = "no orders are taken there, correct WorkOrdersUrl: " if status in {302, 307, 404, 405} else ""
        shown = ("no order of yours. " * 100)[:200]
        assert str(raised.value) == f"work order {ORDER.idempotency_key}: HTTP {status}: {hint}{shown}"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 409])
async def test_these_mean_that_it_is_placed(posted: HttpWorkOrders, office: Office, status: int) -> None:
    """Whatever the body."""
    office.respond = lambda: web.Response(status=status, body=None if status == 204 else b"x" * 1_000_000)
    await posted.place(ORDER)
    await posted.place(ORDER)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_office_says_when(posted: HttpWorkOrders, office: Office, status: int) -> None:
    """And is not asked before."""
    office.respond = lambda: web.Response(status=status, headers={"Retry-After": "30"})
    with pytest.raises(Throttled) as raised:
        await posted.place(ORDER)
    assert raised.value.retry_after_seconds == 30


async def test_no_answer_is_unanswered(posted: HttpWorkOrders, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order may have been taken, for all its sender knows."""
    monkeypatch.setattr(work_orders, "ANSWER_SECONDS", 0.2)
    office.held = asyncio.Event()
    with pytest.raises(Unanswered, match="TimeoutError"):
        await posted.place(ORDER)
    office.held.set()
    assert office.bodies == [canonical_json(ORDER)]


async def test_nobody_there_is_unanswered() -> None:
    """Placed again later."""
    orders = HttpWorkOrders("http://127.0.0.1:1/orders")
    try:
        with pytest.raises(Unanswered):
            await orders.place(ORDER)
    finally:
        await orders.close()


class Identity:
    """Has a token, or none; remembers for what it was asked."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.asked: list[str] = []

    async def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        """Give the token, or fail as an identity library does."""
        self.asked += scopes
        if not self.token:
            raise ClientAuthenticationError("no identity here")
        return AccessToken(self.token, int(time.time()) + 3600)

    async def close(self) -> None:
        """Have nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Have nothing to close."""


async def test_without_a_token_nothing_is_sent() -> None:
    """It is asked for the scope that the operator set."""
    identity = Identity("")
    orders = HttpWorkOrders("https://127.0.0.1:1/orders", identity, "api://orders/.default")
    try:
        with pytest.raises(Unavailable, match="no identity here"):
            await orders.place(ORDER)
    finally:
        await orders.close()
    assert identity.asked == ["api://orders/.default"]


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_token_goes_to_an_office_with_a_good_certificate(tmp_path: Path, trusted: bool) -> None:
    """And to nobody else."""
    certificates = ensure_certificates(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.cert_file, certificates.key_file)
    transport = AioHttpTransport(connection_verify=str(certificates.ca_file) if trusted else True)
    async with _open_office(tls) as office:
        orders = HttpWorkOrders(office.url, Identity("secret"), "api://orders/.default", transport=transport)
        try:
            if trusted:
                await orders.place(ORDER)
            else:
                with pytest.raises(Unanswered, match="certificate verify failed"):
                    await orders.place(ORDER)
        finally:
            await orders.close()
        assert [headers["Authorization"] for headers in office.headers] == ["Bearer secret"] * trusted


async def test_settings_choose_the_side(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue unless there is an address; by connection string or identity; a token where a scope is set."""
    from functions import wiring

    identity = Identity("secret")
    monkeypatch.setattr(wiring, "credential", lambda: identity)
    by_identity = read_settings(GOOD)
    by_string = dataclasses.replace(
        by_identity, table_storage=Connection(storage), queue_storage=Connection(storage), work_order_queue="wired"
    )
    for settings, side in (
        (by_string, QueueWorkOrders),
        (by_identity, QueueWorkOrders),
        (dataclasses.replace(by_string, work_orders_url="https://127.0.0.1:1"), HttpWorkOrders),
    ):
        placed, kept = wiring.make_work_orders(settings), wiring.make_documents(settings)
        assert isinstance(placed, side)
        if settings is by_string:
            await placed.place(order("wired"))
            assert await kept.get(Collection.ALERTS, "nobody", "x") is None
        await placed.close()
        await kept.close()
    assert identity.asked == []
    scoped = dataclasses.replace(by_string, work_orders_url="https://127.0.0.1:1", work_orders_scope="api://x/.default")
    placed = wiring.make_work_orders(scoped)
    with pytest.raises(Unanswered):
        await placed.place(ORDER)
    await placed.close()
    assert identity.asked == ["api://x/.default"]
