"""HTTP on one side, calls on the other."""

import asyncio
import logging
import re
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from . import errors
from .call import API_VERSIONS, OLDEST_API, Answer, Call, Json
from .faults import Fault, Faults, as_json, read_fault
from .routes import find_handler
from .state import Graph
from .throttle import Throttle

_FAULTS_PATH = "/_emulator/faults"
_BEARER = re.compile(r"Bearer [A-Za-z0-9._~+/=-]+")
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_JSON = "application/json; charset=utf-8"
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class Protocol:
    """Turns requests into calls and answers into responses.

    Parameters
    ----------
    graph
        What the service remembers.
    faults
        What requests meet on demand.
    throttle
        How often the service lets itself be asked.
    """

    def __init__(self, graph: Graph, faults: Faults, throttle: Throttle) -> None:
        self._graph = graph
        self._faults = faults
        self._throttle = throttle

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, query = request.raw_path.partition("?")
        if path == _FAULTS_PATH:
            return await self._change_faults(request)
        body = await request.read()
        fault = self._faults.take(request.method, path)
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.delay_seconds)
        elif fault is not None and fault.kind == "drop":
            return _hang_up(request)
        response = self._answer(request, path, query, body, fault)
        if fault is not None and fault.kind == "drop-answer":
            return _hang_up(request)
        return response

    def _answer(
        self, request: web.BaseRequest, path: str, query: str, body: bytes, fault: Fault | None
    ) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        parameters = parse_qs(query, keep_blank_values=True)
        version = parameters.get("api-version", [""])[-1]
        try:
            if fault is not None and fault.kind == "status":
                raise _as_error(fault, headers)
            _check_token(headers)
            if version not in API_VERSIONS:
                raise errors.unsupported_api_version(version or None, API_VERSIONS)
            handler, names = find_handler(request.method, path)
            self._throttle.admit(request.method, path)
            call = Call(
                graph=self._graph,
                names=names,
                query=parameters,
                headers=headers,
                body=body,
                api_version=version,
                path=path,
                base_url=f"{request.scheme}://{request.host}",
            )
            return _success(handler(call), headers)
        except errors.ServiceError as error:
            return _failure(error, headers, version)
        except errors.MalformedPatch as error:
            return _malformed(error, headers)

    async def _change_faults(self, request: web.BaseRequest) -> web.Response:
        """Serve the one path that the real service does not have."""
        if request.method == "POST":
            try:
                self._faults.add(read_fault(await request.read()))
            except ValueError as error:
                return _response(400, {"error": {"code": "InvalidFault", "message": str(error)}}, {})
        elif request.method == "DELETE":
            self._faults.clear()
        elif request.method != "GET":
            return _response(405, {"error": {"code": "MethodNotAllowed", "message": request.method}}, {})
        return _response(200, {"value": as_json(self._faults.waiting())}, {})


def _check_token(headers: Mapping[str, str]) -> None:
    """Refuse a token that is none; who may do what is not the emulator's business."""
    token = headers.get("authorization")
    if token is not None and not _BEARER.fullmatch(token):
        raise errors.unauthorized()


def _as_error(fault: Fault, headers: Mapping[str, str]) -> errors.ServiceError:
    if fault.status == HTTPStatus.TOO_MANY_REQUESTS:
        return errors.throttled(1 if fault.retry_after is None else fault.retry_after)
    if fault.status == HTTPStatus.PRECONDITION_FAILED:
        return errors.etag_mismatch(headers.get("if-match", "*"))
    code = "".join(word.title() for word in HTTPStatus(fault.status).phrase.split())
    return errors.ServiceError(fault.status, code, "A fault was asked for.", retry_after=fault.retry_after)


def _hang_up(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _common(headers: Mapping[str, str]) -> dict[str, str]:
    trace = _TRACE.fullmatch(headers.get("traceparent", ""))
    trace_id = trace[1] if trace else uuid.uuid4().hex
    return {
        "Strict-Transport-Security": "max-age=2592000",
        "mise-correlation-id": str(uuid.uuid4()),
        "traceresponse": f"00-{trace_id}-{uuid.uuid4().hex[:16]}-01",
    }


def _success(answer: Answer, headers: Mapping[str, str]) -> web.Response:
    return _response(answer.status, answer.body, {**_common(headers), **answer.headers})


def _failure(error: errors.ServiceError, headers: Mapping[str, str], version: str) -> web.Response:
    extra: dict[str, str] = {} if error.code is None else _common(headers)
    if error.code not in {None, "BadRequest"} and version != OLDEST_API:
        extra["x-ms-error-code"] = str(error.code)
    if error.retry_after is not None:
        extra["Retry-After"] = str(error.retry_after)
    content_type = "application/json" if error.code is None else _JSON
    _log.debug("%s %s", error.status, error.message)
    return _response(error.status, error.body(), extra, content_type)


def _malformed(error: errors.MalformedPatch, headers: Mapping[str, str]) -> web.Response:
    """Answer as the web framework under the service does."""
    position = len(error.value) + 1
    faults = {
        f"[{error.index}]": [
            (
                f"Error converting value {error.value} to type "
                f"'Microsoft.AspNetCore.JsonPatch.Operations.Operation'. Path '[{error.index}]', line 1, "
                f"position {position}."
            )
        ]
    }
    if error.is_twin:
        faults["jsonPatchDocument"] = ["The jsonPatchDocument field is required."]
    common = _common(headers)
    body = {
        "errors": faults,
        "type": "https://tools.ietf.org/html/rfc7231#section-6.5.1",
        "title": "One or more validation errors occurred.",
        "status": 400,
        "detail": None,
        "instance": None,
        "extensions": {"traceId": common["traceresponse"]},
    }
    return _response(400, body, common, "application/problem+json; charset=utf-8")


def _response(status: int, body: Json, headers: Mapping[str, str], content_type: str = _JSON) -> web.Response:
    if body is None:
        return web.Response(status=status, headers=headers)
    return web.Response(status=status, body=_encode(body), headers={**headers, "Content-Type": content_type})
