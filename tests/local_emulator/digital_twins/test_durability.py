"""State outlives the process, however that ends."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.digitaltwins.core import DigitalTwinsClient

from local_emulator.digital_twins import DigitalTwins

from .conftest import AnyToken
from .models import BEARING, MACHINE, PUMP, of

_PROGRAM = """
import asyncio, sys
from pathlib import Path
from local_emulator.digital_twins import DigitalTwins

async def main():
    async with DigitalTwins(Path(sys.argv[1])) as service:
        print(service.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
_REPOSITORY = Path(__file__).parents[3]


def _serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True, cwd=_REPOSITORY
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def _client(url: str) -> DigitalTwinsClient:
    return DigitalTwinsClient(url, AnyToken(), authentication_policy=SansIOHTTPPolicy(), retry_total=0)


def test_a_restart_forgets_nothing(
    tmp_path: Path, connect: Callable[[DigitalTwins], DigitalTwinsClient], start: Callable[..., DigitalTwins]
) -> None:
    """Models, twins, relationships and their versions are as they were."""
    process, url = _serve(tmp_path / "service-0")
    client = _client(url)
    client.create_models([PUMP, BEARING, MACHINE])
    client.decommission_model(PUMP["@id"])
    for name in ("m1", "m2", "m3"):
        client.upsert_digital_twin(name, of(MACHINE, serial=name, tags={"ä": "ö"}))
    client.upsert_relationship("m1", "x", {"$relationshipName": "feeds", "$targetId": "m2", "flow": 1})
    client.upsert_relationship("m1", "y", {"$relationshipName": "feeds", "$targetId": "m2"})
    client.delete_relationship("m1", "y")
    client.delete_digital_twin("m3")
    before = _everything(client)
    client._client.close()
    process.terminate()
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()
    assert _everything(connect(start())) == before


def _everything(client: DigitalTwinsClient) -> list[Any]:
    models = [model.as_dict() for model in client.list_models(include_model_definition=True)]
    twins = list(client.query_twins("SELECT * FROM digitaltwins"))
    links = [list(client.list_relationships(twin["$dtId"])) for twin in twins]
    incoming = [len(list(client.list_incoming_relationships(twin["$dtId"]))) for twin in twins]
    return [models, twins, links, incoming]


def test_no_acknowledged_write_is_lost_by_a_kill(
    tmp_path: Path, connect: Callable[[DigitalTwins], DigitalTwinsClient], start: Callable[..., DigitalTwins]
) -> None:
    """A killed process has kept every write that it answered, and nothing it was not asked."""
    process, url = _serve(tmp_path / "service-0")
    client = _client(url)
    client.create_models([MACHINE])
    client.upsert_digital_twin("m1", of(MACHINE, speed=0))
    acknowledged = 0
    try:
        for number in range(1, 100_000):
            client.update_digital_twin("m1", [{"op": "replace", "path": "/speed", "value": number}])
            acknowledged = number
            if number == 50:
                process.kill()
    except (ServiceRequestError, ServiceResponseError):
        pass
    process.wait(30)
    client._client.close()
    assert process.stdout is not None
    process.stdout.close()
    assert acknowledged >= 50
    assert connect(start()).get_digital_twin("m1")["speed"] in {acknowledged, acknowledged + 1}
