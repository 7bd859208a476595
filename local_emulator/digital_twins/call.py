"""One request and its answer, free of HTTP's mechanics."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from . import errors
from .state import Graph

type Json = Any
"""A JSON value of any form."""

OLDEST_API = "2020-10-31"
API_VERSIONS = (OLDEST_API, "2022-05-31", "2023-06-30", "2023-10-31")


@dataclass(frozen=True, slots=True)
class Call:
    """A request, taken apart.

    Attributes
    ----------
    graph
        What the service remembers.
    names
        The variable segments of the path, decoded.
    query
        The query parameters, each with all its values.
    headers
        The headers by lower-case name.
    body
        The body as sent.
    api_version
        The version of the interface asked for.
    path
        The path as sent, for links to further pages.
    base_url
        Scheme and host as the caller knows them.
    """

    graph: Graph
    names: Sequence[str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    api_version: str
    path: str
    base_url: str

    def json(self) -> Json:
        """Decode the body."""
        if not self.body.strip():
            raise errors.empty_body()
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise errors.invalid_argument(f"Payload is invalid. {error}") from error

    def parameter(self, name: str) -> str | None:
        """Give the last value of a query parameter."""
        values = self.query.get(name)
        return values[-1] if values else None

    def flag(self, name: str) -> bool:
        """Read a query parameter that is true or false."""
        text = (self.parameter(name) or "false").lower()
        if text not in {"true", "false"}:
            raise errors.invalid_argument(f"The query parameter {name} must be true or false.")
        return text == "true"

    def page_size(self, default: int, most: int) -> int:
        """Read how many items the caller wants on a page."""
        text = self.headers.get("max-items-per-page")
        if text is None:
            return default
        if not text.isdecimal() or int(text) < 1:
            raise errors.invalid_argument("The header max-items-per-page must be a positive number.")
        return min(int(text), most)

    def continuation(self) -> Json:
        """Read where the last page ended, None for the first page."""
        token = self.parameter("continuationToken")
        return None if token is None else decode_continuation(token)

    def next_link(self, position: Json, **parameters: str | Sequence[str]) -> str:
        """Make the address of the page after a position."""
        items = [("continuationToken", encode_continuation(position))]
        for name, value in parameters.items():
            items += [(name, item) for item in ([value] if isinstance(value, str) else value)]
        items.append(("api-version", self.api_version))
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in items)
        return f"{self.base_url}{self.path}?{query}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send back.

    Attributes
    ----------
    status
        The HTTP status.
    body
        The JSON, None for none.
    headers
        Headers beyond those of every answer.
    """

    status: int = 204
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)


type Handler = Callable[[Call], Answer]


def encode_continuation(position: Json) -> str:
    """Wrap a position so that callers see no sense in it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def decode_continuation(token: str) -> Json:
    """Unwrap a position that this service gave out."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise errors.continuation_invalid() from error


def check_if_match(call: Call, etag: str) -> None:
    """Refuse the write if somebody else has written since the caller read."""
    wanted = call.headers.get("if-match")
    if wanted is None or wanted == "*":
        return
    if "," in wanted or '"' not in wanted:
        raise errors.invalid_argument(
            "Invalid If-Match header value. Allowed value(s): If-Match: {etag} or If-Match: *"
        )
    if wanted != etag:
        raise errors.etag_mismatch(wanted)


def wants_new(call: Call) -> bool:
    """Whether the caller refuses to replace anything."""
    wanted = call.headers.get("if-none-match")
    if wanted not in {None, "*"}:
        raise errors.invalid_argument("Invalid If-None-Match header value. Allowed value(s): If-None-Match: *")
    return wanted == "*"
