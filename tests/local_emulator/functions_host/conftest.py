"""Small function apps, a storage account, and what the apps wrote down."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from local_emulator.azurite import Azurite

HEAD = """
import asyncio, json, logging, os, sys, time
from typing import List
import azure.functions as func

app = func.FunctionApp()

def record(**values):
    values = {"pid": os.getpid(), "function": sys._getframe(1).f_code.co_name, **values}
    with open(os.environ["RECORD"], "ab", buffering=0) as file:
        file.write(json.dumps(values).encode() + b"\\n")
"""


class App:
    """A function app in a folder; ``record(...)`` in its functions is read here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "app"
        self.folder.mkdir()
        self.data = folder / "data"
        self._record = folder / "record"
        self._record.touch()
        self.log = io.StringIO()
        self.settings = {"RECORD": str(self._record)}
        self.write_host_json({})

    def write(self, source: str, *, head: str = HEAD) -> None:
        """Write function_app.py."""
        (self.folder / "function_app.py").write_text(head + source)

    def write_host_json(self, document: dict[str, object]) -> None:
        """Write host.json."""
        (self.folder / "host.json").write_text(json.dumps({"version": "2.0", **document}))

    def records(self) -> list[dict]:
        """What the functions have recorded so far."""
        return [json.loads(line) for line in self._record.read_text().splitlines()]

    async def until(self, condition: Callable[[list[dict]], object], seconds: float = 30) -> list[dict]:
        """Wait until the records satisfy the condition: the functions run in other processes."""
        try:
            await wait_for(lambda: condition(self.records()), seconds)
        except TimeoutError:
            pytest.fail(f"not within {seconds} s; records {self.records()}\nlog:\n{self.log.getvalue()}")
        return self.records()


async def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Poll what another process does, up to a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """An empty app; what its host logged is shown when the test fails."""
    app = App(tmp_path)
    yield app
    sys.stdout.write(app.log.getvalue())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def storage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The connection string of a storage account."""
    async with Azurite(tmp_path_factory.mktemp("storage")) as azurite:
        yield azurite.connection_string


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session
