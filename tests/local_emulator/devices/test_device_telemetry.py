"""Devices send over the genuine SDK to the IoT Hub emulator."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from local_emulator.devices import Mapping, PumpFleet, load_mapping, replay
from local_emulator.devices import connection as connection_module
from local_emulator.devices.__main__ import MAPPINGS
from local_emulator.devices.connection import DeviceConnection
from local_emulator.devices.errors import ConnectionsError, RecordingError
from local_emulator.devices.mapping import ChannelColumn, TimeColumn
from local_emulator.devices.pumps import MODEL, NOISE
from tests.local_emulator.devices.conftest import DeviceHub, until

REPOSITORY = Path(__file__).parents[3]
PLAIN = Mapping(time=TimeColumn("t", format="unix"), channels={"flow": ChannelColumn("flow")})


def _bodies(hub: DeviceHub, device_id: str) -> list[dict[str, object]]:
    return [json.loads(event.body) for event in hub.events if event.device_id == device_id]


def _seconds(body: dict[str, object]) -> float:
    return datetime.fromisoformat(str(body["time"])).timestamp()


def _recording(path: Path, times: list[float]) -> Path:
    path.write_text("t;flow\n" + "".join(f"{at};{number}\n" for number, at in enumerate(times)), "utf-8")
    return path


async def test_skab_plays_as_a_pump(hub: DeviceHub, shared_data: Path) -> None:
    """Every row arrives once, in order, as a message of a pump, with its time moved to now."""
    pump = await hub.add("skab")
    started = time.time()
    report = await replay(
        shared_data / "skab/valve1/2.csv.gz",
        load_mapping(MAPPINGS / "skab.toml"),
        pump,
        speed=50.0,
        limit=100,
        ca_file=hub.ca_file,
    )
    assert (report.sent, report.skipped, report.flawed) == (100, {}, {})
    assert "100 rows sent, 0 skipped" in str(report)
    assert len({event.properties["message-id"] for event in hub.events}) == len(hub.events) == 100
    for event in hub.events:
        assert event.properties["content-type"] == "application/json"
        assert event.annotations["dt-dataschema"] == MODEL
    bodies = _bodies(hub, "skab")
    assert bodies[0]["dischargePressure"] == pytest.approx(38.2638 + 101.325)
    assert bodies[1]["flow"] == pytest.approx(31.999 * 0.06)
    times = [_seconds(body) for body in bodies]
    assert started - 0.01 <= times[0] <= started + 5.0
    assert times[1] - times[0] == pytest.approx(0.02, abs=0.002)
    assert times == sorted(times)
    assert times[-1] <= time.time()


async def test_recorded_times_can_be_kept(hub: DeviceHub, tmp_path: Path) -> None:
    """Then only the pauses follow the clock."""
    path = _recording(tmp_path / "rows.csv", [1e9, 1e9 + 0.25, 1e9 + 60.0])
    await replay(path, PLAIN, await hub.add("kept"), speed=600.0, keep_time=True, ca_file=hub.ca_file)
    assert [body["time"] for body in _bodies(hub, "kept")] == [
        "2001-09-09T01:46:40.000Z",
        "2001-09-09T01:46:40.250Z",
        "2001-09-09T01:47:40.000Z",
    ]


async def test_speed_sets_the_pace(hub: DeviceHub, tmp_path: Path) -> None:
    """Ten seconds of recording at tenfold speed take one, on the clock and in the time stamps."""
    path = _recording(tmp_path / "rows.csv", [0.0, 4.0, 10.0])
    report = await replay(path, PLAIN, await hub.add("fast"), speed=10.0, ca_file=hub.ca_file)
    assert report.seconds >= 1.0
    first, second, third = (_seconds(body) for body in _bodies(hub, "fast"))
    assert (second - first, third - first) == pytest.approx((0.4, 1.0), abs=0.002)


async def test_a_replay_can_be_stopped(hub: DeviceHub, tmp_path: Path) -> None:
    """It ends in a pause of the recording as well, and says how far it was."""
    path = _recording(tmp_path / "rows.csv", [0.0, 3600.0])
    stop = asyncio.Event()
    playing = asyncio.create_task(replay(path, PLAIN, await hub.add("long"), ca_file=hub.ca_file, stop=stop))
    await until(lambda: hub.events)
    stop.set()
    assert (await playing).sent == 1


async def test_a_recording_that_breaks_off_says_how_far_it_went(hub: DeviceHub, tmp_path: Path) -> None:
    """What was readable has been sent."""
    with pytest.raises(RecordingError, match=r"cannot be read.*so far 0 rows sent"):
        await replay(tmp_path / "none.csv", PLAIN, await hub.add("broken"), ca_file=hub.ca_file)


async def test_a_fleet_sends_what_its_pumps_show(hub: DeviceHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pump sends its own readings as itself; at the end none is missing."""
    monkeypatch.setenv("SSL_CERT_FILE", str(hub.ca_file))
    names = ("pump-1", "pump-2", "pump-3")
    fleet = PumpFleet([await hub.add(name) for name in names], seed=1, acceleration=[1.0, 2.0, 3.0], period=0.1)
    stop = asyncio.Event()
    running = asyncio.create_task(fleet.run(stop))
    await until(lambda: all(len(_bodies(hub, name)) >= 5 for name in names))
    stop.set()
    await running
    assert fleet.report.lost == 0
    assert fleet.report.made == fleet.report.sent == len(hub.events)
    assert len({event.properties["message-id"] for event in hub.events}) == len(hub.events)
    assert {event.annotations["dt-dataschema"] for event in hub.events} == {MODEL}
    flows = set()
    for name in names:
        bodies = _bodies(hub, name)
        assert len(bodies) == fleet.report.made / len(names)
        assert all(set(body) == {"time", *NOISE} for body in bodies)
        times = [_seconds(body) for body in bodies]
        assert times == sorted(set(times))
        assert abs(time.time() - times[-1]) < 60.0
        flows.add(bodies[0]["flow"])
    assert len(flows) == len(names)


async def test_a_send_that_fails_is_repeated(hub: DeviceHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that the hub does not let in keeps its reading until it does."""
    monkeypatch.setattr(connection_module, "FIRST_PAUSE_SECONDS", 0.05)
    pump = await hub.add("locked", "disabled")
    async with DeviceConnection(pump, model=MODEL, ca_file=hub.ca_file) as connection:
        sending = asyncio.create_task(connection.send(1e9, {"flow": 1.0}))
        await until(lambda: connection.retries >= 2)
        device = await asyncio.to_thread(hub.registry.get_device, "locked")
        keys = device.authentication.symmetric_key
        await asyncio.to_thread(
            hub.registry.update_device_with_sas, "locked", device.etag, keys.primary_key, keys.secondary_key, "enabled"
        )
        await sending
    assert _bodies(hub, "locked") == [{"time": "2001-09-09T01:46:40.000Z", "flow": 1.0}]


async def test_what_the_stream_refused_comes_again_with_its_id(hub: DeviceHub) -> None:
    """So whoever reads the stream can tell a repetition from a new reading."""
    hub.failures = 1
    async with DeviceConnection(await hub.add("again"), model=MODEL, ca_file=hub.ca_file) as connection:
        await connection.send(1e9, {"flow": 1.0})
    first, second = hub.tried
    assert hub.events == [second]
    assert first.properties["message-id"] == second.properties["message-id"]


async def test_a_fleet_counts_what_it_could_not_send(hub: DeviceHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings of a pump that was never let in are lost in the end, not forgotten."""
    monkeypatch.setattr("local_emulator.devices.fleet.FAREWELL_SECONDS", 0.1)
    pumps = [await hub.add("let-in"), await hub.add("kept-out", "disabled")]
    fleet = PumpFleet(pumps, period=0.05, ca_file=hub.ca_file)
    stop = asyncio.Event()
    running = asyncio.create_task(fleet.run(stop))
    await until(lambda: len(hub.events) >= 3)
    stop.set()
    await running
    assert {event.device_id for event in hub.events} == {"let-in"}
    assert fleet.report.lost >= fleet.report.made // 2
    assert fleet.report.made == fleet.report.sent + fleet.report.lost


@pytest.mark.parametrize(("wrong", "match"), [({"speed": 0.0}, "speed"), ({"limit": -1}, "limit")])
async def test_replays_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, Any], match: str) -> None:
    """Before anything connects."""
    with pytest.raises(RecordingError, match=match):
        await replay(_recording(tmp_path / "rows.csv", [0.0]), PLAIN, "x", **wrong)


def test_fleets_that_make_no_sense_are_refused() -> None:
    """Before anything connects."""
    for arguments in ({"connection_strings": []}, {"connection_strings": ["x"], "acceleration": [1.0, 2.0]}):
        with pytest.raises(ConnectionsError):
            PumpFleet(**arguments)
    with pytest.raises(ConnectionsError, match="heal"):
        PumpFleet(["x"], acceleration=-1.0)
    with pytest.raises(ConnectionsError, match="period"):
        PumpFleet(["x"], period=0.0)
    with pytest.raises(ConnectionsError, match="no connection string"):
        DeviceConnection("x", model=MODEL)


async def test_the_command_line(hub: DeviceHub, tmp_path: Path) -> None:
    """Both commands work as programs of their own; one ends with its file, one with a signal."""
    environment = {**os.environ, "SSL_CERT_FILE": str(hub.ca_file)}
    program = [sys.executable, "-m", "local_emulator.devices"]
    mapping = tmp_path / "plain.toml"
    mapping.write_text('[time]\ncolumn = "t"\nformat = "unix"\n[channels.flow]\ncolumn = "flow"\n', "utf-8")
    path = _recording(tmp_path / "rows.csv", [0.0, 1.0, 2.0])
    played = await asyncio.create_subprocess_exec(
        *program, "replay", path, "--mapping", mapping, "--connection-string", await hub.add("played"),
        "--speed", "100", "--limit", "2", cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE,
    )  # fmt: skip
    output, _ = await played.communicate()
    assert played.returncode == 0
    assert b"end: 2 rows sent, 0 skipped" in output
    assert [body["flow"] for body in _bodies(hub, "played")] == [0.0, 1.0]
    connections = tmp_path / "pumps.json"
    connections.write_text(json.dumps([await hub.add("run-1")]), "utf-8")
    running = await asyncio.create_subprocess_exec(
        *program, "run", "--connections", connections, "--period", "0.1", cwd=REPOSITORY, env=environment,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    await until(lambda: len(_bodies(hub, "run-1")) >= 2)
    running.send_signal(signal.SIGTERM)
    _, errors = await running.communicate()
    assert running.returncode == 0, errors
    assert b"0 lost" in errors
