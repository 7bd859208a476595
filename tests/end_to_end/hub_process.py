"""Event Hubs in a process of its own, which can be killed."""

import asyncio
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from local_emulator.event_hubs import HubSpec

_PROGRAM = """
import asyncio, sys
from pathlib import Path
from local_emulator.event_hubs import EventHubs, HubSpec

async def main():
    folder, port, name, partitions, *groups = sys.argv[1:]
    hubs = [HubSpec(name, int(partitions), tuple(groups))]
    async with EventHubs(Path(folder), hubs=hubs, port=int(port)) as service:
        print(service.port, service.connection_string, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class HubProcess:
    """The mailbox of a stack: an async context manager that listens while it is entered.

    Parameters
    ----------
    folder
        Where its log is kept.
    hub
        The only one it has.
    """

    def __init__(self, folder: Path, hub: HubSpec) -> None:
        self.port = 0
        self.connection_string = ""
        self._folder = folder
        self._hub = hub
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def kill(self) -> None:
        """Kill it without a word, and start it again on the same port."""
        await self._end()
        await self._start()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _PROGRAM,
            str(self._folder),
            str(self.port),
            self._hub.name,
            str(self._hub.partition_count),
            *self._hub.consumer_groups,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            line = (await self._process.stdout.readline()).decode()
        port, self.connection_string = line.split()
        self.port = int(port)

    async def _end(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
