"""The command line of the local host, as a user runs it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from .conftest import App, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[3]

ONE_OF_EACH = """
@app.route(route="greet/{name}", methods=["GET"])
def greet(req: func.HttpRequest) -> str:
    return "hello"

@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def pid(req: func.HttpRequest) -> str:
    logging.warning("asked for %s", os.environ["EXTRA"])
    return str(os.getpid())
"""


def is_running(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def worker_pid(http: aiohttp.ClientSession, url: str) -> int:
    """Ask the function which process it runs in."""
    async with http.get(f"{url}/api/pid") as response:
        return int(await response.text())


@pytest.fixture
def run(app: App, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command for the app; what it leaves running is ended."""
    with contextlib.ExitStack() as running:
        errors = running.enter_context((tmp_path / "errors").open("w"))

        def start(*options: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "local_emulator.functions_host", "--app", str(app.folder)]
            command += ["--port", "0", "--data", str(tmp_path / "keys"), *options]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield start


async def test_it_lists_functions_serves_and_ends_on_sigterm(
    app: App, run: Callable[..., subprocess.Popen[str]], http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Functions and URLs are printed, keys never; logs carry their group."""
    app.write(ONE_OF_EACH)
    (app.folder / "local.settings.json").write_text(json.dumps({"Values": {"EXTRA": "from the file"}}))
    process = run()
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    printed = [process.stdout.readline() for _ in range(3)]
    assert f"  greet: GET {url}/api/greet/{{name}} (function)\n" in printed
    assert f"  pid: any method {url}/api/pid (anonymous)\n" in printed
    worker = await worker_pid(http, url)
    assert is_running(worker)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not is_running(worker)
    said = "".join(printed) + (tmp_path / "errors").read_text()
    assert "WARNING root: asked for from the file" in said
    assert said.count("[http]")
    keys = json.loads((tmp_path / "keys" / "function_keys.json").read_text())
    assert all(key not in said for key in (keys["master"], keys["default"], *keys["functions"].values()))


async def test_workers_die_with_the_host_even_when_it_is_killed(
    app: App, run: Callable[..., subprocess.Popen[str]], http: aiohttp.ClientSession
) -> None:
    """Nothing is left behind by SIGKILL."""
    app.write(ONE_OF_EACH)
    process = run("--set", "EXTRA=given")
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    worker = await worker_pid(http, url)
    os.kill(process.pid, signal.SIGKILL)
    await wait_for(lambda: not is_running(worker), 10)


async def test_an_app_that_cannot_run_ends_the_command(
    app: App, run: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Exit code 1 and the reason, without a traceback of the host."""
    app.write("raise RuntimeError('not today')\n")
    process = run()
    assert process.wait(30) == 1
    errors = (tmp_path / "errors").read_text()
    assert "error: function_app.py could not be loaded: RuntimeError: not today" in errors
    assert "functions_host/host.py" not in errors
