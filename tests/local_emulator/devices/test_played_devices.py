"""What plays the registered devices: from the command line to what their sensors show."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from local_emulator import registered_devices
from local_emulator.__main__ import main
from local_emulator.play import play
from local_emulator.registered_devices import SimulatedDevice
from tests.local_emulator.devices.conftest import DeviceHub, until


def _ready(hub: DeviceHub, data_dir: Path) -> dict[str, Any]:
    """Write what a running emulator says of itself."""
    ready = {
        "pid": os.getpid(),
        "iot_hub": {
            "host_name": hub.emulator.host_name,
            "service_connection_string": hub.emulator.service_connection_string,
        },
        "settings": {"REQUESTS_CA_BUNDLE": os.environ["REQUESTS_CA_BUNDLE"]},
    }
    (data_dir / "ready.json").write_text(json.dumps(ready))
    return ready


async def test_a_pump_with_a_fault_is_played(
    hub: DeviceHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Added on the command line, listed with its fault, and its suction pressure falls from the first minute on."""
    monkeypatch.setenv("SSL_CERT_FILE", str(hub.ca_file))
    ready = _ready(hub, tmp_path)
    arguments = ["--data-dir", str(tmp_path), "device", "add", "pump-7", "--fault", "clogging", "--acceleration", "2"]
    assert await asyncio.to_thread(main, arguments) == 0
    assert "added" in capsys.readouterr().out
    (row,) = await registered_devices.listed(ready, tmp_path)
    assert row["played by"] == "simulated pump, wears 2 times as fast, its strainer clogs"
    stop = asyncio.Event()
    playing = asyncio.create_task(play(tmp_path, stop))
    await until(lambda: len(hub.events) > 4)
    stop.set()
    await playing
    pressures = [json.loads(event.body)["suctionPressure"] for event in hub.events[:5]]
    # Four seconds of 80 m³/h lay 1,800 s²/m⁵ before the pump: 0.9 m of water, 9 kPa.
    assert pressures[0] - pressures[-1] == pytest.approx(9.0, abs=4.0)


async def test_a_replay_has_no_other_faults(hub: DeviceHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And an unknown fault is wrong usage."""
    _ready(hub, tmp_path)
    file = str(tmp_path / "ready.json")
    add = ["--data-dir", str(tmp_path), "device", "add", "pump-7", "--fault"]
    assert await asyncio.to_thread(main, [*add, "clogging", "--replay", file, "--mapping", file]) == 1
    assert "leave --fault out" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*add, "rust"])
    assert registered_devices.read(tmp_path) == {}


def test_what_plays_a_device_is_remembered(tmp_path: Path) -> None:
    """With its fault; and files of before there were faults can still be read."""
    registered_devices.write(tmp_path, {"a": SimulatedDevice(fault="clogging"), "b": SimulatedDevice()})
    assert registered_devices.read(tmp_path) == {"a": SimulatedDevice(fault="clogging"), "b": SimulatedDevice()}
    (tmp_path / registered_devices.FILE).write_text('{"c":{"acceleration":2.0}}')
    assert registered_devices.read(tmp_path) == {"c": SimulatedDevice(acceleration=2.0)}
