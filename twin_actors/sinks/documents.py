"""Documents in Table storage: a table a collection, a partition a twin, a row a document.

Apps may read the tables themselves. The columns are Version, Status, Time and Body; a long body goes on in Body1,
Body2, …
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, Self

import msgspec
from azure.core.credentials_async import AsyncTokenCredential
from azure.data.tables import EdmType, TableEntity

from twin_actors.documents import Collection, Document
from twin_actors.errors import Unavailable
from twin_actors.sinks import Page, Refused
from twin_actors.sinks.tables import Row, Tables, key_of, text_of

MAX_BODY_BYTES = 256 * 1024

_COLUMN_LETTERS = 16 * 1024
"""Of a body in one column: at most 32 Ki UTF-16 units, whatever they are; the service takes no more."""

_ROUNDS = 8
"""How often a put that lost against another writer looks again."""


class TableDocuments:
    """`Documents` in Table storage; times are kept to the microsecond.

    Parameters
    ----------
    tables
        The storage account.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @classmethod
    def from_connection_string(cls, connection_string: str) -> Self:
        """Return the documents in an account reached by connection string."""
        return cls(Tables.from_connection_string(connection_string))

    @classmethod
    def from_address(cls, address: str, credential: AsyncTokenCredential) -> Self:
        """Return the documents in an account reached by identity."""
        return cls(Tables.from_address(address, credential))

    async def put(self, collection: Collection, document: Document) -> None:
        """Keep a document, unless one of a higher or the same version is kept."""
        row = _row_of(document)
        keys = (row["PartitionKey"], row["RowKey"])
        for _ in range(_ROUNDS):
            if await self._tables.insert(collection, row):
                return
            kept = await self._tables.read(collection, keys, ["Version"])
            if kept is None:
                continue
            if kept["Version"].value >= document.version:
                return
            if await self._tables.replace(collection, row, str(kept.metadata["etag"])):
                return
        raise Unavailable(f"{collection} {keys}: others write at the same time, put it again")

    async def create(self, collection: Collection, document: Document) -> bool:
        """Keep a document that must not exist; return whether it did not."""
        return await self._tables.insert(collection, _row_of(document))

    async def get(self, collection: Collection, twin_id: str, document_id: str) -> Document | None:
        """Return a document; None where there is none."""
        try:
            keys = (key_of(twin_id), key_of(document_id))
        except Refused:  # nothing of that name can be kept
            return None
        row = await self._tables.read(collection, keys)
        return None if row is None else _document_of(row)

    async def list(
        self, collection: Collection, *, twin_id: str = "", status: str = "", limit: int = 100, token: str = ""
    ) -> Page:
        """Return documents by twin id and document id, those of one twin or one status only where asked."""
        try:
            wanted = {"PartitionKey": key_of(twin_id), "Status": status}
        except Refused:  # nothing of that name can be kept
            return Page([])
        wanted = {name: value for name, value in wanted.items() if value}
        start = _continuation(token) if token else None
        documents: list[Document] = []
        while True:
            rows, start = await self._tables.page(collection, wanted, limit - len(documents), start)
            documents += map(_document_of, rows)
            if start is None or len(documents) >= limit:
                return Page(documents, _token(start) if start else "")

    async def close(self) -> None:
        """Let go of connections."""
        await self._tables.close()


def _row_of(document: Document) -> dict[str, Any]:
    """Return the row of a document."""
    place = f"document {document.document_id!r} of {document.twin_id}"
    if len(document.body) > MAX_BODY_BYTES:
        raise Refused(f"{place}: {len(document.body)} bytes are more than {MAX_BODY_BYTES}")
    try:
        body = document.body.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{place}: JSON is UTF-8, this is not: {error}") from error
    row = {
        "PartitionKey": key_of(document.twin_id),
        "RowKey": key_of(document.document_id),
        "Version": (document.version, EdmType.INT64),
        "Status": document.status,
        "Time": datetime.fromtimestamp(document.time, UTC),
    }
    for number, at in enumerate(range(0, max(len(body), 1), _COLUMN_LETTERS)):
        row[_column(number)] = body[at : at + _COLUMN_LETTERS]
    return row


def _document_of(row: TableEntity) -> Document:
    """Return the document in a row."""
    body = row["Body"]
    number = 1
    while (column := _column(number)) in row:
        body += row[column]
        number += 1
    return Document(
        twin_id=text_of(row["PartitionKey"]),
        document_id=text_of(row["RowKey"]),
        version=row["Version"].value,
        status=row["Status"],
        time=row["Time"].timestamp(),
        body=body.encode(),
    )


def _column(number: int) -> str:
    return f"Body{number or ''}"


class _Continuation(msgspec.Struct, array_like=True):
    """Where a list goes on, in the service's words."""

    partition_key: str
    row_key: str | None


def _token(start: Row) -> str:
    where = _Continuation(start["PartitionKey"], start["RowKey"])
    return base64.urlsafe_b64encode(msgspec.json.encode(where)).decode()


def _continuation(token: str) -> Row:
    try:
        where = msgspec.json.decode(base64.b64decode(token, altchars=b"-_", validate=True), type=_Continuation)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise Refused(f"{token[:40]!r} is not a token of this list") from error
    return {"PartitionKey": where.partition_key, "RowKey": where.row_key}
