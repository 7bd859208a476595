"""The app does what its own description says, whatever it is sent: schemathesis reads the one and tries the other."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import msgspec
import pytest
import schemathesis
from schemathesis import engine
from schemathesis.engine import events

from functions.http.app import make_app
from local_emulator.digital_twins import DigitalTwins
from tests.functions.http_world import NOW, ROOM, World, alert, make_world, operation, work_order
from twin_actors.commit import DeadLetter
from twin_actors.documents import Collection, Edit, moment
from twin_actors.messages import Event
from twin_actors.outbox import letter_path

CONFIG = {
    "seed": 1,
    "generation": {"deterministic": True, "max-examples": 30, "database": "none", "with-security-parameters": False},
    "parameters": {"name": "move"},  # of a command: which ones there are, only a twin's model says
    "phases": {"stateful": {"enabled": False}},
    "checks": {"ignored_auth": {"enabled": False}},  # the host checks keys before it calls the app
}

type Message = MutableMapping[str, Any]


class Elsewhere:
    """An ASGI app on the loop of its services, for callers that have a loop of their own for every call."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.app: Any = None

    def run[T](self, work: Awaitable[T]) -> T:
        """Do something on that loop."""

        async def done() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(60)

    def stop(self) -> None:
        """End the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        arrived = [await receive()]
        while arrived[-1].get("more_body"):
            arrived.append(await receive())
        answer: list[Message] = []

        async def take() -> Message:
            return arrived.pop(0)

        async def give(message: Message) -> None:
            answer.append(message)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.app(scope, take, give), self.loop))
        for message in answer:
            await send(message)


async def furnish(world: World) -> None:
    """Let every route have something to find under the names that the description gives as examples."""
    await world.add_valve("pump-1", lift=1.5, opening=5.0, quality="good", health=0.5, maintenancePriority=3)
    await world.graph.upsert_digital_twin("room-1", {"$metadata": {"$model": ROOM}, "area": 12.5})
    link = {"$relationshipName": "contains", "$targetId": "pump-1", "$sourceId": "room-1", "since": "2020-01-01"}
    await world.graph.upsert_relationship("room-1", "r1", {"$relationshipId": "r1", **link})
    await world.keep(Collection.ALERTS, "pump-1", "worn-1", "active", alert())
    await world.keep(Collection.WORK_ORDERS, "pump-1", "order-1", "placed", work_order("pump-1"))
    await world.keep(Collection.OPERATIONS, "pump-1", "worn-1", "answered", operation("worn-1"))
    edit = Edit(property="opening", value=5.0, author="ann", time=moment(NOW), is_shown=True, detail="nothing newer")
    await world.keep(Collection.EDITS, "pump-1", "opening", "shown", edit)
    event = Event(sequence_number=1743, enqueued_time=NOW, body=b"\xff", device_id="pump-1")
    letter = DeadLetter("2-1743", "bad_json", "the body is no JSON", "pump-1", event)
    await world.journal.write(letter_path("2-1743"), msgspec.msgpack.encode(letter))


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Provide what schemathesis makes of the app's description."""
    elsewhere = Elsewhere()
    service = DigitalTwins(tmp_path_factory.mktemp("graph"), https_port=None)
    elsewhere.run(service.__aenter__())
    world = elsewhere.run(make_world(service))
    elsewhere.run(furnish(world))
    elsewhere.app = make_app(world.sides())
    yield schemathesis.openapi.from_asgi("/api/openapi.json", elsewhere, config=schemathesis.Config.from_dict(CONFIG))
    elsewhere.run(world.graph.close())
    elsewhere.run(service.__aexit__(None, None, None))
    elsewhere.stop()


def is_beyond_description(check: str, response: Any) -> bool:
    """Whether a valid request is refused for what only cursors, the registry and the twins' models know."""
    kinds = {f"urn:twinfold:problem:{name}" for name in ("bad-cursor", "unknown-type", "model-mismatch")}
    return check == "positive_data_acceptance" and response.json()["type"] in kinds


def test_it_does_what_it_says(described: Any) -> None:
    """No failure of ours, and every answer of a status, type and form that the description has."""
    failures, tried = [], 0
    answered: dict[str, set[int]] = {}
    for event in engine.from_schema(described).execute():
        if isinstance(event, events.NonFatalError):
            failures.append(str(event.value))
        if isinstance(event, events.ScenarioFinished):
            for case_id, checks in event.recorder.checks.items():
                tried += 1
                response = event.recorder.interactions[case_id].response
                answered.setdefault(event.recorder.cases[case_id].value.operation.label, set()).add(
                    response.status_code
                )
                failures += [
                    f"{event.recorder.cases[case_id].value.as_curl_command()}\n{check.failure_info.failure}"
                    for check in checks
                    if check.failure_info is not None and not is_beyond_description(check.name, response)
                ]
    assert not failures, f"{len(failures)} of {tried}:\n" + "\n\n".join(failures[:10])
    assert tried > 500
    assert [label for label, statuses in answered.items() if min(statuses) >= 300] == []
