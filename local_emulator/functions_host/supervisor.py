"""One worker process per function group: started, listened to, restarted when it dies."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from local_emulator.functions_host import errors
from local_emulator.functions_host.bindings import FunctionSpec
from local_emulator.functions_host.errors import HostError, WorkerError
from local_emulator.functions_host.messages import (
    Channel,
    FireTimer,
    HttpCall,
    HttpReply,
    Indexed,
    LoadFailed,
    Message,
    Ready,
    RunGroup,
    WorkerOrder,
)

__all__ = ["GroupSupervisor", "Launcher", "NotRunningError", "minimal_environment"]

_ROOT = Path(__file__).resolve().parents[2]
# The app's own modules must win over ours, so the repository goes to the end of the path.
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv[1]); from local_emulator.functions_host.worker import main; main(sys.argv[2])"
)
_FIRST_PAUSE, _HEALTHY_AFTER = 0.5, 5.0
_EXIT_SECONDS = 10.0
_CHUNK = 65536


class NotRunningError(HostError):
    """The group's worker is not there just now; the call was not delivered."""


class Launcher:
    """Starts worker processes of one app.

    Parameters
    ----------
    environment
        All that a worker sees.
    order
        What each worker is told; the socket is filled in.
    write_line
        Takes each line that a worker prints, with the group before it.
    """

    def __init__(self, environment: Mapping[str, str], order: WorkerOrder, write_line: Callable[[str], None]) -> None:
        self._environment = environment
        self._order = order
        self.write_line = write_line
        self._spare: _Worker | None = None

    async def index_app(self, seconds: float) -> list[FunctionSpec]:
        """Load the app to learn its functions; that process becomes the first group's worker."""
        worker = await self._spawn()
        message: Message | None = None
        try:
            async with asyncio.timeout(seconds):
                message = await worker.channel.receive()
        except TimeoutError:
            raise WorkerError(f"the app was not loaded within {seconds:.0f} s") from None
        finally:
            if isinstance(message, Indexed):
                self._spare = worker
            else:
                await worker.stop(seconds=1)
                code = await worker.ended()
        if isinstance(message, Indexed):
            return message.functions
        if isinstance(message, LoadFailed):
            raise _failure(message)
        raise WorkerError(f"the worker that loads the app {_describe(code)}")

    async def start(self, group: str) -> "_Worker":
        """Start the worker of this group."""
        spare, self._spare = self._spare, None
        worker = spare or await self._spawn()
        worker.label = group
        with contextlib.suppress(ConnectionError):
            # A worker that has died already is noticed by whoever listens to it.
            await worker.channel.send(RunGroup(group))
        return worker

    async def close(self) -> None:
        """End the process that indexed the app, if no group has taken it."""
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.stop(seconds=1)
            await spare.ended()

    async def _spawn(self) -> "_Worker":
        ours, theirs = socket.socketpair()
        with theirs:
            order = msgspec.structs.replace(self._order, socket=theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                _BOOTSTRAP,
                str(_ROOT),
                msgspec.json.encode(order).decode(),
                cwd=order.app_dir,
                env=dict(self._environment),
                stdin=PIPE,
                stdout=PIPE,
                stderr=STDOUT,
                pass_fds=(theirs.fileno(),),
            )
        channel = Channel(*await asyncio.open_connection(sock=ours))
        return _Worker(process, channel, self.write_line)


class _Worker:
    """A running process, its channel and what it prints."""

    def __init__(self, process: Process, channel: Channel, write_line: Callable[[str], None]) -> None:
        self.process = process
        self.channel = channel
        self.label = "index"
        self._write = write_line
        self._output = asyncio.create_task(self._copy_output())

    def _write_line(self, line: str) -> None:
        self._write(f"[{self.label}] {line}")

    async def _copy_output(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        while chunk := await self.process.stdout.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._write_line(line.decode(errors="replace"))
        if rest:
            self._write_line(rest.decode(errors="replace"))

    async def ended(self) -> int:
        """Wait for the process to end and its last words; give its return code."""
        try:
            async with asyncio.timeout(_EXIT_SECONDS):
                code = await self.process.wait()
        except TimeoutError:
            # It has closed its channel, but a thread of the app keeps it from ending.
            self.process.kill()
            code = await self.process.wait()
        # A process that the app started may still hold the pipe: its output is not waited for.
        await asyncio.wait({self._output}, timeout=1)
        self._output.cancel()
        await self.channel.close()
        if self.process.stdin is not None:
            self.process.stdin.close()
        return code

    async def stop(self, seconds: float) -> None:
        """Ask the process to end, and end it when it takes longer than this."""
        if self.process.returncode is None:
            self.process.terminate()
        waiting = asyncio.create_task(self.process.wait())
        done, _ = await asyncio.wait({waiting}, timeout=seconds)
        if not done:
            self._write_line(f"worker did not end within {seconds:.0f} s: killed")
            self.process.kill()
            await waiting


def _failure(message: LoadFailed) -> HostError:
    kind = getattr(errors, message.kind, WorkerError)
    assert issubclass(kind, HostError)
    return kind(message.text)


def _describe(code: int) -> str:
    return f"exited with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"


class GroupSupervisor:
    """Keeps one group's worker running.

    ``ready`` resolves when the first worker runs, or fails with what kept it from running. A worker that keeps dying
    is started again after a pause that doubles up to the longest one.
    """

    def __init__(self, group: str, launcher: Launcher, longest_pause: float) -> None:
        self.group = group
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._launcher = launcher
        self._longest_pause = longest_pause
        self._worker: _Worker | None = None
        self._serving = False
        self._stopping = False
        self._calls: dict[int, asyncio.Future[HttpReply]] = {}
        self._numbers = itertools.count(1)
        self._task = asyncio.create_task(self._keep_running())

    @property
    def pid(self) -> int | None:
        """The process id of the worker, while there is one."""
        return self._worker.process.pid if self._worker else None

    async def call(self, call: HttpCall) -> HttpReply:
        """Have the worker answer; NotRunningError if it is not there, WorkerError if it dies meanwhile."""
        number = next(self._numbers)
        reply: asyncio.Future[HttpReply] = asyncio.get_running_loop().create_future()
        self._calls[number] = reply
        try:
            await self._send(msgspec.structs.replace(call, call=number))
            return await reply
        finally:
            del self._calls[number]

    async def fire(self, function: str) -> None:
        """Have the worker run a timer function now."""
        await self._send(FireTimer(function))

    async def stop(self, seconds: float) -> None:
        """End the worker for good."""
        self._stopping = True
        if self._worker is not None:
            await self._worker.stop(seconds)
        else:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self, message: Message) -> None:
        if self._worker is None or not self._serving:
            raise NotRunningError(f"the worker of {self.group} is not running")
        try:
            await self._worker.channel.send(message)
        except ConnectionError as error:
            raise NotRunningError(f"the worker of {self.group} is not running") from error

    async def _keep_running(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping:
            started = asyncio.get_running_loop().time()
            self._worker = await self._launcher.start(self.group)
            if self._stopping:
                # Asked to stop while this one was being started.
                self._worker.process.terminate()
            await self._listen(self._worker.channel)
            self._serving = False
            code = await self._worker.ended()
            self._worker = None
            error = WorkerError(f"the worker of {self.group} {_describe(code)}")
            self._fail_calls(error)
            if not self.ready.done():
                self.ready.set_exception(error)
            if self._stopping:
                return
            if asyncio.get_running_loop().time() - started > _HEALTHY_AFTER:
                pause = _FIRST_PAUSE
            self._launcher.write_line(f"[{self.group}] worker {_describe(code)}: restart in {pause:.1f} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause)

    async def _listen(self, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            if isinstance(message, HttpReply):
                if (waiting := self._calls.get(message.call)) is not None and not waiting.done():
                    waiting.set_result(message)
            elif isinstance(message, Ready):
                self._serving = True
                if not self.ready.done():
                    self.ready.set_result(None)
            elif isinstance(message, LoadFailed):
                if not self.ready.done():
                    self.ready.set_exception(_failure(message))
                else:
                    self._launcher.write_line(f"[{self.group}] {message.text}")

    def _fail_calls(self, error: WorkerError) -> None:
        for waiting in self._calls.values():
            if not waiting.done():
                waiting.set_exception(error)


def minimal_environment() -> dict[str, str]:
    """Pick what every program needs from this process's environment, and nothing of the user's."""
    wanted = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in wanted if name in os.environ}
