"""What apps ask of twins over HTTP: commands, edits, acknowledgements, and the operations that they become."""

import dataclasses
import json
from typing import Any

import httpx
import msgspec
import pytest

from functions.http.app import make_app
from tests.functions.http_world import NOW, PARTITIONS, ROOM, World, alert, operation
from twin_actors.documents import Collection, Operation, OperationStatus, moment
from twin_actors.errors import Unavailable
from twin_actors.gaps.memory import MemoryMailbox
from twin_actors.identity import home_partition
from twin_actors.messages import KIND, TWIN

MOVE = "twins/valve-1/commands/move"
PATCH = {"Content-Type": "application/merge-patch+json"}


async def test_a_command_goes_to_its_twin(world: World, http: httpx.AsyncClient) -> None:
    """To its home, with its expiry; and it can be looked up where the answer says."""
    await world.add_valve("valve-1")
    body = {"request": 40, "operationId": "op-1", "expiresInSeconds": 10}
    answer = await http.post(MOVE, json=body)
    assert (answer.status_code, answer.headers["Location"]) == (202, "/api/twins/valve-1/operations/op-1")
    assert world.sent() == [
        (
            home_partition("valve-1", PARTITIONS),
            {KIND: "request", TWIN: "valve-1"},
            {
                "type": "command",
                "operation_id": "op-1",
                "caller": "function key",
                "name": "move",
                "request": 40.0,
                "requested": NOW,
                "expires": NOW + 10.0,
            },
        )
    ]
    looked_up = await http.get(answer.headers["Location"].removeprefix("/api/"))
    assert looked_up.json() == answer.json()
    assert answer.json() == {
        "twinId": "valve-1",
        "operationId": "op-1",
        "kind": "command",
        "name": "move",
        "request": 40.0,
        "caller": "function key",
        "status": "accepted",
        "requested": "2026-01-01T00:00:00Z",
        "expires": "2026-01-01T00:00:10Z",
        "detail": "",
        "answerStatus": None,
        "answer": None,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("said", "has_sign_in", "caller"),
    [
        ("ann@example.org", True, "ann@example.org"),
        ("ann@example.org", False, "function key"),
        ("", True, "function key"),
        ("rule:worn", True, "user rule:worn"),
        ("rule:worn", False, "function key"),
        ("a" * 300, True, "a" * 128),
    ],
)
async def test_the_platform_says_who_asks(world: World, said: str, *, has_sign_in: bool, caller: str) -> None:
    """Where it signs nobody in, the header is anybody's word; and nobody is a rule."""
    await world.add_valve("valve-1")
    app = make_app(dataclasses.replace(world.sides(), has_sign_in=has_sign_in))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app/api/") as http:
        answer = await http.post("twins/valve-1/commands/close", headers={"X-MS-CLIENT-PRINCIPAL-NAME": said})
    assert (answer.status_code, answer.json()["caller"]) == (202, caller)
    ((_, _, body),) = world.sent()
    assert body["caller"] == caller


async def test_a_command_without_a_body(world: World, http: httpx.AsyncClient) -> None:
    """Gets an id, a minute, and the key as its caller."""
    await world.add_valve("valve-1")
    first, second = [(await http.post("twins/valve-1/commands/close")).json() for _ in range(2)]
    assert first["operationId"] != second["operationId"]
    assert (first["caller"], first["expires"]) == ("function key", "2026-01-01T00:01:00Z")
    assert len(world.sent()) == 2


async def test_the_same_id_is_the_same_operation(world: World, http: httpx.AsyncClient) -> None:
    """Once the twin has it, it is not sent again; used for something else it is a conflict."""
    await world.add_valve("valve-1")
    body = {"request": 40, "operationId": "op-1"}
    await http.post(MOVE, json=body)
    kept = Operation(
        operation_id="op-1",
        kind="command",
        name="move",
        request=40.0,
        caller="function key",
        status=OperationStatus.ANSWERED,
        requested=msgspec.json.decode(b'"2026-01-01T00:00:00Z"', type=Operation.__annotations__["requested"]),
        answer_status=200,
        answer={"moved": True},
    )
    await world.keep(Collection.OPERATIONS, "valve-1", "op-1", "answered", kept)
    again = await http.post(MOVE, json=body)
    assert (again.status_code, again.json()["status"], again.json()["answer"]) == (202, "answered", {"moved": True})
    assert len(world.sent()) == 1
    for path, other in ((MOVE, {"request": 41, "operationId": "op-1"}), ("twins/valve-1/commands/close", {**body})):
        if "close" in path:
            other.pop("request")
        answer = await http.post(path, json=other)
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:twinfold:problem:operation-id-used")
    assert len(world.sent()) == 1


@pytest.mark.parametrize(
    ("command", "body", "location"),
    [
        ("move", {}, "body.request"),
        ("move", {"request": "far"}, "body.request"),
        ("move", {"request": 3001}, "body.request"),
        ("move", {"request": 10**400}, "body.request"),
        ("plan", {"request": {"elsewhere": 1}}, "body.request"),
        ("move", {"request": 1, "operationId": "a/b"}, "body.operationId"),
        ("move", {"request": 1, "operationId": ""}, "body.operationId"),
        ("move", {"request": 1, "operationId": "x" * 65}, "body.operationId"),
        ("move", {"request": 1, "operationId": 7}, "body.operationId"),
        ("move", {"request": 1, "operationId": "auto-worn-1"}, "body.operationId"),
        ("move", {"request": 1, "expiresInSeconds": 0}, "body.expiresInSeconds"),
        ("move", {"request": 1, "expiresInSeconds": 86_401}, "body.expiresInSeconds"),
        ("move", {"request": 1, "expiresInSeconds": "60"}, "body.expiresInSeconds"),
        ("move", {"request": 1, "speed": 1}, "body.speed"),
        ("move", [], "body"),
        ("move", "{", "body.1"),
        ("move", '{"request": NaN}', "body.request"),
        ("move", '{"request": Infinity}', "body.request"),
    ],
)
async def test_a_command_that_does_not_fit_is_refused(
    world: World, http: httpx.AsyncClient, command: str, body: object, location: str
) -> None:
    """With the place of the fault; nothing is sent and nothing kept."""
    await world.add_valve("valve-1")
    content = body if isinstance(body, str) else json.dumps(body)
    path = f"twins/valve-1/commands/{command}"
    answer = await http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert [fault["location"] for fault in answer.json()["faults"]] == [location]
    assert world.sent() == []
    assert (await http.get("operations")).json()["items"] == []


@pytest.mark.parametrize("name", ["undeclared", "fly", "move "])
async def test_an_unknown_command_names_the_known_ones(world: World, http: httpx.AsyncClient, name: str) -> None:
    """One that the model has and the type does not is none either: its guard rails are missing."""
    await world.add_valve("valve-1")
    answer = await http.post(f"twins/valve-1/commands/{name}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "twins of dtmi:test:Valve;1 take these commands: close, move, plan"


async def test_only_twins_that_run_here_are_asked(world: World, http: httpx.AsyncClient) -> None:
    """Others have nobody who would hear it."""
    await world.graph.upsert_digital_twin("room", {"$metadata": {"$model": ROOM}})
    asked = [
        await http.post("twins/room/commands/close"),
        await http.patch("twins/room", json={"area": 1}, headers=PATCH),
    ]
    assert [(answer.status_code, answer.json()["title"]) for answer in asked] == [(409, "The twin is not run here")] * 2
    nobody = [
        await http.post("twins/nobody/commands/close"),
        await http.patch("twins/nobody", json={"opening": 1}, headers=PATCH),
        await http.post("twins/nobody/alerts/worn-1/acknowledge"),
    ]
    assert [answer.status_code for answer in nobody] == [404] * 3
    assert world.sent() == []


async def test_an_edit_goes_to_its_twin(world: World, http: httpx.AsyncClient) -> None:
    """Numbers as the model has them; null takes a value away; the id is the caller's own."""
    await world.add_valve("valve-1")
    changes = {"opening": 5, "turns": 3.0, "automaticControl": None}
    for headers in (PATCH, {"Content-Type": "application/json"}):
        answer = await http.patch("twins/valve-1?operationId=edit-1", json=changes, headers=headers)
        assert (answer.status_code, answer.headers["Location"]) == (202, "/api/twins/valve-1/operations/edit-1")
    # The first was accepted and may not have been sent, for all that is known: the twin knows its id.
    (_, _, body), _ = world.sent()
    assert (body["type"], body["operation_id"], body["caller"]) == ("edit", "edit-1", "function key")
    assert body["changes"] == {"opening": 5.0, "turns": 3, "automaticControl": None}
    assert (answer.json()["kind"], answer.json()["request"]) == ("edit", body["changes"])


async def test_a_deletion_goes_to_its_twin(world: World, http: httpx.AsyncClient) -> None:
    """Whether the graph has it or not: only the twin's shard knows."""
    answer = await http.delete("twins/valve-7?operationId=away-1")
    assert (answer.status_code, answer.headers["Location"]) == (202, "/api/twins/valve-7/operations/away-1")
    ((_, _, body),) = world.sent()
    assert (body["type"], body["operation_id"], body["caller"]) == ("delete", "away-1", "function key")
    assert (answer.json()["kind"], answer.json()["status"]) == ("delete", "accepted")


async def test_an_edit_says_who_it_is_from_and_what_they_had_seen(world: World, http: httpx.AsyncClient) -> None:
    """People who have seen nothing, unless it says so; a device's value comes by telemetry only."""
    await world.add_valve("valve-1")
    for query in ("operationId=a", "operationId=b&source=simulation&seen=sensor:12,manual:3"):
        answer = await http.patch(f"twins/valve-1?{query}", json={"opening": 5}, headers=PATCH)
        assert answer.status_code == 202
    assert answer.json()["name"] == "simulation"
    (_, _, plain), (_, _, full) = world.sent()
    assert (plain["source"], plain["seen"]) == ("manual", {})
    assert (full["source"], full["seen"]) == ("simulation", {"sensor": 12, "manual": 3})
    for query in ("source=sensor", "seen=sensor", "seen=device:1", "seen=sensor:-1"):
        answer = await http.patch(f"twins/valve-1?{query}", json={"opening": 5}, headers=PATCH)
        assert answer.status_code == 400


async def test_every_fault_of_an_edit_is_told(world: World, http: httpx.AsyncClient) -> None:
    """What does not exist, may not be written, or does not fit; and what could be."""
    await world.add_valve("valve-1")
    changes = {"lift": 1, "colour": "red", "opening": "wide", "turns": 1.5, "automaticControl": 1}
    answer = await http.patch("twins/valve-1", json=changes, headers=PATCH)
    assert answer.status_code == 400
    assert {fault["location"]: fault["message"] for fault in answer.json()["faults"]} == {
        "body.lift": "the property is not writable: it shows what the twin finds",
        "body.colour": "the model has no such property",
        "body.opening": "double is wanted",
        "body.turns": "integer is wanted",
        "body.automaticControl": "boolean is wanted",
    }
    assert answer.json()["detail"] == "of dtmi:test:Valve;1, these can be set: automaticControl, opening, turns"
    for body in (
        "{}",
        "[]",
        "null",
        '{"opening": [1]}',
        '{"opening": 1e999}',
        '{"\\ud800": 1}',
        '{"opening": "\\ud800"}',
    ):
        answer = await http.patch("twins/valve-1", content=body, headers=PATCH)
        assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert world.sent() == []


async def test_an_acknowledgement(world: World, http: httpx.AsyncClient) -> None:
    """Of an alert that is there; repeated with its id it is one."""
    await world.add_valve("valve-1")
    await world.keep(Collection.ALERTS, "valve-1", "worn-1", "active", alert())
    path = "twins/valve-1/alerts/worn-1/acknowledge"
    answer = await http.post(path, json={"operationId": "seen-1"})
    assert (answer.status_code, answer.headers["Location"]) == (202, "/api/twins/valve-1/operations/seen-1")
    assert (answer.json()["kind"], answer.json()["name"]) == ("acknowledge", "worn-1")
    (_, _, body), *_ = world.sent()
    assert body == {
        "type": "acknowledge",
        "operation_id": "seen-1",
        "caller": "function key",
        "alert_id": "worn-1",
        "requested": NOW,
    }
    assert (await http.post(path)).status_code == 202
    assert (await http.post("twins/valve-1/alerts/worn-2/acknowledge")).status_code == 404
    assert (await http.post(path, json={"operationId": "seen-1", "why": "so"})).status_code == 400


async def test_ids_of_automatic_operations_are_not_for_callers(world: World, http: httpx.AsyncClient) -> None:
    """A rule makes them; they are looked up as all others are, however long the rule's name is."""
    await world.add_valve("valve-1")
    await world.keep(Collection.ALERTS, "valve-1", "worn-1", "active", alert())
    refused = [
        await http.patch("twins/valve-1?operationId=auto-1", json={"opening": 1}, headers=PATCH),
        await http.post("twins/valve-1/alerts/worn-1/acknowledge", json={"operationId": "auto-1"}),
    ]
    for answer, place in zip(refused, ("query.operationId", "body.operationId"), strict=True):
        (fault,) = answer.json()["faults"]
        assert (answer.status_code, fault["location"]) == (400, place)
        assert "belong to rules" in fault["message"]
    assert world.sent() == []
    automatic = f"auto-{'worn-' * 12}1"
    await world.keep(Collection.OPERATIONS, "valve-1", automatic, "answered", operation(automatic))
    assert (await http.get(f"twins/valve-1/operations/{automatic}")).status_code == 200


async def test_before_any_worker_nobody_can_be_asked(world: World, http: httpx.AsyncClient) -> None:
    """Where twins live is not known yet."""
    await world.add_valve("valve-1")
    await world.journal.delete("partition-count")
    answer = await http.post(MOVE, json={"request": 1})
    assert (answer.status_code, "no worker has started" in answer.json()["detail"]) == (503, True)
    assert "Retry-After" in answer.headers


class Deaf(MemoryMailbox):
    """A mailbox that takes nothing while it is told to."""

    is_deaf = True

    async def send(self, partition: int, messages: list[Any]) -> None:
        """Send, or not."""
        if self.is_deaf:
            raise Unavailable("the mailbox takes nothing")
        await super().send(partition, messages)


async def test_a_mailbox_that_takes_nothing_is_503(world: World) -> None:
    """The same operation id again, later, is the same operation: now it is sent."""
    world.mailbox = Deaf(PARTITIONS)
    await world.add_valve("valve-1")
    transport = httpx.ASGITransport(make_app(world.sides()))
    async with httpx.AsyncClient(transport=transport, base_url="http://app/api/") as http:
        body = {"request": 1, "operationId": "op-1"}
        answer = await http.post(MOVE, json=body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "same operation id" in answer.json()["detail"]
        world.mailbox.is_deaf = False
        assert (await http.post(MOVE, json=body)).status_code == 202
        assert len(world.sent()) == 1
        assert len((await http.get("operations")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("status", "ago", "detail"),
    [
        (OperationStatus.ACCEPTED, 61.0, "not heard of in time"),
        (OperationStatus.ACCEPTED, 60.0, ""),
        (OperationStatus.DELIVERED, 61.0, ""),
    ],
)
async def test_an_operation_that_nobody_took_in_time_says_so(
    world: World, http: httpx.AsyncClient, status: OperationStatus, ago: float, detail: str
) -> None:
    """A minute after it has expired: the partition of its twin is behind."""
    kept = msgspec.structs.replace(operation("op-1"), status=status, expires=moment(NOW - ago))
    await world.keep(Collection.OPERATIONS, "valve-1", "op-1", status, kept)
    (listed,) = (await http.get("operations")).json()["items"]
    assert (listed["status"], listed["detail"]) == (status, detail)
    assert (await http.get("twins/valve-1/operations/op-1")).json() == listed


async def test_operations_are_listed(world: World, http: httpx.AsyncClient) -> None:
    """Of one twin or all, by status, in pages; with the reason of automatic ones."""
    await world.add_valve("valve-1")
    await world.add_valve("valve-2")
    for number in range(3):
        await http.post(MOVE, json={"request": 1, "operationId": f"op-{number}"})
    await http.post("twins/valve-2/commands/close", json={"operationId": "op-9"})
    await world.keep(Collection.OPERATIONS, "valve-2", "worn-1", "answered", operation("worn-1"))

    async def listed(path: str) -> list[str]:
        return [one["operationId"] for one in (await http.get(path)).json()["items"]]

    assert await listed("twins/valve-1/operations") == ["op-0", "op-1", "op-2"]
    assert await listed("operations") == ["op-0", "op-1", "op-2", "op-9", "worn-1"]
    assert await listed("operations?status=answered") == ["worn-1"]
    assert await listed("twins/valve-1/operations?status=answered") == []
    page = (await http.get("operations?limit=4")).json()
    assert await listed(f"operations?limit=4&cursor={page['nextCursor']}") == ["worn-1"]
    automatic = (await http.get("twins/valve-2/operations/worn-1")).json()
    assert (automatic["caller"], automatic["status"], automatic["answer"]) == ("rule:worn", "answered", {"moved": True})
    assert (automatic["reason"]["rule"], automatic["reason"]["stateVersion"]) == ("worn", 12)
    missing = await http.get("twins/valve-1/operations/none")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:twinfold:problem:operation-not-found")
