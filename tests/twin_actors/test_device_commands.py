"""Commands reach devices through a running IoT Hub, and each of its errors means another thing to do."""

import asyncio
import gc
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from aiohttp import web
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ManagedIdentityCredential
from azure.iot.device import MethodRequest, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient

from local_emulator.certificates import Certificates, ensure_certificates
from local_emulator.identity import Identity
from local_emulator.iot_hub import IotHub, RoutedEvent
from local_emulator.iot_hub.device import Device
from local_emulator.iot_hub.handlers.registry import create
from local_emulator.iot_hub.twin import TwinChange
from twin_actors.errors import SettingsError, Unanswered, Unavailable
from twin_actors.sinks import DeviceCommand, Offline, Refused, Throttled
from twin_actors.sinks import device_commands as module
from twin_actors.sinks.device_commands import IotHubDevices

COMMAND = DeviceCommand(
    twin_id="pump-1",
    name="setSpeed",
    operation_id="abc",
    request=b"2000.0",
    state_version=123,
    expires=1795248000.0,
    desired="speedSetpoint",
)
CONTENT = {"operationId": "abc", "stateVersion": 123, "expires": "2026-11-21T08:00:00.000Z"}
KEY = "bm90IHRoZSBrZXkgb2YgdGhlIHBvbGljeQ=="


class StoppedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        """Return the time it was set to."""
        return self.time

    def elapsed(self) -> float:
        """Return the same."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.time += seconds


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what a test leaves: the device SDK's pair of wake-up sockets is closed by the collector only.

    It may come upon a socket before the client that would have closed it.
    """
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One set of certificates for all tests."""
    return ensure_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def hub(tmp_path: Path, certificates: Certificates) -> AsyncIterator[IotHub]:
    """A hub with a device."""

    async def publish(_event: RoutedEvent) -> None:
        """Let events go."""

    async with IotHub(tmp_path / "hub", certificates=certificates, publish=publish, host=None) as running:
        create(running._hub, Device("pump-1"), TwinChange())
        yield running


def _transport(certificates: Certificates) -> AioHttpTransport:
    return AioHttpTransport(connection_verify=str(certificates.ca_file))


@pytest.fixture
async def devices(hub: IotHub, certificates: Certificates) -> AsyncIterator[IotHubDevices]:
    """The devices of the hub, with the policy that Azure gives to services."""
    devices = IotHubDevices.from_connection_string(
        hub.policy_connection_string("service"), transport=_transport(certificates)
    )
    yield devices
    await devices.close()


class Obedient:
    """A genuine device that answers each method with what it was asked."""

    def __init__(self, hub: IotHub, certificates: Certificates, device_id: str) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.client = IoTHubDeviceClient.create_from_connection_string(
            hub.device_connection_string(device_id),
            server_verification_cert=certificates.ca_file.read_text("utf-8"),
        )

    async def __aenter__(self) -> Self:
        client, calls = weakref.ref(self.client), self.calls  # a handler that holds its client keeps it for ever

        async def answer(request: MethodRequest) -> None:
            calls.append((request.name, request.payload))
            if (alive := client()) is not None:
                await alive.send_method_response(MethodResponse(request.request_id, 207, {"speed": 5.0}))

        await asyncio.to_thread(setattr, self.client, "on_method_request_received", answer)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.shutdown()


async def test_a_command_is_a_direct_method(hub: IotHub, certificates: Certificates, devices: IotHubDevices) -> None:
    """With request, operation id, state version and expiry; status and payload of the answer come back."""
    async with Obedient(hub, certificates, "pump-1") as device:
        answer = await devices.invoke(COMMAND)
        assert (answer.status, msgspec.json.decode(answer.payload)) == (207, {"speed": 5.0})
        await devices.invoke(msgspec.structs.replace(COMMAND, name="resume", request=b""))
    assert device.calls == [
        ("setSpeed", {"request": 2000.0, **CONTENT}),
        ("resume", {"request": None, **CONTENT}),
    ]


async def test_a_device_id_may_have_any_allowed_sign(
    hub: IotHub, certificates: Certificates, devices: IotHubDevices
) -> None:
    """Those that mean something in an address too."""
    device_id = "a%41#b?c=d$e:f+g@h"
    create(hub._hub, Device(device_id), TwinChange())
    async with Obedient(hub, certificates, device_id) as device:
        assert (await devices.invoke(msgspec.structs.replace(COMMAND, twin_id=device_id))).status == 207
    assert len(device.calls) == 1


async def test_an_absent_device_is_offline_at_once(devices: IotHubDevices) -> None:
    """Long before the time-out of an answer."""
    began = time.monotonic()
    with pytest.raises(Offline):
        await devices.invoke(COMMAND)
    assert time.monotonic() - began < module.RESPONSE_SECONDS


async def test_a_silent_device_may_have_it(hub: IotHub, certificates: Certificates, devices: IotHubDevices) -> None:
    """The hub gives up on the answer: the same operation id must be sent again."""
    async with Obedient(hub, certificates, "pump-1") as device:
        await asyncio.to_thread(setattr, device.client, "on_method_request_received", lambda _request: None)
        with pytest.raises(Unanswered, match="504"):
            await devices.invoke(COMMAND)


async def test_desired_properties_wait_for_the_device(hub: IotHub, devices: IotHubDevices) -> None:
    """The newest is there when it returns."""
    await devices.set_desired(COMMAND)
    await devices.set_desired(msgspec.structs.replace(COMMAND, request=b"1500", operation_id="def"))
    twin = hub._hub.state.twin("pump-1")
    assert twin is not None
    assert twin.desired.values == {"speedSetpoint": {"value": 1500, **CONTENT, "operationId": "def"}}
    expires = twin.desired.values["speedSetpoint"]["expires"]
    assert datetime.fromisoformat(expires).timestamp() == COMMAND.expires


async def test_what_never_works_is_refused(devices: IotHubDevices) -> None:
    """No such device, a command without a property, a text that no twin holds."""
    nobody = msgspec.structs.replace(COMMAND, twin_id="nobody")
    for call in (
        devices.invoke(nobody),
        devices.set_desired(nobody),
        devices.set_desired(msgspec.structs.replace(COMMAND, desired="")),
        devices.set_desired(msgspec.structs.replace(COMMAND, request=b'"' + b"x" * 5000 + b'"')),
        devices.invoke(msgspec.structs.replace(COMMAND, request=b'"' + b"x" * 200_000 + b'"')),
    ):
        with pytest.raises(Refused):
            await call


async def test_a_wrong_key_says_what_to_do(hub: IotHub, certificates: Certificates) -> None:
    """It may be put right, so the command waits."""
    text = f"HostName={hub.host_name}:{hub.rest_port};SharedAccessKeyName=service;SharedAccessKey={KEY}"
    devices = IotHubDevices.from_connection_string(text, transport=_transport(certificates))
    with pytest.raises(Unavailable, match="ServiceConnect"):
        await devices.invoke(COMMAND)
    await devices.close()


async def test_signatures_are_renewed_before_they_expire(hub: IotHub, certificates: Certificates) -> None:
    """Whatever the clock of this machine says: the hub goes by its own."""
    clock = StoppedClock(time.time() - module.TOKEN_SECONDS - 60.0)
    devices = IotHubDevices.from_connection_string(
        hub.policy_connection_string("service"), clock=clock, transport=_transport(certificates)
    )
    with pytest.raises(Unavailable, match="expired"):
        await devices.set_desired(COMMAND)
    clock.time += module.TOKEN_SECONDS - module.RENEW_SECONDS - 1.0
    with pytest.raises(Unavailable, match="expired"):
        await devices.set_desired(COMMAND)
    clock.time += 2.0
    await devices.set_desired(COMMAND)
    await devices.close()


async def test_an_identity_is_let_in(hub: IotHub, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token for IoT Hub from the endpoint of managed identities."""
    async with Identity() as identity:
        for name, value in identity.environment.items():
            monkeypatch.setenv(name, value)
        async with ManagedIdentityCredential() as credential:
            devices = IotHubDevices.from_address(
                f"{hub.host_name}:{hub.rest_port}", credential, transport=_transport(certificates)
            )
            with pytest.raises(Offline):
                await devices.invoke(COMMAND)
            await devices.set_desired(COMMAND)
            await devices.close()


async def test_without_a_token_nothing_is_sent(
    hub: IotHub, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose identity gets none is told so."""
    async with Identity() as identity:
        monkeypatch.setenv("IDENTITY_ENDPOINT", identity.endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", "wrong")
        async with ManagedIdentityCredential() as credential:
            devices = IotHubDevices.from_address(
                f"{hub.host_name}:{hub.rest_port}", credential, transport=_transport(certificates)
            )
            with pytest.raises(Unavailable, match="gets no token"):
                await devices.invoke(COMMAND)
            await devices.close()


def test_an_incomplete_connection_string_is_a_fault_of_the_settings() -> None:
    """It says what is missing; a device's is no service's."""
    with pytest.raises(SettingsError, match="SharedAccessKeyName"):
        IotHubDevices.from_connection_string(f"HostName=hub;DeviceId=pump-1;SharedAccessKey={KEY}")


class BrokenHub:
    """Answers every request as told: what no test can make a sound hub do."""

    def __init__(self) -> None:
        self.answer: web.Response | None = None
        self.requests = 0

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if self.answer is None:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.Event().wait()
        assert self.answer is not None
        return self.answer


class Plain(AioHttpTransport):
    """Speaks HTTP where HTTPS is meant, to a server of the test that has no certificate."""

    async def send(self, request: Any, **options: Any) -> Any:
        """Send without TLS."""
        request.url = request.url.replace("https://", "http://")
        return await super().send(request, **options)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (web.Response(status=429, headers={"Retry-After": "7"}), Throttled),
        (web.Response(status=500), Unanswered),
        (web.Response(status=503), Unanswered),
        (web.Response(status=408), Unanswered),
        (web.Response(status=401), Unavailable),
        (web.Response(status=403, text="IotHubQuotaExceeded"), Unavailable),
        (web.Response(status=404, text='{"errorCode":404103}'), Offline),
        (web.Response(status=404, headers={"iothub-errorcode": "DeviceNotFound"}), Refused),
        (web.Response(status=409), Refused),
        (web.Response(status=200, text="no JSON"), Unanswered),
        (None, Unanswered),
    ],
    ids=["429", "500", "503", "408", "401", "403", "404103", "404001", "409", "text", "cut"],
)
async def test_each_error_is_tried_once_and_told_apart(answer: web.Response | None, error: type[Exception]) -> None:
    """Nothing is sent a second time behind the runtime's back."""
    broken = BrokenHub()
    broken.answer = answer
    async with broken as address:
        text = f"HostName={address};SharedAccessKeyName=service;SharedAccessKey={KEY}"
        devices = IotHubDevices.from_connection_string(text, transport=Plain())
        with pytest.raises(error) as raised:
            await devices.invoke(COMMAND)
        await devices.close()
    assert type(raised.value) is error
    assert broken.requests == 1
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after_seconds == 7.0


async def test_a_hub_that_says_nothing_is_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is bounded."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
    text = f"HostName={address};SharedAccessKeyName=service;SharedAccessKey={KEY}"
    devices = IotHubDevices.from_connection_string(text, transport=Plain(session_owner=True))
    with pytest.raises(Unanswered):
        await devices.invoke(COMMAND)
    await devices.close()
    server.close()
    await server.wait_closed()


async def test_nothing_there_is_unanswered() -> None:
    """A refused connection."""
    text = f"HostName=127.0.0.1:1;SharedAccessKeyName=service;SharedAccessKey={KEY}"
    devices = IotHubDevices.from_connection_string(text, transport=Plain())
    with pytest.raises(Unanswered):
        await devices.set_desired(COMMAND)
    await devices.close()
