"""What goes wrong, as problem details (RFC 9457): each says what to do."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from twin_actors.errors import Rejected, Unavailable
from twin_actors.models import Misfit
from twin_actors.sinks import Refused, Throttled

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_SECONDS = 5
"""When to ask again where the service that does not answer says nothing of it."""

_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

_STATUS_OF_REASON = {"command_not_found": 404, "foreign_model": 409, "operation_id_used": 409, "too_large": 413}
_TITLE_OF_REASON = {
    "command_not_found": "There is no such command",
    "foreign_model": "The twin is not run here",
    "model_mismatch": "The request does not fit the twin's model",
}


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    location: str = Field(description="Where: body, query or path, and the name.", examples=["query.limit"])
    message: str = Field(description="What is wrong there.", examples=["Input should be less than or equal to 200"])


class ProblemBody(BaseModel):
    """Problem details as RFC 9457 has them."""

    type: str = Field(description="Names the kind of problem.", examples=["urn:twinfold:problem:twin-not-found"])
    title: str = Field(description="The kind of problem, for people.", examples=["There is no such twin"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="What is wrong this time, and what to do.")
    faults: list[Fault] | None = Field(default=None, description="Each fault of the request, where there are several.")


class Problem(Exception):
    """A request ends with a problem.

    Parameters
    ----------
    status
    name
        Of the kind of problem: the end of its type.
    title, detail
    faults
        ``(where, what)`` of each.
    headers
    """

    def __init__(
        self,
        status: int,
        name: str,
        title: str,
        detail: str,
        *,
        faults: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.document: dict[str, Any] = {
            "type": f"urn:twinfold:problem:{name}",
            "title": title,
            "status": status,
            "detail": detail,
        }
        if faults:
            self.document["faults"] = [{"location": where, "message": what} for where, what in faults]
        self.headers = headers

    def response(self) -> Response:
        """Return it as a response."""
        # Escaped to ASCII: a fault may quote text that is no valid Unicode.
        return Response(json.dumps(self.document), self.status, self.headers, MEDIA_TYPE)


def not_found(what: str, detail: str) -> Problem:
    """Return the problem that something does not exist."""
    return Problem(404, f"{what.replace(' ', '-')}-not-found", f"There is no such {what}", detail)


def too_large(detail: str) -> Problem:
    """Return the problem that a request is too large."""
    return Problem(413, "too-large", "The request is too large", detail)


def unavailable(detail: str, retry_after: float = RETRY_AFTER_SECONDS) -> Problem:
    """Return the problem that a service behind this one does not answer now."""
    headers = {"Retry-After": str(max(1, math.ceil(retry_after)))}
    return Problem(503, "unavailable", "A service does not answer now", detail, headers=headers)


def install(app: FastAPI) -> None:
    """Make every error that a request can end with a problem."""
    handlers: Mapping[Any, Any] = {
        Problem: _problem,
        Rejected: _rejected,
        Refused: _refused,
        Unavailable: _unavailable,
        RequestValidationError: _not_valid,
        HTTPException: _http,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _problem(_request: Request, error: Problem) -> Response:
    return error.response()


async def _rejected(_request: Request, error: Rejected) -> Response:
    name = error.reason.replace("_", "-")
    status = _STATUS_OF_REASON.get(error.reason, 400)
    title = _TITLE_OF_REASON.get(error.reason, "The request was refused")
    misfits = error.faults if isinstance(error, Misfit) else ()
    faults = [(f"body.{where}", what) for where, what in misfits]
    return Problem(status, name, title, error.detail, faults=faults).response()


async def _refused(_request: Request, error: Refused) -> Response:
    return Problem(400, "refused", "The request was refused", str(error)).response()


async def _unavailable(_request: Request, error: Unavailable) -> Response:
    wait = error.retry_after_seconds if isinstance(error, Throttled) else RETRY_AFTER_SECONDS
    return unavailable(f"{error}; ask again, a write with the same operation id", wait).response()


async def _not_valid(_request: Request, error: RequestValidationError) -> Response:
    faults = [(".".join(map(str, fault["loc"])), str(fault["msg"])) for fault in error.errors()]
    detail = "; ".join(f"{where}: {what}" for where, what in faults)
    return Problem(400, "invalid-request", "The request is not valid", detail, faults=faults).response()


async def _http(request: Request, error: HTTPException) -> Response:
    """Return what routing says: no such path, or no such method there."""
    path = request.url.path
    if error.status_code == 405:
        allowed = ", ".join(_methods(request))
        detail = f"{path} takes {allowed}"
        return Problem(405, "method-not-allowed", "No such method", detail, headers={"Allow": allowed}).response()
    if error.status_code == 404:
        return Problem(404, "path-not-found", "There is no such path", f"{path} is not served here").response()
    return Problem(error.status_code, "invalid-request", "The request is not valid", str(error.detail)).response()


def _methods(request: Request) -> list[str]:
    """Return the methods of every route of a path; the framework names those of the first only."""
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
