"""The devices that `make run` simulates: which there are, and how each behaves.

IoT Hub's own registry knows their identities and keys; this file beside it knows what stands behind them here.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from azure.iot.hub import IoTHubRegistryManager

FILE = "devices.json"

type Fault = Literal["", "clogging"]


class SimulatedDevice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What plays a device.

    Attributes
    ----------
    acceleration : float
        How much faster than real it wears; time stamps stay real.
    fault : str
        What is wrong with a simulated pump: ``clogging`` of the strainer before it; empty for nothing.
    replay : str
        A recording to replay instead of a simulation.
    mapping : str
        How the recording's columns become channels.
    speed : float
        How much faster than recorded it is replayed.
    keep_time : bool
        Whether the recorded times are sent, or times shifted to now.
    """

    acceleration: float = 1.0
    fault: Fault = ""
    replay: str = ""
    mapping: str = ""
    speed: float = 1.0
    keep_time: bool = False


def read(data_dir: Path) -> dict[str, SimulatedDevice]:
    """Return the devices, in the order in which they were added."""
    path = data_dir / FILE
    return msgspec.json.decode(path.read_bytes(), type=dict[str, SimulatedDevice]) if path.exists() else {}


def write(data_dir: Path, devices: Mapping[str, SimulatedDevice]) -> None:
    """Remember the devices."""
    data_dir.mkdir(parents=True, exist_ok=True)
    partial = data_dir / f".{FILE}"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(dict(devices)), indent=2))
    partial.replace(data_dir / FILE)


def _registry(ready: Mapping[str, Any]) -> IoTHubRegistryManager:
    # The service SDK finds the authority of the emulator's certificate by this variable only.
    os.environ["REQUESTS_CA_BUNDLE"] = ready["settings"]["REQUESTS_CA_BUNDLE"]
    return IoTHubRegistryManager.from_connection_string(ready["iot_hub"]["service_connection_string"])


def _identities(ready: Mapping[str, Any]) -> dict[str, Any]:
    return {device.device_id: device for device in _registry(ready).get_devices(1000) or ()}


async def add(ready: Mapping[str, Any], data_dir: Path, device_id: str, device: SimulatedDevice) -> bool:
    """Register a device unless it is registered, and remember what plays it; return whether it is new."""

    def register() -> bool:
        if device_id in _identities(ready):
            return False
        _registry(ready).create_device_with_sas(device_id, "", "", "enabled")
        return True

    is_new = await asyncio.to_thread(register)
    write(data_dir, {**read(data_dir), device_id: device})
    return is_new


async def remove(ready: Mapping[str, Any], data_dir: Path, device_id: str) -> bool:
    """Remove a device from the registry and from memory; return whether it was there."""
    there = device_id in await asyncio.to_thread(_identities, ready)
    if there:
        await asyncio.to_thread(lambda: _registry(ready).delete_device(device_id))
    write(data_dir, {name: device for name, device in read(data_dir).items() if name != device_id})
    return there


async def listed(ready: Mapping[str, Any], data_dir: Path) -> list[dict[str, Any]]:
    """Return a row for each registered device."""
    identities = await asyncio.to_thread(_identities, ready)
    simulated = read(data_dir)
    return [
        {
            "device": device_id,
            "status": identity.status,
            "connection": identity.connection_state,
            "played by": player(simulated.get(device_id)),
        }
        for device_id, identity in identities.items()
    ]


async def connection_strings(ready: Mapping[str, Any]) -> dict[str, str]:
    """Return the connection string of each registered device."""
    host_name = ready["iot_hub"]["host_name"]
    identities = await asyncio.to_thread(_identities, ready)
    return {
        device_id: f"HostName={host_name};DeviceId={device_id};"
        f"SharedAccessKey={identity.authentication.symmetric_key.primary_key}"
        for device_id, identity in identities.items()
    }


def player(device: SimulatedDevice | None) -> str:
    """Return what plays a device, in words."""
    if device is None:
        return "nobody here"
    if device.replay:
        return f"replay of {Path(device.replay).name}, {device.speed:g} times as fast"
    wears = f", wears {device.acceleration:g} times as fast" if device.acceleration != 1.0 else ""
    clogs = ", its strainer clogs" if device.fault == "clogging" else ""
    return f"simulated pump{wears}{clogs}"
