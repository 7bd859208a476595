"""Pumps over the genuine device SDK obey what a service asks of IoT Hub, and their telemetry shows it."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.iot.hub.models import CloudToDeviceMethod, CloudToDeviceMethodResult, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from local_emulator.devices import PumpFleet
from tests.local_emulator.devices.conftest import DeviceHub, until

REPOSITORY = Path(__file__).parents[3]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _order(operation: str, version: int, *, lasts: float = 600.0, **content: Any) -> dict[str, Any]:
    return {"operationId": operation, "stateVersion": version, "expires": _moment(time.time() + lasts), **content}


async def _call(hub: DeviceHub, payload: dict[str, Any], name: str = "setSpeed") -> tuple[int, Any]:
    def invoke() -> CloudToDeviceMethodResult:
        call = CloudToDeviceMethod(method_name=name, payload=payload, response_timeout_in_seconds=30)
        return hub.registry.invoke_device_method("pump-1", call)

    result = await asyncio.to_thread(invoke)
    return result.status, result.payload


async def _desire(hub: DeviceHub, order: dict[str, Any]) -> None:
    twin = Twin(properties=TwinProperties(desired={"speedSetpoint": order}))
    await asyncio.to_thread(hub.registry.update_twin, "pump-1", twin)


def _reported(hub: DeviceHub) -> Any:
    twin = hub.emulator._hub.state.twin("pump-1")
    assert twin is not None
    return twin.reported.values.get("speedSetpoint")


def _listens(hub: DeviceHub) -> bool:
    """Whether the pump hears methods and has asked for what is desired."""
    session = hub.emulator._hub.sessions.get("pump-1")
    return session is not None and session.hears_methods and len(session.subscriptions) == 3


def _speeds(hub: DeviceHub) -> list[float]:
    return [json.loads(event.body)["speed"] for event in hub.events]


def _shows(hub: DeviceHub, speed: float) -> Callable[[], bool]:
    return lambda: abs(_speeds(hub)[-1] - speed) < 20.0


class Pump:
    """A pump of a fleet of one, which can be switched off and on."""

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string

    async def start(self, hub: DeviceHub) -> None:
        """Start a new pump, and wait until it sends and listens."""
        heard = len(hub.events)
        self._stop = asyncio.Event()
        fleet = PumpFleet([self._connection_string], seed=3, period=0.05, ca_file=hub.ca_file)
        self._running = asyncio.create_task(fleet.run(self._stop))
        await until(lambda: _listens(hub) and len(hub.events) > heard)

    async def stop(self) -> None:
        """Switch it off."""
        self._stop.set()
        await self._running


@pytest.fixture
async def pump(hub: DeviceHub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pump]:
    """A pump that turns and listens; its speed follows at once enough for a test."""
    monkeypatch.setattr("local_emulator.devices.pumps.RAMP", 1.0)
    pump = Pump(await hub.add("pump-1"))
    await pump.start(hub)
    yield pump
    await pump.stop()


async def test_a_method_is_obeyed_and_telemetry_shows_it(hub: DeviceHub, pump: Pump) -> None:
    """Each command by its answer and by what the sensors show then."""
    assert pump
    own = _speeds(hub)[-1]
    assert own > 2600.0
    assert await _call(hub, _order("a", 5, request=2000.0)) == (200, {"speed": 2000.0})
    await until(_shows(hub, 2000.0))
    assert await _call(hub, _order("b", 6, request=0)) == (200, {"speed": 0.0})
    await until(lambda: _speeds(hub)[-1] == 0.0)
    body = json.loads(hub.events[-1].body)
    assert (body["flow"], body["power"]) == (0.0, 0.0)
    status, payload = await _call(hub, _order("c", 7, request=None), "resume")
    assert (status, payload["speed"]) == (200, pytest.approx(own, rel=0.05))
    await until(_shows(hub, payload["speed"]))


async def test_what_is_not_to_be_obeyed_is_refused(hub: DeviceHub, pump: Pump) -> None:
    """Repeated, older, expired, unknown and bad commands, each with its status, change nothing."""
    assert pump
    assert await _call(hub, _order("a", 5, request=2000.0)) == (200, {"speed": 2000.0})
    assert await _call(hub, _order("a", 5, request=1000.0)) == (200, {"speed": 2000.0})
    for status, order, name in (
        (409, _order("b", 4, request=1000.0), "setSpeed"),
        (410, _order("c", 6, lasts=-1.0, request=1000.0), "setSpeed"),
        (400, _order("d", 6, request="fast"), "setSpeed"),
        (404, _order("e", 6, request=1000.0), "explode"),
    ):
        answer, payload = await _call(hub, order, name)
        assert (answer, list(payload)) == (status, ["error"])
    heard = len(hub.events)
    await until(lambda: len(hub.events) > heard + 3)
    assert _shows(hub, 2000.0)()


async def test_a_connected_pump_does_what_is_desired(hub: DeviceHub, pump: Pump) -> None:
    """And reports it as IoT Plug and Play wants it; older and expired wishes are passed over."""
    assert pump
    await _desire(hub, _order("a", 5, value=2000.0))
    await until(lambda: _reported(hub))
    assert _reported(hub) == {"value": 2000.0, "ac": 200, "av": 2, "ad": "obeyed"}
    await until(_shows(hub, 2000.0))
    await _desire(hub, _order("b", 4, value=1000.0))
    await _desire(hub, _order("c", 6, lasts=-1.0, value=1100.0))
    await _desire(hub, _order("d", 6, value=1200.0))
    await until(lambda: _reported(hub)["av"] == 5)
    assert _reported(hub)["value"] == 1200.0
    await until(_shows(hub, 1200.0))


async def test_a_pump_that_comes_back_does_the_newest_that_is_desired(hub: DeviceHub, pump: Pump) -> None:
    """A method finds it offline at once; what is desired meanwhile waits, unless it expires."""
    await pump.stop()
    began = time.monotonic()
    with pytest.raises(HttpOperationError) as raised:
        await _call(hub, _order("a", 5, request=2000.0))
    assert "404103" in raised.value.response.text
    assert time.monotonic() - began < 5.0
    await _desire(hub, _order("a", 5, value=2000.0))
    await _desire(hub, _order("b", 6, value=1500.0))
    await pump.start(hub)
    await until(lambda: _reported(hub))
    assert _reported(hub) == {"value": 1500.0, "ac": 200, "av": 3, "ad": "obeyed"}
    await until(_shows(hub, 1500.0))
    await pump.stop()
    await _desire(hub, _order("c", 7, lasts=-1.0, value=1000.0))
    await pump.start(hub)
    await until(lambda: hub.emulator.is_connected("pump-1"))
    assert (await _call(hub, _order("d", 1, request=2700.0)))[0] == 200
    assert _reported(hub)["value"] == 1500.0


async def test_a_pump_whose_connection_is_cut_does_what_was_desired_meanwhile(hub: DeviceHub, pump: Pump) -> None:
    """The same pump, over a new connection; an operation that it has done is not done again."""
    assert pump
    assert (await _call(hub, _order("a", 5, request=2000.0)))[0] == 200
    assert hub.emulator.kick("pump-1")
    await _desire(hub, _order("b", 6, value=1500.0))
    await until(lambda: _reported(hub))
    await until(_shows(hub, 1500.0))
    assert (await _call(hub, _order("b", 6, request=1500.0))) == (200, {"speed": 1500.0})
    assert (await _call(hub, _order("c", 5, request=1000.0)))[0] == 409


async def test_a_killed_device_is_offline_at_once(hub: DeviceHub, tmp_path: Path) -> None:
    """The system of a killed process closes its connection, so the hub need not wait for the keep-alive."""
    path = tmp_path / "connections.json"
    path.write_text(json.dumps([await hub.add("pump-1")]), "utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local_emulator.devices",
        "run",
        f"--connections={path}",
        f"--ca-file={hub.ca_file}",
        "--period=0.1",
        cwd=REPOSITORY,
        env=os.environ,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: _listens(hub) and hub.events)
        assert (await _call(hub, _order("a", 5, request=2000.0)))[0] == 200
        began = time.monotonic()
        process.send_signal(signal.SIGKILL)
        await until(lambda: not hub.emulator.is_connected("pump-1"))
        assert time.monotonic() - began < 5.0
        with pytest.raises(HttpOperationError) as raised:
            await _call(hub, _order("b", 6, request=2000.0))
        assert "404103" in raised.value.response.text
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
