"""The host: loads an app, runs its function groups in processes of their own, answers HTTP."""

import asyncio
import hashlib
import ipaddress
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from aiohttp import web

from local_emulator.functions_host.bindings import FunctionSpec, HttpTrigger
from local_emulator.functions_host.errors import SettingsError, WorkerError
from local_emulator.functions_host.front import Front
from local_emulator.functions_host.host_json import read_host_json
from local_emulator.functions_host.keys import Keys, ensure_keys
from local_emulator.functions_host.messages import WorkerOrder
from local_emulator.functions_host.routes import RouteTable
from local_emulator.functions_host.supervisor import GroupSupervisor, Launcher, minimal_environment

__all__ = ["FunctionsHost", "Pace"]


@dataclass(frozen=True)
class Pace:
    """How fast things happen, in seconds; the defaults suit one machine."""

    balancing_interval: float = 2.0
    ownership_expiry: float = 10.0
    start_limit: float = 60.0
    stop_limit: float = 10.0
    longest_pause: float = 4.0
    """Before a worker that keeps dying is started again."""


class FunctionsHost:
    """Runs the function app of a folder, unchanged, until the context is left.

    Parameters
    ----------
    app_dir
        The folder with function_app.py and host.json.
    settings
        The app settings: the workers' environment, beside the little that every program needs.
    data_dir
        Where the function keys are kept.
    host, port
        Where to listen: loopback only; port 0 asks the system.
    pace
        Balancing of partitions, limits of start and stop.
    log
        Takes what the workers and the host print, one line at a time; standard error by default.
    """

    def __init__(
        self,
        app_dir: Path,
        *,
        settings: Mapping[str, str],
        data_dir: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        pace: Pace | None = None,
        log: TextIO | None = None,
    ) -> None:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise SettingsError(f"the local host listens on loopback only, not on {host}")
        self._app_dir = app_dir.resolve()
        self._settings = settings
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._pace = pace or Pace()
        self._log = log
        self._groups: dict[str, GroupSupervisor] = {}
        self._runner: web.AppRunner | None = None
        self._launcher: Launcher | None = None
        self.url = ""
        self.functions: Sequence[FunctionSpec] = ()
        self.keys = Keys("", "", {})
        self._routes = RouteTable((), "")

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each group's worker; a group that is being restarted is missing."""
        return {name: group.pid for name, group in self._groups.items() if group.pid is not None}

    @property
    def key_file(self) -> Path:
        """Where the function keys are kept, readable by their owner only."""
        return self._data_dir / "function_keys.json"

    def route_urls(self) -> dict[str, str]:
        """The URL template of each HTTP function."""
        return {route.function.name: f"{self.url}/{route.template}" for route in self._routes.routes}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        options = read_host_json(self._app_dir)
        host_id = self._settings.get("AzureFunctionsWebHost__hostid") or _host_id(self._app_dir)
        order = WorkerOrder(
            app_dir=str(self._app_dir),
            socket=-1,
            host_id=host_id,
            instance_id=str(uuid.uuid4()),
            options=options,
            balancing_interval=self._pace.balancing_interval,
            ownership_expiry=self._pace.ownership_expiry,
        )
        launcher = self._launcher = Launcher(self._environment(), order, self._write_line)
        self.functions = await launcher.index_app(self._pace.start_limit)
        self._routes = RouteTable(self.functions, options.route_prefix)
        self._data_dir.mkdir(parents=True, exist_ok=True)
        called = [item.name for item in self.functions if isinstance(item.trigger, HttpTrigger)]
        self.keys = ensure_keys(self.key_file, called)
        for group in dict.fromkeys(function.group for function in self.functions):
            self._groups[group] = GroupSupervisor(group, launcher, self._pace.longest_pause)
        await self._wait_until_ready()
        front = Front(self.functions, self._routes, self.keys, self._groups, host_id)
        self._runner = web.AppRunner(front.application, access_log=None, shutdown_timeout=self._pace.stop_limit)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://{self._host}:{port}"

    async def _wait_until_ready(self) -> None:
        waiting = {group.ready for group in self._groups.values()}
        done, pending = await asyncio.wait(waiting, timeout=self._pace.start_limit, return_when=asyncio.FIRST_EXCEPTION)
        for ready in done:
            ready.result()
        if pending:
            late = sorted(name for name, group in self._groups.items() if not group.ready.done())
            raise WorkerError(f"not running after {self._pace.start_limit:.0f} s: {', '.join(late)}")

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._launcher is not None:
            await self._launcher.close()
        await asyncio.gather(*(group.stop(self._pace.stop_limit) for group in self._groups.values()))
        for group in self._groups.values():
            if group.ready.done() and not group.ready.cancelled():
                # Looked at, so that a failure which another group's hid is not reported as forgotten.
                group.ready.exception()
        self._groups.clear()

    def _environment(self) -> dict[str, str]:
        return {
            **minimal_environment(),
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "FUNCTIONS_EXTENSION_VERSION": "~4",
            "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
            "AzureWebJobsScriptRoot": str(self._app_dir),
            "PYTHONUNBUFFERED": "1",
            **self._settings,
        }

    def _write_line(self, line: str) -> None:
        # Looked up late: standard error may have been replaced since the host was made.
        print(line, file=self._log or sys.stderr, flush=True)


def _host_id(app_dir: Path) -> str:
    """Name the app: instances of one app share locks and schedules by this name."""
    return f"{app_dir.name.lower()[:20]}-{hashlib.sha256(str(app_dir).encode()).hexdigest()[:8]}"
