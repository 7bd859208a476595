"""What is foreseen, decided and done, as apps and devices see it: over HTTP and the genuine device SDK."""

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from azure.iot.device import Message, MethodRequest, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient

from local_emulator.functions_host import FunctionsHost
from tests.end_to_end.machines import Machine
from tests.end_to_end.stack import Stack, Ticker, eventually, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

STARVED = {"suctionPressure": -95.0, "dischargePressure": -95.0}
"""What a clogged strainer takes from both flanges, kPa."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """All services."""
    async with running(tmp_path_factory.mktemp("loop")) as services:
        yield services


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(stack: Stack) -> AsyncIterator[FunctionsHost]:
    """The function app."""
    async with stack.host("host", expiry=4.0) as running_host:
        yield running_host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(host: FunctionsHost) -> AsyncIterator["App"]:
    """An app with a function key."""
    async with aiohttp.ClientSession(headers={"x-functions-key": host.keys.functions["api"]}) as session:
        yield App(session, host)


class App:
    """What an app does over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, host: FunctionsHost) -> None:
        self.ticker = Ticker(host)
        self._session = session
        self._host = host

    async def get(self, path: str) -> Any:
        """Return what stands there."""
        async with self._session.get(f"{self._host.url}/api/{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def post(self, path: str, body: object = None) -> Any:
        """Ask for something that is taken."""
        async with self._session.post(f"{self._host.url}/api/{path}", json=body) as answer:
            assert answer.status == 202, await answer.text()
            return await answer.json()

    async def command(self, twin_id: str, name: str, **body: object) -> None:
        """Give a command."""
        await self.post(f"twins/{twin_id}/commands/{name}", body)

    async def ended(self, twin_id: str, operation_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until an operation has come so far."""

        async def look() -> dict[str, Any] | None:
            operation: dict[str, Any] = await self.get(f"twins/{twin_id}/operations/{operation_id}")
            return operation if operation["status"] in statuses else None

        return await eventually(look, 60)

    async def alerts(self, twin_id: str) -> list[dict[str, Any]]:
        """Return the alerts of a twin."""
        return (await self.get(f"alerts?twinId={twin_id}"))["items"]


class Obeying:
    """A device that remembers what it was told."""

    def __init__(self, client: IoTHubDeviceClient) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.client = client

    async def answer(self, request: MethodRequest) -> None:
        """Remember a direct method, and do what it says."""
        self.told.append((request.name, request.payload))
        said = {"speed": request.payload["request"]}
        await self.client.send_method_response(MethodResponse.create_from_method_request(request, 200, said))


@asynccontextmanager
async def obeying(stack: Stack, device_id: str) -> AsyncIterator[Obeying]:
    """Connect a registered device that answers methods."""
    async with stack.connected(device_id) as client:
        device = Obeying(client)
        # The SDK subscribes as the handler is set, and blocks until the hub has answered, which runs on this loop.
        await asyncio.to_thread(setattr, client, "on_method_request_received", device.answer)
        yield device


async def send(device: IoTHubDeviceClient, rows: object) -> None:
    """Send readings in one message."""
    message = Message(json.dumps(rows), message_id=uuid.uuid4().hex)
    message.content_type, message.content_encoding = "application/json", "utf-8"
    await device.send_message(message)


async def introduced(stack: Stack, device_id: str) -> None:
    """Register a device, let it say something once, and go away."""
    async with stack.device(device_id) as device:
        await send(device, Machine().rows(3))
    async with stack.graph() as graph:

        async def look() -> bool:
            return any([twin["$dtId"] == device_id async for twin in graph.query_twins("SELECT * FROM DIGITALTWINS")])

        await eventually(look, 60)


async def test_an_offline_device_delays_nobody_and_finds_the_newest_desired_value(stack: Stack, app: App) -> None:
    """While it is away, another obeys at once."""
    await introduced(stack, "pump-away")
    await introduced(stack, "pump-there")
    async with obeying(stack, "pump-there") as there:
        for number, speed in enumerate((2400.0, 2200.0, 1900.0)):
            await app.command("pump-away", "setSpeed", request=speed, operationId=f"away-{number}")
        await app.command("pump-there", "setSpeed", request=2000.0, operationId="there")
        answered = await app.ended("pump-there", "there", "answered")
    assert (answered["answerStatus"], answered["answer"]) == (200, {"speed": 2000.0})
    ((name, payload),) = there.told
    assert (name, payload["request"], payload["operationId"]) == ("setSpeed", 2000.0, "there")
    assert payload["stateVersion"] >= 1
    for number in range(3):
        await app.ended("pump-away", f"away-{number}", "delivered")
    async with stack.connected("pump-away") as away:
        desired = (await away.get_twin())["desired"]
    assert desired["speedSetpoint"]["value"] == 1900.0
    assert desired["speedSetpoint"]["operationId"] == "away-2"


async def test_a_command_repeated_under_its_id_happens_once(stack: Stack, app: App) -> None:
    """Whether it is repeated at once or after the answer."""
    await introduced(stack, "pump-repeat")
    async with obeying(stack, "pump-repeat") as device:
        again = {"request": 1800.0, "operationId": "once"}
        await asyncio.gather(*(app.command("pump-repeat", "setSpeed", **again) for _ in range(5)))
        await app.ended("pump-repeat", "once", "answered")
        await app.command("pump-repeat", "setSpeed", **again)
        await app.command("pump-repeat", "setSpeed", request=1700.0, operationId="other")
        await app.ended("pump-repeat", "other", "answered")
    assert [payload["operationId"] for _, payload in device.told] == ["once", "other"]


async def test_an_expired_command_is_not_delivered_late(stack: Stack, app: App) -> None:
    """The device comes back, and is told nothing."""
    await introduced(stack, "pump-late")
    await app.command("pump-late", "resume", operationId="late", expiresInSeconds=1.0)

    async def look() -> bool:
        await app.ticker.fire()
        return (await app.get("twins/pump-late/operations/late"))["status"] == "expired"

    await eventually(look, 60)
    async with obeying(stack, "pump-late") as device:
        await app.ticker.fire()
        await app.command("pump-late", "resume", operationId="in-time")
        await app.ended("pump-late", "in-time", "answered")
    assert [payload["operationId"] for _, payload in device.told] == ["in-time"]


async def test_cavitation_slows_the_pump_and_its_alert_survives(stack: Stack, host: FunctionsHost, app: App) -> None:
    """Raised once, explained, acknowledged over HTTP, not raised again by the worker that takes over."""
    machine = Machine(seconds=125.0)  # what is older commands nothing
    async with stack.device("pump-dry") as registered:
        await send(registered, machine.rows(80))
    async with obeying(stack, "pump-dry") as device:
        await send(device.client, machine.rows(20, STARVED))
        (alert,) = await eventually(lambda: app.alerts("pump-dry"), 60)
        operation = await app.ended("pump-dry", "auto-cavitation-2", "answered")
        assert (operation["caller"], operation["reason"]["rule"]) == ("rule:cavitation", "cavitation")
        assert operation["reason"]["signal"] == "cavitationMargin"
        assert operation["reason"]["value"] < 0.5
        assert operation["request"] == pytest.approx(0.85 * operation["reason"]["values"]["lastSpeed"])
        assert device.told[0][1]["request"] == operation["request"]
        worker = host.pids["mailbox"]
        os.kill(worker, signal.SIGKILL)
        path = f"twins/pump-dry/alerts/{alert['alertId']}"
        await app.post(f"{path}/acknowledge", {"operationId": "seen"})
        await app.ended("pump-dry", "seen", "persisted")
        await send(device.client, machine.rows(20, STARVED))
        await send(device.client, machine.rows(1))  # the strainer is clean
        await eventually(lambda: cleared(app), 60)
    (alert,) = await app.alerts("pump-dry")
    assert alert["acknowledgedBy"]
    assert alert["reason"]["position"]


async def cleared(app: App) -> bool:
    """Whether the alert has ended."""
    return all(alert["status"] == "cleared" for alert in await app.alerts("pump-dry"))
