"""Lists come in pages: how many at most, and a cursor that says where to go on."""

import base64
import binascii
import hashlib
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from functions.http.problems import Problem

MOST = 200
"""Of what one page has."""

_CHECK_BYTES = 8

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most; a page may have fewer.")]
Cursor = Annotated[
    str,
    Query(
        max_length=8192, description="Where to go on: `nextCursor` of the page before, asked with the same parameters."
    ),
]


class Page[Item](BaseModel):
    """Some items of a list."""

    items: list[Item]
    nextCursor: str | None = Field(  # noqa: N815  as JSON has it; an alias would not reach a generic's schema
        default=None, description="Ask with it for what follows; null at the end."
    )


def to_cursor(token: str, *asked: object) -> str | None:
    """Return a service's continuation token as a cursor of the list that was asked for; None at the end."""
    if not token:
        return None
    return base64.urlsafe_b64encode(_check(token, asked) + token.encode()).decode()


def from_cursor(cursor: str, *asked: object) -> str:
    """Return the token in a cursor; empty where there is none.

    Raises
    ------
    Problem
        It is not of this list.
    """
    if not cursor:
        return ""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        token = raw[_CHECK_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise bad_cursor() from None
    if raw[:_CHECK_BYTES] != _check(token, asked):
        raise bad_cursor()
    return token


def bad_cursor() -> Problem:
    """Return the problem that a list cannot go on where it is asked to."""
    detail = "the cursor is not one of this list with these parameters, or no longer: begin again without it"
    return Problem(400, "bad-cursor", "The cursor is not valid", detail)


def _check(token: str, asked: tuple[object, ...]) -> bytes:
    """Return a checksum: what a caller has cut, or takes to another list, never reaches a service."""
    return hashlib.blake2b(repr((token, asked)).encode(), digest_size=_CHECK_BYTES).digest()
