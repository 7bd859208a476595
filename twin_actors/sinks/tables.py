"""Table storage, as documents and work orders use it: keys, conditional writes, and what its failures mean."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn, Self

from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import TableEntity, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from twin_actors.errors import Unanswered, Unavailable
from twin_actors.sinks import Refused, Throttled

ANSWER_SECONDS = 10.0
"""How long one call may take before it counts as unanswered."""

STORAGE_OPTIONS: dict[str, Any] = {
    # No retries of the SDK's own: whether to send again is the caller's decision.
    "retry_total": 0,
    "connection_timeout": ANSWER_SECONDS,
    "read_timeout": ANSWER_SECONDS,
}

KEY_LENGTH = 512
"""UTF-16 units in a key: a kibibyte."""

ROWS_PER_REQUEST = 1000
"""The most rows that the service returns at once."""

type Row = Mapping[str, Any]
"""Columns by name, with ``PartitionKey`` and ``RowKey``."""


def _key_letters() -> dict[str, str]:
    r"""Return what stands for letters in a key.

    Keys may have neither ``/ \ # ?`` nor control letters, and ``%`` is known to make trouble in addresses. Each is
    written as the letter before it and one more, and the letter before it is doubled: so keys sort as the ids do.
    """
    letters = {}
    for forbidden in "#%/?\\":
        before = chr(ord(forbidden) - 1)
        letters[before] = before * 2
        letters[forbidden] = before + "~"
    letters |= {chr(code): " " + chr(code + 0x5D) for code in range(0x20)}
    letters[" "] = " ~"
    letters["~"] = "~~"
    letters |= {chr(code): "~" + chr(code + 0x100) for code in range(0x7F, 0xA0)}
    return letters


_LETTER_TO_KEY = _key_letters()
_KEY_TO_LETTER = {written: letter for letter, written in _LETTER_TO_KEY.items()}
_FIRST_OF_PAIR = {written[0] for written in _KEY_TO_LETTER}
_TO_KEY = str.maketrans(_LETTER_TO_KEY)


def key_of(text: str) -> str:
    """Return an id as a key: readable, reversible, and in the order of the ids.

    Raises
    ------
    Refused
        It is too long.
    """
    key = text.translate(_TO_KEY)
    if len(key.encode("utf-16-le")) > 2 * KEY_LENGTH:
        raise Refused(f"{text[:40]!r}… is too long for a key of table storage")
    return key


def text_of(key: str) -> str:
    """Return the id that `key_of` made a key of."""
    letters = iter(key)
    return "".join(_KEY_TO_LETTER[letter + next(letters)] if letter in _FIRST_OF_PAIR else letter for letter in letters)


class Tables:
    """The tables of one storage account; one that is missing is made when it is first written to.

    Parameters
    ----------
    client
        Made with `STORAGE_OPTIONS`, as the two class methods do.
    """

    def __init__(self, client: TableServiceClient) -> None:
        self._client = client
        self._tables: dict[str, TableClient] = {}

    @classmethod
    def from_connection_string(cls, connection_string: str) -> Self:
        """Return the tables of an account reached by connection string."""
        return cls(TableServiceClient.from_connection_string(connection_string, **STORAGE_OPTIONS))

    @classmethod
    def from_address(cls, address: str, credential: AsyncTokenCredential) -> Self:
        """Return the tables of an account reached by identity."""
        return cls(TableServiceClient(address, credential=credential, **STORAGE_OPTIONS))

    async def insert(self, table: str, row: Row) -> bool:
        """Write a row that must not exist; return whether it did not."""
        try:
            return await self._insert(table, row)
        except ResourceNotFoundError:
            await self._make(table)
        try:
            return await self._insert(table, row)
        except ResourceNotFoundError as error:
            raise Unavailable(f"table {table} was made and is not there") from error

    async def replace(self, table: str, row: Row, tag: str) -> bool:
        """Write a row in place of the one with this tag; return False where there is none, or another."""
        async with answered(f"table {table}"):
            try:
                await self._table(table).update_entity(
                    row, UpdateMode.REPLACE, etag=tag, match_condition=MatchConditions.IfNotModified
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
        return True

    async def read(self, table: str, keys: tuple[str, str], columns: list[str] | None = None) -> TableEntity | None:
        """Return a row, some of its columns where asked; None where there is none."""
        async with answered(f"table {table}"):
            try:
                return await self._table(table).get_entity(*keys, select=columns)
            except ResourceNotFoundError:
                return None

    async def page(
        self, table: str, equal: Mapping[str, str], limit: int, start: Row | None
    ) -> tuple[list[TableEntity], Row | None]:
        """Return rows by key, those with these values only, from a continuation on; and the next one.

        The service may return fewer than asked, even none, and go on.
        """
        query = " and ".join(f"{name} eq @{name}" for name in equal)
        pages = (
            self._table(table)
            .query_entities(query, parameters=dict(equal), results_per_page=min(limit, ROWS_PER_REQUEST))
            # The SDK's types say that a continuation is a text; of tables it is the pair of keys.
            .by_page(start)  # type: ignore[arg-type]
        )
        async with answered(f"table {table}"):
            try:
                rows = [row async for row in await anext(pages)]
            except (ResourceNotFoundError, StopAsyncIteration):
                return [], None
        following: Row | None = pages.continuation_token  # type: ignore[attr-defined]  # AsyncPageIterator has it
        return rows, following

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    def _table(self, name: str) -> TableClient:
        if name not in self._tables:
            self._tables[name] = self._client.get_table_client(name)
        return self._tables[name]

    async def _insert(self, table: str, row: Row) -> bool:
        async with answered(f"table {table}", ResourceNotFoundError):
            try:
                await self._table(table).create_entity(row)
            except ResourceExistsError:
                return False
        return True

    async def _make(self, table: str) -> None:
        async with answered(f"table {table}"):
            with contextlib.suppress(ResourceExistsError):
                await self._table(table).create_table()


@contextlib.asynccontextmanager
async def answered(place: str, *passed: type[AzureError]) -> AsyncIterator[None]:
    """Tell failures of a call to a storage account by what the runtime does about them; let some pass."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except passed:
        raise
    except ClientAuthenticationError as error:
        raise Unavailable(f"{place}: this worker is not let in: {_first_line(error)}") from error
    except HttpResponseError as error:
        _raise_by_status(place, error)
    except (AzureError, TimeoutError) as error:
        # The transport raises the same error whether a connection ends before or after the request was sent.
        raise Unanswered(f"{place}: no answer: {error!r}") from error


def _first_line(error: AzureError) -> str:
    """Return what went wrong, without the request ids and XML that follow it."""
    return str(error.message).partition("\n")[0]


def _raise_by_status(place: str, error: HttpResponseError) -> NoReturn:
    status = error.status_code or 0
    said = f"{place}: HTTP {status}: {_first_line(error)}"
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    wait = headers.get("Retry-After", "")
    if status == 429 or (status == 503 and wait):
        raise Throttled(float(wait) if wait.isdigit() else 1.0) from error
    if status in {401, 403, 404, 409}:  # 409: the table is being deleted
        raise Unavailable(said) from error
    if 400 <= status < 500 and status != 408:
        raise Refused(said) from error
    raise Unanswered(said) from error
