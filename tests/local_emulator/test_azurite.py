"""Azurite as this project runs it, through the genuine storage SDK with retries off."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient

from local_emulator import azurite
from local_emulator.azurite import Azurite, AzuriteError

RUN_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from local_emulator.azurite import Azurite

async def main():
    async with Azurite(Path(sys.argv[1])) as storage:
        print(storage.pid, storage.connection_string, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def client(connection_string: str) -> BlobServiceClient:
    """A blob client that tries once."""
    return BlobServiceClient.from_connection_string(connection_string, retry_total=0)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for another process, which has no event to wait for, up to a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" not in status.read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def storage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Azurite]:
    """One Azurite for the tests that change nothing about the process."""
    async with Azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.mark.asyncio(loop_scope="module")
async def test_all_three_services_listen_on_loopback_ports_of_their_own(storage: Azurite) -> None:
    """Ports asked of the system are reported and answer."""
    assert set(storage.ports) == {"blob", "queue", "table"}
    assert len(set(storage.ports.values())) == 3
    for port in storage.ports.values():
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


@pytest.mark.asyncio(loop_scope="module")
async def test_a_conditional_append_is_refused_at_a_wrong_position(storage: Azurite) -> None:
    """The journal rests on this condition."""
    async with client(storage.connection_string) as service:
        container = await service.create_container("journal")
        blob = container.get_blob_client("0/1")
        await blob.create_append_blob()
        await blob.append_block(b"first", appendpos_condition=0)
        with pytest.raises(Exception, match="AppendPositionConditionNotMet"):
            await blob.append_block(b"second", appendpos_condition=0)
        assert await (await blob.download_blob()).readall() == b"first"


async def test_data_survives_a_restart(tmp_path: Path) -> None:
    """The folder is the state."""
    async with Azurite(tmp_path) as first, client(first.connection_string) as service:
        await (await service.create_container("kept")).upload_blob("name", b"bytes")
    async with Azurite(tmp_path) as second, client(second.connection_string) as service:
        blob = service.get_blob_client("kept", "name")
        assert await (await blob.download_blob()).readall() == b"bytes"
        with pytest.raises(ResourceExistsError):
            await service.create_container("kept")


async def test_leaving_ends_the_process_it_started(tmp_path: Path) -> None:
    """Nothing stays behind."""
    async with Azurite(tmp_path) as running:
        pid = running.pid
        assert is_running(pid)
    assert not is_running(pid)


async def test_it_saves_and_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """A parent that cannot say goodbye leaves neither a process nor a loss."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN_UNTIL_KILLED, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid, connection_string = (await parent.stdout.readline()).decode().split()
    async with client(connection_string) as service:
        await (await service.create_container("kept")).upload_blob("name", b"bytes")
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until(lambda: not is_running(int(pid)))
    async with Azurite(tmp_path) as again, client(again.connection_string) as service:
        assert await (await service.get_blob_client("kept", "name").download_blob()).readall() == b"bytes"


async def test_a_port_in_use_is_told_with_azurites_own_words(tmp_path: Path) -> None:
    """A start that fails says why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AzuriteError, match="EADDRINUSE"):
            await Azurite(tmp_path, blob_port=taken.getsockname()[1]).__aenter__()


async def test_a_missing_installation_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh clone is told to run the setup."""
    monkeypatch.setattr(azurite, "ROOT", tmp_path)
    with pytest.raises(AzuriteError, match="make setup"):
        await Azurite(tmp_path).__aenter__()


def test_a_missing_node_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a machine without Node."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(AzuriteError, match="make setup"):
        azurite.find_node()
