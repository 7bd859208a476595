"""Devices behind an IoT Hub: direct methods and desired properties over its REST API."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, Self
from urllib.parse import quote, quote_plus

import msgspec
from azure.core import AsyncPipelineClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, SansIOHTTPPolicy
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

from twin_actors.clock import Clock, SystemClock
from twin_actors.errors import SettingsError, Unanswered, Unavailable
from twin_actors.sinks import Answer, DeviceCommand, Offline, Refused, Throttled

API_VERSION = "2021-04-12"
SCOPE = "https://iothubs.azure.net/.default"

RESPONSE_SECONDS = 5
"""How long the hub waits for a device's answer: the least it allows."""

ANSWER_SECONDS = 10.0
"""How long a call may take in all before it counts as unanswered."""

TOKEN_SECONDS = 3600.0
RENEW_SECONDS = 300.0
"""A signature is renewed so long before it expires: clocks differ."""

type Transport = AsyncHttpTransport[Any, AsyncHttpResponse]


class IotHubDevices:
    """`Devices` of an IoT Hub; nothing is tried twice: the runtime decides what to do with a lost answer.

    Parameters
    ----------
    host_name : str
        Of the hub, with a port where it is not 443.
    authentication
        Puts the Authorization header on each request.
    transport, optional
        In place of azure-core's own.
    """

    def __init__(self, host_name: str, authentication: Any, transport: Transport | None = None) -> None:  # noqa: ANN401  policies have no common type
        self._address = f"https://{host_name}"
        self._client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
            self._address, policies=[authentication], transport=transport or AioHttpTransport()
        )

    @classmethod
    def from_connection_string(
        cls, connection_string: str, *, clock: Clock | None = None, transport: Transport | None = None
    ) -> Self:
        """Sign with the key of a shared access policy that grants ServiceConnect."""
        parts = dict(part.partition("=")[::2] for part in connection_string.split(";"))
        missing = [name for name in ("HostName", "SharedAccessKeyName", "SharedAccessKey") if not parts.get(name)]
        if missing:
            raise SettingsError((f"the IoT Hub connection string lacks {', '.join(missing)}: take a service policy's",))
        host_name = parts["HostName"]
        signature = _Signature(
            host_name, parts["SharedAccessKeyName"], parts["SharedAccessKey"], clock or SystemClock()
        )
        return cls(host_name, signature, transport)

    @classmethod
    def from_address(
        cls, host_name: str, credential: AsyncTokenCredential, *, transport: Transport | None = None
    ) -> Self:
        """Call with an identity; whoever made the credential closes it."""
        return cls(host_name, AsyncBearerTokenCredentialPolicy(credential, SCOPE), transport)

    async def invoke(self, command: DeviceCommand) -> Answer:
        """Call a direct method."""
        call = {
            "methodName": command.name,
            "payload": _content(command, "request"),
            "responseTimeoutInSeconds": RESPONSE_SECONDS,
            "connectTimeoutInSeconds": 0,
        }
        answer = await self._send("POST", command.twin_id, "/methods", call)
        try:
            result = msgspec.json.decode(answer, type=_Result)
        except msgspec.DecodeError as error:
            raise Unanswered(f"device {command.twin_id}: the hub's answer cannot be read: {error}") from error
        return Answer(result.status, bytes(result.payload))

    async def set_desired(self, command: DeviceCommand) -> None:
        """Set the desired property that the command names."""
        if not command.desired:
            raise Refused(f"command {command.name} of {command.twin_id} names no desired property")
        change = {"properties": {"desired": {command.desired: _content(command, "value")}}}
        await self._send("PATCH", command.twin_id, "", change)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    async def _send(self, method: str, device_id: str, path: str, content: Mapping[str, object]) -> bytes:
        request = HttpRequest(
            method,
            f"{self._address}/twins/{quote(device_id, safe='')}{path}",
            params={"api-version": API_VERSION},
            headers={"Content-Type": "application/json; charset=utf-8"},
            content=msgspec.json.encode(content),
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._client.send_request(request)
        except ClientAuthenticationError as error:
            raise Unavailable(f"IoT Hub: this worker gets no token: {error.message}") from error
        except (AzureError, TimeoutError) as error:
            # The transport raises the same error whether a connection ends before or after the request was sent.
            raise Unanswered(f"device {device_id}: no answer of IoT Hub: {error!r}") from error
        if response.status_code not in {200, 204}:
            _raise(device_id, response)
        return response.content


class _Result(msgspec.Struct):
    status: int
    payload: msgspec.Raw = msgspec.Raw(b"null")


class _Signature(SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Signs requests with the key of a shared access policy."""

    def __init__(self, host_name: str, policy: str, key: str, clock: Clock) -> None:
        super().__init__()
        self._host_name = host_name
        self._policy = policy
        self._key = base64.b64decode(key)
        self._clock = clock
        self._token = ""
        self._expiry = 0.0

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        """Put the signature on a request, a new one shortly before the last expires."""
        now = self._clock.now()
        if now >= self._expiry - RENEW_SECONDS:
            self._expiry = now + TOKEN_SECONDS
            self._token = self._sign(int(self._expiry))
        request.http_request.headers["Authorization"] = self._token

    def _sign(self, expiry: int) -> str:
        resource = quote_plus(self._host_name)
        digest = hmac.digest(self._key, f"{resource}\n{expiry}".encode(), hashlib.sha256)
        signature = quote_plus(base64.b64encode(digest))
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={quote_plus(self._policy)}"


def _content(command: DeviceCommand, name: str) -> dict[str, object]:
    """Return what the device gets; `name` is what it calls the request."""
    expires = datetime.fromtimestamp(command.expires, UTC).isoformat(timespec="milliseconds")
    return {
        name: msgspec.Raw(command.request or b"null"),
        "operationId": command.operation_id,
        "stateVersion": command.state_version,
        "expires": expires.replace("+00:00", "Z"),
    }


def _raise(device_id: str, response: AsyncHttpResponse) -> NoReturn:
    status, text = response.status_code, response.text()
    said = f"device {device_id}: IoT Hub answers {status}: {text}"
    if status == 429:
        wait = response.headers.get("Retry-After", "1")
        raise Throttled(float(wait) if wait.isdigit() else 1.0)
    if status == 404 and ("404103" in text or response.headers.get("iothub-errorcode") == "DeviceNotOnline"):
        raise Offline(said)
    if status in {401, 403}:
        raise Unavailable(
            f"{said}; give this worker the role IoT Hub Data Contributor, or a policy with ServiceConnect"
        )
    if 400 <= status < 500 and status != 408:
        raise Refused(said)
    raise Unanswered(f"{said}; the device may have it")
