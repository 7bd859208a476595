"""What every keeper of documents promises, one function a promise: call each with one that is empty."""

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.twin_actors.world import START
from twin_actors.documents import Collection, Document
from twin_actors.sinks import Documents, Refused

type Promise = Callable[[Documents], Awaitable[None]]

ODD_IDS = [
    "a-.+%_#*?!(),:=@$'Z9",
    "a/b\\c",
    " ",
    "~",
    "\x7f",
    "\x01",
    "%2F",
    "é",
    "a&b",
    'q"q',
    "a..b",
    "a.~",
    "$count",
]


def document(
    twin_id: str = "pump-1", document_id: str = "hot-1", version: int = 0, status: str = "active", body: bytes = b"{}"
) -> Document:
    """A document, of the promises' usual twin."""
    time = START + version % 1000 / 8
    return Document(twin_id=twin_id, document_id=document_id, version=version, status=status, time=time, body=body)


async def every(documents: Documents, collection: Collection, limit: int, **wanted: str) -> list[Document]:
    """All pages of a list."""
    found: list[Document] = []
    token = ""
    while True:
        page = await documents.list(collection, limit=limit, token=token, **wanted)
        assert len(page.documents) <= limit
        found += page.documents
        if not (token := page.token):
            return found


async def what_is_put_is_got(documents: Documents) -> None:
    """Every field of it, in its collection only."""
    kept = document(version=7, body='{"text": "41 °C, \\u0000 🔥"}'.encode())
    await documents.put(Collection.ALERTS, kept)
    assert await documents.get(Collection.ALERTS, "pump-1", "hot-1") == kept
    assert await documents.get(Collection.EDITS, "pump-1", "hot-1") is None


async def what_was_never_put_is_none(documents: Documents) -> None:
    """Nor is it in a list, nor is anything that could not be kept."""
    assert await documents.get(Collection.ALERTS, "pump-1", "hot-1") is None
    assert await documents.get(Collection.ALERTS, "pump-1", "x" * 2000) is None
    assert await every(documents, Collection.ALERTS, 10) == []
    assert await every(documents, Collection.ALERTS, 10, twin_id="x" * 2000) == []


async def newer_replaces_older_in_any_order(documents: Documents) -> None:
    """The last one stands, also a version beyond 32 bits; of one version the first."""
    versions = [3, 1, 2**40, 2, 2**40 - 1]
    for version in versions:
        await documents.put(Collection.ALERTS, document(version=version, status=f"s{version}"))
    await documents.put(Collection.ALERTS, document(version=2**40, status="repeated"))
    kept = await documents.get(Collection.ALERTS, "pump-1", "hot-1")
    assert kept == document(version=2**40, status=f"s{2**40}")
    assert await every(documents, Collection.ALERTS, 10) == [kept]


async def writers_at_once_leave_the_newest(documents: Documents) -> None:
    """Whoever comes first."""
    for round_number in range(5):
        name = f"order-{round_number}"
        await asyncio.gather(
            *(
                documents.put(Collection.WORK_ORDERS, document(document_id=name, version=version))
                for version in (4, 1, 3, 2)
            )
        )
        kept = await documents.get(Collection.WORK_ORDERS, "pump-1", name)
        assert kept is not None
        assert kept.version == 4


async def one_of_many_creators_wins(documents: Documents) -> None:
    """And what it made stays."""
    tries = [document(status=f"s{number}") for number in range(5)]
    made = await asyncio.gather(*(documents.create(Collection.OPERATIONS, each) for each in tries))
    assert sum(made) == 1
    assert await documents.get(Collection.OPERATIONS, "pump-1", "hot-1") == tries[made.index(True)]
    assert not await documents.create(Collection.OPERATIONS, document(version=9))


async def a_put_goes_on_from_what_was_created(documents: Documents) -> None:
    """Apps create with version 0, the twin's owner puts what became of it."""
    assert await documents.create(Collection.OPERATIONS, document(status="accepted"))
    await documents.put(Collection.OPERATIONS, document(version=1, status="persisted"))
    kept = await documents.get(Collection.OPERATIONS, "pump-1", "hot-1")
    assert kept is not None
    assert kept.status == "persisted"


async def ids_may_have_any_letters(documents: Documents) -> None:
    """They come back as they were, in their order, and are told apart."""
    for odd in ODD_IDS:
        await documents.put(Collection.EDITS, document(odd, odd, body=odd.encode()))
    for odd in ODD_IDS:
        assert await documents.get(Collection.EDITS, odd, odd) == document(odd, odd, body=odd.encode())
        assert await every(documents, Collection.EDITS, 10, twin_id=odd) == [document(odd, odd, body=odd.encode())]
    assert [kept.twin_id for kept in await every(documents, Collection.EDITS, 10)] == sorted(ODD_IDS)


async def three_hundred_are_listed_by_pages(documents: Documents) -> None:
    """By twin and document, each once; those of one twin, one status, or both where asked."""
    kept = [
        document(f"pump-{twin}", f"hot-{number:02}", status="active" if number % 3 else "cleared")
        for twin in range(6)
        for number in range(50)
    ]
    shuffled = random.Random(1).sample(kept, len(kept))
    for start in range(0, len(shuffled), 30):
        await asyncio.gather(*(documents.put(Collection.ALERTS, each) for each in shuffled[start : start + 30]))
    assert await every(documents, Collection.ALERTS, 70) == kept
    assert await every(documents, Collection.ALERTS, 300) == kept
    assert await every(documents, Collection.ALERTS, 1500) == kept
    cleared = [each for each in kept if each.status == "cleared"]
    assert await every(documents, Collection.ALERTS, 7, status="cleared") == cleared
    assert await every(documents, Collection.ALERTS, 20, twin_id="pump-4") == kept[200:250]
    both = [each for each in cleared if each.twin_id == "pump-4"]
    assert await every(documents, Collection.ALERTS, 5, twin_id="pump-4", status="cleared") == both
    assert await every(documents, Collection.ALERTS, 5, twin_id="pump-") == []


async def a_page_is_as_long_as_asked(documents: Documents) -> None:
    """While there is more."""
    for number in range(5):
        await documents.put(Collection.ALERTS, document(document_id=str(number)))
    page = await documents.list(Collection.ALERTS, limit=2)
    assert [kept.document_id for kept in page.documents] == ["0", "1"]
    page = await documents.list(Collection.ALERTS, limit=2, token=page.token)
    assert [kept.document_id for kept in page.documents] == ["2", "3"]
    assert page.token


async def a_token_of_nobody_is_refused(documents: Documents) -> None:
    """It comes from an app."""
    for token in ("x", "!", "é", "[]", "W10=", "-1"):
        with pytest.raises(Refused):
            await documents.list(Collection.ALERTS, token=token)


async def a_large_body_is_kept(documents: Documents) -> None:
    """Up to 256 KiB, of any letters."""
    for name, body in (
        ("plain", b'"' + b"x" * (256 * 1024 - 2) + b'"'),
        ("wide", ("🔥" * (64 * 1024)).encode()),
        ("edge", ("é" * (16 * 1024)).encode()),
        ("empty", b""),
    ):
        await documents.put(Collection.EDITS, document(document_id=name, body=body))
        assert await documents.get(Collection.EDITS, "pump-1", name) == document(document_id=name, body=body)


async def a_short_body_replaces_a_long_one(documents: Documents) -> None:
    """All of it."""
    await documents.put(Collection.EDITS, document(body=b"x" * 100_000))
    await documents.put(Collection.EDITS, document(version=1, body=b"y"))
    assert await documents.get(Collection.EDITS, "pump-1", "hot-1") == document(version=1, body=b"y")


PROMISES: list[Promise] = [
    promise for name, promise in list(globals().items()) if inspect.iscoroutinefunction(promise) and name != "every"
]
