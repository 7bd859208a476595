"""The endpoint from which App Service hands out managed-identity tokens.

An app finds it by two environment variables, ``IDENTITY_ENDPOINT`` and ``IDENTITY_HEADER``, so azure-identity's
credentials run here unchanged. The tokens have the form of real ones and are signed with a key of this process:
the emulators take them, Azure does not.
"""

import base64
import hashlib
import hmac
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from socket import create_server
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import web

_PATH = "/msi/token"
_API_VERSION = "2019-08-01"
_LIFETIME_SECONDS = 24 * 3600
_NAMES = uuid.UUID("5f0bb6c2-6f5c-4f3c-9a39-5e6f3a1f0c11")
TENANT = str(uuid.uuid5(_NAMES, "tenant"))
"""The tenant that all tokens are of."""
SYSTEM_ASSIGNED = str(uuid.uuid5(_NAMES, "system-assigned"))
"""The client id of the app's own identity."""


class Identity:
    """The endpoint: an async context manager that listens while it is entered.

    Parameters
    ----------
    host, port
        Where it listens; port 0 takes a free one.
    clock
        What tells the time, in seconds since 1970.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._runner: web.AppRunner | None = None
        self.header = secrets.token_hex(16)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get(_PATH, self._token)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        listener = create_server((self._host, self._port))
        await web.SockSite(self._runner, listener).start()
        self._port = listener.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def endpoint(self) -> str:
        """The value of ``IDENTITY_ENDPOINT``."""
        return f"http://{self._host}:{self._port}{_PATH}"

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which an app finds the endpoint."""
        return {"IDENTITY_ENDPOINT": self.endpoint, "IDENTITY_HEADER": self.header}

    async def _token(self, request: web.Request) -> web.Response:
        given = request.headers.get("X-IDENTITY-HEADER", "")
        if not hmac.compare_digest(given.encode(), self.header.encode()):
            return _refuse(HTTPStatus.UNAUTHORIZED, "The X-IDENTITY-HEADER is missing or wrong.")
        version = request.query.get("api-version")
        if version != _API_VERSION:
            return _refuse(HTTPStatus.BAD_REQUEST, f"The api-version {version} is not {_API_VERSION}.")
        resource = request.query.get("resource")
        if not resource:
            return _refuse(HTTPStatus.BAD_REQUEST, "The query parameter resource is required.")
        client = _client_id(request.query)
        expires = int(self._clock()) + _LIFETIME_SECONDS
        answer = {
            "access_token": self._sign(resource, client, expires),
            "expires_on": str(expires),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": client,
        }
        return web.json_response(answer)

    def _sign(self, resource: str, client: str, expires: int) -> str:
        """Make a token for a resource, in the form of a real one."""
        issued = expires - _LIFETIME_SECONDS
        claims = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": issued,
            "nbf": issued,
            "exp": expires,
            "appid": client,
            "idtyp": "app",
            "oid": str(uuid.uuid5(_NAMES, client)),
            "sub": str(uuid.uuid5(_NAMES, client)),
            "tid": TENANT,
            "ver": "1.0",
        }
        head = {"alg": "HS256", "typ": "JWT"}
        signed = f"{_encode(msgspec.json.encode(head))}.{_encode(msgspec.json.encode(claims))}"
        return f"{signed}.{_encode(hmac.digest(self._key, signed.encode(), hashlib.sha256))}"


def _client_id(query: Mapping[str, str]) -> str:
    """Tell whose token it is: the identity asked for by any of its names, else the app's own."""
    named = query.get("client_id")
    other = query.get("principal_id") or query.get("object_id") or query.get("mi_res_id")
    return named or (str(uuid.uuid5(_NAMES, other)) if other else SYSTEM_ASSIGNED)


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _refuse(status: HTTPStatus, message: str) -> web.Response:
    return web.json_response({"statusCode": status.value, "message": message}, status=status)
