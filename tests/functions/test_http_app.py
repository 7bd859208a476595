"""What holds for every path: problems, limits, probes, the description."""

import asyncio
import subprocess
import sys
from typing import Any

import httpx
import pytest

from functions.http import probes
from functions.http.app import make_app
from local_emulator.digital_twins import Fault
from tests.functions.http_world import PARTITIONS, World
from twin_actors.documents import Collection, Document
from twin_actors.errors import Unavailable
from twin_actors.gaps import HubState
from twin_actors.gaps.memory import MemoryMailbox
from twin_actors.sinks.memory import MemoryDocuments


async def test_an_unknown_path(http: httpx.AsyncClient) -> None:
    """Is a problem like any other; so is one with a slash too many."""
    for path in ("nothing", "twins/", "twins//relationships", "../live"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:twinfold:problem:path-not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "twins/valve-1", "DELETE, GET, PATCH"),
        ("DELETE", "twins", "GET"),
        ("GET", "twins/valve-1/commands/move", "POST"),
        ("OPTIONS", "live", "GET"),
        ("BREW", "live", "GET"),
    ],
)
async def test_another_method_is_told_which_there_are(
    http: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    """All of them, not the first route's only."""
    answer = await http.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json()["type"] == "urn:twinfold:problem:method-not-allowed"


async def test_a_large_body_is_not_taken(world: World, http: httpx.AsyncClient) -> None:
    """Whether its length was announced or not; one just small enough is."""
    await world.add_valve("valve-1")
    path = "twins/valve-1/commands/close"
    blank = b"{}".ljust(65_536)
    headers = {"Content-Type": "application/json"}
    assert (await http.post(path, content=blank, headers=headers)).status_code == 202

    async def pieces() -> Any:
        for _ in range(65):
            yield b" " * 1024

    for content in (blank + b" ", pieces()):
        answer = await http.post(path, content=content, headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert len(world.sent()) == 1


async def test_live(http: httpx.AsyncClient) -> None:
    """Asks nobody."""
    assert (await http.get("live")).json() == {"status": "live"}


async def test_ready(world: World, http: httpx.AsyncClient) -> None:
    """All answer; before the models are published it is not."""
    assert (await http.get("ready")).json() == {"status": "ready"}
    world.service.faults.add(Fault(kind="status", status=404))
    answer = await http.get("ready")
    assert (answer.status_code, answer.json()["faults"][0]["location"]) == (503, "graph")
    assert "model publish" in answer.json()["detail"]


class Away(MemoryMailbox):
    """A mailbox that does not answer."""

    async def describe(self, partition: int) -> HubState:
        """Answer nothing."""
        raise Unavailable(f"partition {partition} is away")


class Silent(MemoryDocuments):
    """Documents that never answer."""

    async def get(self, collection: Collection, twin_id: str, document_id: str) -> Document | None:
        """Wait for ever."""
        await asyncio.Event().wait()
        return await super().get(collection, twin_id, document_id)


async def test_not_ready_names_who_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is asked for itself, and none for longer than the limit."""
    monkeypatch.setattr(probes, "ANSWER_SECONDS", 0.05)
    world.mailbox = Away(PARTITIONS)
    world.documents = Silent()
    transport = httpx.ASGITransport(make_app(world.sides()))
    async with httpx.AsyncClient(transport=transport, base_url="http://app/api/") as http:
        answer = await http.get("ready")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:twinfold:problem:not-ready")
    assert answer.json()["faults"] == [
        {"location": "documents", "message": "no answer within 0.05 s"},
        {"location": "mailbox", "message": "partition 0 is away"},
    ]
    assert "Retry-After" in answer.headers


def test_a_worker_that_folds_messages_does_not_load_a_web_framework() -> None:
    """Its start would be slower by a third of a second, for nothing."""
    program = "import sys; from functions import api, mailbox, sweep; print({'fastapi', 'pydantic'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.strip() == "set()"


async def test_the_description(http: httpx.AsyncClient) -> None:
    """OpenAPI 3.1 with a name, a tag, a key and problems for each operation, and a page for people."""
    document = (await http.get("openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["components"]["securitySchemes"]) == {"functionKey"}
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) == 20
    for one in operations:
        assert one["tags"]
        assert one["description"]
        assert one["security"] == [{"functionKey": []}]
        assert "422" not in one["responses"]
        for status, answer in one["responses"].items():
            kind = "application/json" if status < "400" else "application/problem+json"
            assert status == "401" or list(answer["content"]) == [kind]
    page = await http.get("docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "src=" not in page.text  # it is read where there is no network
    for path in document["paths"]:
        assert path in page.text
