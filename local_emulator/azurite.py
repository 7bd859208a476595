"""Blob, queue and table storage: Azurite, run from the repository's ``node_modules``.

Azurite is Microsoft's own emulator. This module starts it on loopback with telemetry off, learns which
ports it got, and ends it again by closing its standard input. That closes too when this process is gone
without having said so, and Azurite writes what it holds to disk either way.
"""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from pathlib import Path
from typing import Self

START_SECONDS = 60.0  # a cold start takes one to three seconds, on a busy machine ten times that
STOP_SECONDS = 20.0
OUTPUT_LINES_KEPT = 40

# The account and key that Azurite and every Azure SDK know; published by Microsoft, no secret.
ACCOUNT_NAME = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path("node_modules/azurite/dist/src/azurite.js")

# Azurite leaves standard input alone, so its end can mean "stop": we close it, or we died. Azurite then hears
# the signal on which it saves; before it listens for that signal there is nothing to save. Its farewell may
# find no reader, which must not keep it from saving.
BOOTSTRAP = """
process.stdout.on("error", () => {});
process.stdin.on("end", () => process.emit("SIGTERM") || process.exit()).resume();
require(process.argv[1]);
"""
LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at http://[^:]+:(\d+)")


class AzuriteError(Exception):
    """Azurite is not installed, or did not start; the text says what to do."""


def find_node() -> str:
    """The Node executable: the one on the path, or the one that ``make setup`` put beside Python."""
    beside_python = str(Path(sys.executable).parent)
    node = shutil.which("node", path=os.pathsep.join([os.environ.get("PATH", os.defpath), beside_python]))
    if node is None:
        raise AzuriteError("Node is not installed: run `make setup`, which brings one along.")
    return node


class Azurite:
    """One Azurite process with its data in ``data_dir``; ports given as 0 are chosen by the system.

    After entering, ``ports`` has the port of each service and ``connection_string`` reaches all three.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        blob_port: int = 0,
        queue_port: int = 0,
        table_port: int = 0,
    ) -> None:
        self._data_dir = data_dir
        self._host = host
        self._asked = {"blob": blob_port, "queue": queue_port, "table": table_port}
        self._process: Process | None = None
        self._drain: asyncio.Task[None] | None = None
        self._output: deque[str] = deque(maxlen=OUTPUT_LINES_KEPT)
        self.ports: dict[str, int] = {}

    @property
    def connection_string(self) -> str:
        """What ``AzureWebJobsStorage`` and the storage SDKs take."""
        endpoints = "".join(
            f"{service.capitalize()}Endpoint=http://{self._host}:{port}/{ACCOUNT_NAME};"
            for service, port in self.ports.items()
        )
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT_NAME};AccountKey={ACCOUNT_KEY};{endpoints}"

    @property
    def pid(self) -> int:
        """The process id of the Azurite that this object started."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        script = ROOT / SCRIPT
        if not script.exists():
            raise AzuriteError(f"Azurite is not installed ({SCRIPT} is missing): run `make setup`.")
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            find_node(),
            "--eval",
            BOOTSTRAP,
            "--",
            str(script),
            *self._arguments(),
            stdin=PIPE,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for us; we then stop Azurite last
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._wait_until_listening(self._process)
        except TimeoutError:
            await self._stop()
            raise AzuriteError(
                f"Azurite did not answer within {START_SECONDS:.0f} s. Its last words:\n{self._last_words()}"
            ) from None
        except BaseException:
            await self._stop()
            raise
        self._drain = asyncio.create_task(self._read_on(self._process))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    def _arguments(self) -> list[str]:
        ports = [
            option
            for service, port in self._asked.items()
            for option in (f"--{service}Host", self._host, f"--{service}Port", str(port))
        ]
        return [
            *ports,
            "--location",
            str(self._data_dir.resolve()),
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
        ]

    async def _wait_until_listening(self, process: Process) -> None:
        """Read Azurite's output until it has named all three ports."""
        assert process.stdout is not None
        ports: dict[str, int] = {}
        while len(ports) < len(self._asked):
            line = await process.stdout.readline()
            if not line:
                raise AzuriteError(f"Azurite ended while starting. Its last words:\n{self._last_words()}")
            text = line.decode(errors="replace").rstrip()
            self._output.append(text)
            if found := LISTENING.match(text):
                ports[found[1].lower()] = int(found[2])
        self.ports = ports

    async def _read_on(self, process: Process) -> None:
        """Keep the pipe empty: a full one would stop Azurite."""
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self._output.append(line.decode(errors="replace").rstrip())

    def _last_words(self) -> str:
        return "\n".join(f"  {line}" for line in self._output)

    async def _stop(self) -> None:
        """End our own process and no other, giving it time to save; wait until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._drain is None:  # still starting: somebody must read, or its farewell could block it
            self._drain = asyncio.create_task(self._read_on(process))
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await self._drain
        self._drain = None
