"""HTTP calls as the worker library takes and returns them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Protocol, cast

from local_emulator.functions_host.bindings import FunctionSpec
from local_emulator.functions_host.invocation import Invocations
from local_emulator.functions_host.messages import HttpCall, HttpReply
from local_emulator.functions_host.protos import TypedData

__all__ = ["answer_call"]

_SAME_SITE = {1: "Lax", 2: "Strict", 3: "None"}


class _Value[T](Protocol):
    value: T


class _Cookie(Protocol):
    name: str
    value: str
    domain: _Value[str] | None
    path: _Value[str] | None
    expires: "_Value[_Seconds] | None"
    secure: _Value[bool] | None
    http_only: _Value[bool] | None
    same_site: int
    max_age: _Value[float] | None


class _Seconds(Protocol):
    seconds: int


class _Response(Protocol):
    status_code: str
    headers: Mapping[str, str]
    cookies: Sequence[_Cookie] | None
    body: TypedData | None


async def answer_call(invocations: Invocations, function: FunctionSpec, call: HttpCall) -> HttpReply:
    """Run the function for the call; a raised exception answers 500 without a body, as in production."""
    body = TypedData(bytes=call.body) if call.body else TypedData()
    request = SimpleNamespace(
        method=call.method, url=call.url, headers=call.headers, query=call.query, params=call.route, body=body
    )
    outcome = await invocations.invoke(
        function, TypedData(http=request), trace_parent=call.headers.get("traceparent", "")
    )
    if not outcome.succeeded:
        return HttpReply(call.call, 500, [], b"")
    if outcome.value is None:
        return HttpReply(call.call, 204, [], b"")
    if outcome.value.kind != "http":
        return HttpReply(call.call, 200, [("content-type", "text/plain; charset=utf-8")], _body_bytes(outcome.value))
    response = cast("_Response", vars(outcome.value)["http"])
    headers = list(response.headers.items())
    headers += [("set-cookie", _cookie_header(cookie)) for cookie in response.cookies or ()]
    return HttpReply(call.call, int(response.status_code), headers, _body_bytes(response.body))


def _body_bytes(data: TypedData | None) -> bytes:
    if data is None or data.kind is None:
        return b""
    value = vars(data)[data.kind]
    return value if isinstance(value, bytes) else str(value).encode()


def _cookie_header(cookie: _Cookie) -> str:
    parts = [f"{cookie.name}={cookie.value}"]
    if cookie.domain and cookie.domain.value:
        parts.append(f"Domain={cookie.domain.value}")
    if cookie.path and cookie.path.value:
        parts.append(f"Path={cookie.path.value}")
    if cookie.expires:
        moment = datetime.fromtimestamp(cookie.expires.value.seconds, UTC)
        parts.append(f"Expires={format_datetime(moment, usegmt=True)}")
    if cookie.max_age is not None:
        parts.append(f"Max-Age={cookie.max_age.value:.0f}")
    if cookie.secure and cookie.secure.value:
        parts.append("Secure")
    if cookie.http_only and cookie.http_only.value:
        parts.append("HttpOnly")
    if cookie.same_site:
        parts.append(f"SameSite={_SAME_SITE[cookie.same_site]}")
    return "; ".join(parts)
