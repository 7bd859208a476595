"""Reads from the graph: parts of queries that are safe, pages of rows, errors told apart."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.digitaltwins.core.aio import DigitalTwinsClient

from functions.http.paging import bad_cursor
from functions.http.problems import Problem, not_found
from twin_actors.errors import Unavailable
from twin_actors.sinks import Throttled

type Row = Mapping[str, Any]
"""A twin, a relationship, or what a query has projected, as the service's JSON has it."""


def literal(text: str) -> str:
    """Return text as a literal of the query language."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def select(collection: str, *conditions: str, columns: str = "*") -> str:
    """Return the query for what of a collection fits all conditions; their values are `literal`."""
    clause = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {columns} FROM {collection}{clause}"  # noqa: S608  texts of callers come in as literals only


async def rows(client: DigitalTwinsClient, query: str, size: int, token: str = "") -> tuple[list[Row], str]:
    """Return one page of a query, and the token of the next; no token at the end.

    Raises
    ------
    Problem
        The token is no longer good.
    Unavailable
    """
    # The client's own option for the size of a page is broken: the header is what it would have sent.
    pages: Any = client.query_twins(query, headers={"max-items-per-page": str(size)}).by_page(token or None)
    async with _answering(bad_cursor() if token else None):
        page = [row async for row in await anext(pages)]
    return page, pages.continuation_token or ""


async def twin(client: DigitalTwinsClient, twin_id: str) -> Row:
    """Return one twin.

    Raises
    ------
    Problem
        There is none.
    Unavailable
    """
    # What cannot name a twin there is none.
    async with _answering(no_twin(twin_id)):
        try:
            return await client.get_digital_twin(twin_id)
        except ResourceNotFoundError:
            raise no_twin(twin_id) from None


async def has_model(client: DigitalTwinsClient, model: str) -> bool:
    """Whether the graph has a model."""
    async with _answering():
        try:
            await client.get_model(model)
        except ResourceNotFoundError:
            return False
    return True


def no_twin(twin_id: str) -> Problem:
    """Return the problem that a twin does not exist."""
    return not_found("twin", f"twin {twin_id} is not in the graph; GET /api/twins lists those that are")


@contextlib.asynccontextmanager
async def _answering(if_invalid: Problem | None = None) -> AsyncIterator[None]:
    """Translate the errors of the service, among them what a 400 means here."""
    try:
        yield
    except HttpResponseError as error:
        if error.status_code == 429:
            headers: Mapping[str, str] = getattr(error.response, "headers", {})
            wait = headers.get("Retry-After", "1")
            raise Throttled(float(wait) if wait.isdigit() else 1.0) from error
        if error.status_code == 400 and if_invalid is not None:
            raise if_invalid from error
        raise Unavailable(f"Azure Digital Twins answers {error.status_code}") from error
    except (AzureError, TimeoutError) as error:
        raise Unavailable("Azure Digital Twins does not answer") from error
