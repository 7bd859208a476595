"""The command that starts the services, as a user runs it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.digitaltwins.core.aio import DigitalTwinsClient

from tests.end_to_end.tokens import TestCredential

ROOT = Path(__file__).parents[2]
MODEL = {"@context": "dtmi:dtdl:context;3", "@id": "dtmi:test:Thing;1", "@type": "Interface"}


async def start(data_dir: Path, *arguments: str) -> Process:
    """Start the emulator."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local_emulator",
        *arguments,
        "--data-dir",
        str(data_dir),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@contextlib.asynccontextmanager
async def up(data_dir: Path, *arguments: str) -> AsyncIterator[tuple[Process, dict[str, Any]]]:
    """Run services until the context is left, and end them as Ctrl-C does."""
    ready_file = data_dir.with_suffix(".ready")
    process = await start(data_dir, "up", "--ready-file", str(ready_file), *arguments)
    try:
        async with asyncio.timeout(60):
            while not ready_file.exists():
                assert process.returncode is None, (await process.communicate())[1].decode()
                await asyncio.sleep(0.05)
        yield process, json.loads(ready_file.read_text())
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, errors.decode()
        assert not ready_file.exists()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def graph(ready: dict[str, Any]) -> DigitalTwinsClient:
    """Return the official client of the graph."""
    return DigitalTwinsClient(ready["digital_twins"]["url"], TestCredential(), authentication_policy=SansIOHTTPPolicy())


async def test_only_digital_twins_and_its_state_after_a_restart(tmp_path: Path) -> None:
    """One service runs alone, and knows after a restart what it knew before."""
    arguments = ("--only", "digital-twins", "--any-ports")
    async with up(tmp_path / "data", *arguments) as (_, ready):
        assert "storage" not in ready
        assert "iot_hub" not in ready
        async with graph(ready) as client:
            await client.create_models([MODEL])
            await client.upsert_digital_twin("thing-1", {"$metadata": {"$model": MODEL["@id"]}})
    async with up(tmp_path / "data", *arguments) as (_, ready), graph(ready) as client:
        assert (await client.get_digital_twin("thing-1"))["$metadata"]["$model"] == MODEL["@id"]


async def test_everything_starts_and_everything_it_started_ends(tmp_path: Path) -> None:
    """The ready file names all services; Ctrl-C ends the workers too."""
    async with up(tmp_path / "data", "--any-ports") as (process, ready):
        assert {"storage", "event_hubs", "iot_hub", "digital_twins", "functions", "ca_file", "pid"} <= set(ready)
        assert ready["pid"] == process.pid
        pids = ready["functions"]["pids"]
        assert set(pids) == {"http", "mailbox", "sweep"}
        assert (tmp_path / "data.ready").stat().st_mode & 0o077 == 0
    for pid in pids.values():
        assert not _is_alive(pid)


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """The error says which port, of which service, and which option changes it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = await start(
            tmp_path / "data", "up", "--only", "digital-twins", "--any-ports", "--digital-twins-port", str(port)
        )
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    lines = errors.decode().strip().splitlines()
    assert len(lines) == 1
    assert str(port) in lines[0]
    assert "digital-twins" in lines[0]
    assert "--digital-twins-port" in lines[0]


async def test_one_emulator_to_a_folder(tmp_path: Path) -> None:
    """A second emulator on the same data is refused."""
    arguments = ("--only", "digital-twins", "--any-ports")
    async with up(tmp_path / "data", *arguments):
        second = await start(tmp_path / "data", "up", *arguments)
        _, errors = await asyncio.wait_for(second.communicate(), 30)
        assert second.returncode == 1
        assert "already runs" in errors.decode()


async def test_devices_are_added_listed_and_removed(tmp_path: Path) -> None:
    """The device commands work on the running hub, and say what they did."""
    data_dir = tmp_path / "data"

    async def command(*arguments: str) -> tuple[int, str]:
        process = await start(data_dir, *arguments)
        printed, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode is not None
        return process.returncode, printed.decode()

    assert (await command("device", "list"))[0] == 3
    async with up(data_dir, "--only", "iot-hub", "--any-ports"):
        assert (await command("device", "add", "pump-7", "--acceleration", "10"))[0] == 0
        code, printed = await command("device", "list", "-o", "json")
        assert code == 0
        assert [row["device"] for row in json.loads(printed)] == ["pump-7"]
        assert (await command("device", "remove", "pump-7", "--yes"))[0] == 0
        assert (await command("device", "remove", "pump-7", "--yes"))[0] == 1


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
