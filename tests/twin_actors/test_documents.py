"""Documents in memory and in tables keep the same promises; the tables tell their faults apart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
from aiohttp import web
from azure.core.credentials import AzureNamedKeyCredential
from azure.data.tables.aio import TableServiceClient
from hypothesis import given
from hypothesis import strategies as st

from tests.twin_actors.document_contract import PROMISES, Promise, document
from tests.twin_actors.world import START
from twin_actors.documents import Collection
from twin_actors.errors import Unanswered, Unavailable
from twin_actors.sinks import Refused, Throttled
from twin_actors.sinks.documents import TableDocuments
from twin_actors.sinks.memory import MemoryDocuments
from twin_actors.sinks.tables import STORAGE_OPTIONS, Tables, key_of, text_of

each_promise = pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)


@pytest.fixture
async def tables(storage: str) -> AsyncIterator[TableServiceClient]:
    """The table service, without tables."""
    async with TableServiceClient.from_connection_string(storage, **STORAGE_OPTIONS) as client:
        for name in Collection:
            await client.delete_table(name)
        yield client


@pytest.fixture
async def documents(storage: str, tables: TableServiceClient) -> AsyncIterator[TableDocuments]:
    """Documents in tables that do not exist yet."""
    assert [table.name async for table in tables.list_tables() if table.name in set(Collection)] == []
    kept = TableDocuments.from_connection_string(storage)
    yield kept
    await kept.close()


@each_promise
async def test_memory(promise: Promise) -> None:
    """The documents in memory."""
    await promise(MemoryDocuments())


@each_promise
async def test_tables(promise: Promise, documents: TableDocuments) -> None:
    """The documents in Table storage."""
    await promise(documents)


async def test_they_outlive_their_writer(storage: str, documents: TableDocuments) -> None:
    """Another worker finds them, and goes on from their version."""
    await documents.put(Collection.ALERTS, document(version=5))
    other = TableDocuments.from_connection_string(storage)
    try:
        await other.put(Collection.ALERTS, document(version=4, status="late"))
        assert await other.get(Collection.ALERTS, "pump-1", "hot-1") == document(version=5)
        await other.put(Collection.ALERTS, document(version=6, status="cleared"))
    finally:
        await other.close()
    assert await documents.get(Collection.ALERTS, "pump-1", "hot-1") == document(version=6, status="cleared")


async def test_two_workers_write_at_once(storage: str, documents: TableDocuments) -> None:
    """Each with connections of its own; the newest of every document stands."""
    other = TableDocuments.from_connection_string(storage)
    try:
        for version in range(1, 30, 2):
            await asyncio.gather(
                documents.put(Collection.ALERTS, document(version=version)),
                other.put(Collection.ALERTS, document(version=version + 1)),
            )
            kept = await documents.get(Collection.ALERTS, "pump-1", "hot-1")
            assert kept is not None
            assert kept.version == version + 1
    finally:
        await other.close()


async def test_apps_read_the_columns(tables: TableServiceClient, documents: TableDocuments) -> None:
    """The table is as it is described."""
    await documents.put(Collection.ALERTS, document("pump#1", "hot-1", version=3, body=b"x" * 40_000))
    async with tables.get_table_client("alerts") as table:
        rows = [row async for row in table.list_entities()]
    (row,) = rows
    assert (row["PartitionKey"], row["RowKey"]) == ('pump"~1', "hot-1")
    assert (row["Version"].value, row["Version"].edm_type, row["Status"]) == (3, "Edm.Int64", "active")
    assert row["Time"] == datetime.fromtimestamp(START + 3 / 8, UTC)
    assert row["Body"] + row["Body1"] + row["Body2"] == "x" * 40_000
    assert set(row) == {"PartitionKey", "RowKey", "Version", "Status", "Time", "Body", "Body1", "Body2"}


@given(first=st.text(max_size=40), second=st.text(max_size=40))
def test_keys_are_reversible_and_in_order(first: str, second: str) -> None:
    """Whatever the letters; and none that the service forbids is left."""
    assert text_of(key_of(first)) == first
    assert (key_of(first) < key_of(second)) == (first < second)
    assert not any(letter in "/\\#?%" or letter < " " or "\x7f" <= letter < "\xa0" for letter in key_of(first))


@pytest.mark.parametrize(
    ("twin_id", "body"),
    [("x" * 513, b"{}"), ("#" * 300, b"{}"), ("pump-1", b"x" * (256 * 1024 + 1)), ("pump-1", b"\xff")],
)
async def test_what_cannot_be_kept_is_refused(documents: TableDocuments, twin_id: str, body: bytes) -> None:
    """Too long an id, too long a body, bytes that are no text."""
    with pytest.raises(Refused):
        await documents.put(Collection.ALERTS, document(twin_id, body=body))
    with pytest.raises(Refused):
        await documents.create(Collection.ALERTS, document(twin_id, body=body))


async def test_a_table_that_is_gone_is_made_again(tables: TableServiceClient, documents: TableDocuments) -> None:
    """As at the first start."""
    await documents.put(Collection.ALERTS, document())
    await tables.delete_table("alerts")
    assert await documents.get(Collection.ALERTS, "pump-1", "hot-1") is None
    assert (await documents.list(Collection.ALERTS)).documents == []
    await documents.put(Collection.ALERTS, document())
    assert await documents.get(Collection.ALERTS, "pump-1", "hot-1") == document()


class Tablet:
    """A table service that answers as it is told, and counts what it was asked."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[str] = []
        self.documents: TableDocuments

    async def answer(self, request: web.Request) -> web.Response:
        """Give the next answer; the last one again and again."""
        self.asked.append(request.method)
        answer = self.answers.pop(0)
        if not self.answers:
            self.answers.append(web.Response(status=answer.status, headers=answer.headers, body=answer.body))
        return answer


@pytest.fixture
async def tablet() -> AsyncIterator[Tablet]:
    """A service with documents that are written to it."""
    service = Tablet()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    credential = AzureNamedKeyCredential("account", "a2V5")
    service.documents = TableDocuments(
        Tables(
            TableServiceClient(f"http://127.0.0.1:{runner.addresses[0][1]}", credential=credential, **STORAGE_OPTIONS)
        )
    )
    yield service
    await service.documents.close()
    await runner.cleanup()


def said(status: int, code: str = "", **headers: str) -> web.Response:
    """An answer in the service's form."""
    error = {"odata.error": {"code": code, "message": {"lang": "en-us", "value": code}}}
    return web.json_response(error, status=status, headers=headers)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: said(500, "InternalError"), Unanswered),
        (lambda: said(503, "ServerBusy"), Unanswered),
        (lambda: said(408, "OperationTimedOut"), Unanswered),
        (lambda: said(400, "PropertyValueTooLarge"), Refused),
        (lambda: said(413, "RequestBodyTooLarge"), Refused),
        (lambda: said(403, "AuthorizationFailure"), Unavailable),
        (lambda: said(404, "TableNotFound"), Unavailable),
    ],
)
async def test_faults_are_told_apart(
    tablet: Tablet, answer: Callable[[], web.Response], error: type[Exception]
) -> None:
    """By what the runtime does about them."""
    tablet.answers = [answer()]
    with pytest.raises(error) as raised:
        await tablet.documents.put(Collection.ALERTS, document())
    assert type(raised.value) is error


async def test_a_busy_service_says_when(tablet: Tablet) -> None:
    """And is not asked before."""
    tablet.answers = [said(503, "ServerBusy", **{"Retry-After": "7"})]
    with pytest.raises(Throttled) as raised:
        await tablet.documents.list(Collection.ALERTS)
    assert raised.value.retry_after_seconds == 7
    assert tablet.asked == ["GET"]


async def test_a_put_gives_up_in_the_end(tablet: Tablet) -> None:
    """Where others write without a break; it is put again later."""
    kept = web.json_response(
        {"odata.etag": 'W/"1"', "Version": "1", "Version@odata.type": "Edm.Int64"}, headers={"ETag": 'W/"1"'}
    )
    rounds = [
        answer
        for _ in range(8)
        for answer in (
            said(409, "EntityAlreadyExists"),
            web.Response(status=200, headers=kept.headers, body=kept.body),
            said(412, "UpdateConditionNotSatisfied"),
        )
    ]
    tablet.answers = [*rounds, web.Response(status=204)]
    with pytest.raises(Unavailable, match="put it again"):
        await tablet.documents.put(Collection.ALERTS, document(version=2))
    assert tablet.asked == ["POST", "GET", "PUT"] * 8


async def test_no_service_is_unanswered() -> None:
    """A write may have happened, for all its sender knows."""
    nowhere = TableServiceClient(
        "http://127.0.0.1:1", credential=AzureNamedKeyCredential("account", "a2V5"), **STORAGE_OPTIONS
    )
    documents = TableDocuments(Tables(nowhere))
    try:
        with pytest.raises(Unanswered):
            await documents.put(Collection.ALERTS, document())
        with pytest.raises(Unavailable):
            await documents.get(Collection.ALERTS, "pump-1", "hot-1")
    finally:
        await documents.close()
