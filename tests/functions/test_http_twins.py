"""Twins over HTTP: lists, filters, pages, provenance, relationships."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from local_emulator.digital_twins import Fault
from tests.functions.http_world import NOW, ROOM, VALVE, World
from twin_actors.documents import Collection, Edit, Source, SourceValue, moment


async def ids(http: httpx.AsyncClient, **filters: object) -> list[str]:
    """Return the ids of the twins that a list has."""
    answer = await http.get("twins", params=filters)
    assert answer.status_code == 200, answer.text
    return [twin["twinId"] for twin in answer.json()["items"]]


async def test_filters(world: World, http: httpx.AsyncClient) -> None:
    """By type, connection, priority and id, and all of them together; what is not known counts as unknown."""
    await world.add_valve("valve-1", connection="online", maintenancePriority=3)
    await world.add_valve("valve-2", connection="offline", maintenancePriority=0)
    await world.add_valve("valve-3")
    await world.graph.upsert_digital_twin("room", {"$metadata": {"$model": ROOM}})
    everything = ["room", "valve-1", "valve-2", "valve-3"]
    assert await ids(http) == everything
    assert await ids(http, type="valve") == everything[1:]
    assert await ids(http, type="dtmi:twinfold:Twin;1") == everything[1:]
    assert await ids(http, type=ROOM) == ["room"]
    assert await ids(http, connection="offline") == ["valve-2"]
    assert await ids(http, type="valve", connection="unknown") == ["valve-3"]
    assert await ids(http, priority="high") == ["valve-1"]
    assert await ids(http, type="valve", priority="unknown") == ["valve-2", "valve-3"]
    assert await ids(http, search="e-2") == ["valve-2"]
    assert await ids(http, type="valve", connection="online", priority="high", search="valve") == ["valve-1"]
    assert await ids(http, connection="online", priority="low") == []


async def test_a_text_of_a_caller_is_no_part_of_the_query(world: World, http: httpx.AsyncClient) -> None:
    """A quote ends nothing."""
    await world.add_valve("it's")
    await world.add_valve("valve")
    assert await ids(http, search="t's") == ["it's"]
    assert await ids(http, search="')OR(1=1") == []
    answer = await http.get("twins", params={"type": "dtmi:a:b;1')OR(true"})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:twinfold:problem:unknown-type")


async def test_a_summary_says_what_is_known(world: World, http: httpx.AsyncClient) -> None:
    """And null where nothing is."""
    await world.add_valve(
        "valve-1",
        connection="online",
        quality="good",
        health=0.75,
        maintenancePriority=4,
        remainingUsefulLifeDays=6.5,
        remainingUsefulLifeDaysLower=4.0,
        remainingUsefulLifeDaysUpper=9.0,
        activeAlerts=2,
        lastReadingTime="2026-01-01T00:00:00Z",
    )
    assert (await http.get("twins")).json() == {
        "items": [
            {
                "twinId": "valve-1",
                "model": VALVE,
                "type": "valve",
                "connection": "online",
                "quality": "good",
                "health": 0.75,
                "maintenancePriority": "critical",
                "remainingUsefulLifeDays": 6.5,
                "remainingUsefulLifeDaysLower": 4.0,
                "remainingUsefulLifeDaysUpper": 9.0,
                "activeAlerts": 2,
                "lastReadingTime": "2026-01-01T00:00:00Z",
            }
        ],
        "nextCursor": None,
    }


async def test_pages_have_each_twin_once(world: World, http: httpx.AsyncClient) -> None:
    """However long they are; a cursor is good for the list that it came from."""
    names = [f"valve-{number}" for number in range(7)]
    for name in names:
        await world.add_valve(name)
    found: list[str] = []
    cursor = ""
    for size in (3, 3, 1):
        page = (await http.get("twins", params={"limit": 3, "type": "valve", "cursor": cursor})).json()
        assert len(page["items"]) == size
        found += [twin["twinId"] for twin in page["items"]]
        cursor = page["nextCursor"]
    assert (found, cursor) == (names, None)
    first = (await http.get("twins", params={"limit": 3})).json()["nextCursor"]
    for asked in ({"type": "valve", "cursor": first}, {"cursor": first[:-4]}, {"cursor": "no cursor"}):
        answer = await http.get("twins", params=asked)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:twinfold:problem:bad-cursor")


@pytest.mark.parametrize("limit", [0, -1, 201, 10**30, "many"])
async def test_nobody_asks_for_everything_at_once(http: httpx.AsyncClient, limit: object) -> None:
    """A list has at most 200 items, whichever it is."""
    for path in ("twins", "alerts", "work-orders", "operations", "dead-letters", "twins/valve/operations"):
        answer = await http.get(path, params={"limit": limit})
        assert answer.status_code == 400
        assert answer.json()["faults"][0]["location"] == "query.limit"


async def test_provenance(world: World, http: httpx.AsyncClient) -> None:
    """Unit and permission from the model, source from the type, times from the graph."""
    await world.add_valve("valve-1", lift=1.5, wornBy=0.25, opening=5.0, health=0.5, quality="suspect")
    twin = (await http.get("twins/valve-1")).json()
    assert (twin["twinId"], twin["model"], twin["type"], twin["quality"]) == ("valve-1", VALVE, "valve", "suspect")
    assert twin["commands"] == ["move", "close", "plan"]
    shown = twin["properties"]
    assert {name: one["source"] for name, one in shown.items()} == {
        "lift": "sensor",
        "wornBy": "estimate",
        "opening": "twin",
        "health": "runtime",
        "quality": "runtime",
    }
    lift = shown["lift"]
    assert (lift["value"], lift["unit"], lift["isWritable"], lift["edit"]) == (1.5, "millimetre", False, None)
    assert lift["sourceTime"] == "2026-01-01T00:00:00.250000Z"
    kept = await world.graph.get_digital_twin("valve-1")
    assert lift["lastUpdateTime"][:23] == kept["$metadata"]["lift"]["lastUpdateTime"][:23]
    assert (shown["opening"]["unit"], shown["opening"]["isWritable"]) == (None, True)


async def test_conflicts_are_shown_as_resolved(world: World, http: httpx.AsyncClient) -> None:
    """A person's value that is shown, one that is not, one that the graph lacks, and one that was taken away."""
    await world.add_valve("valve-1", opening=5.0, turns=3, lift=1.0)
    for name, value, is_shown, detail in (
        ("opening", 5.0, True, "a person's value counts more here"),
        ("turns", 4, False, "the sensor's value of 2026-01-01 is newer"),
        ("automaticControl", False, False, "not yet shown"),
        ("lift", None, False, "taken away"),
    ):
        edit = Edit(property=name, value=value, author="ann", time=moment(NOW), is_shown=is_shown, detail=detail)
        await world.keep(Collection.EDITS, "valve-1", name, "kept", edit)
    shown = (await http.get("twins/valve-1")).json()["properties"]
    assert shown["opening"]["source"] == "manual"
    assert shown["opening"]["edit"] == {
        "value": 5.0,
        "author": "ann",
        "time": "2026-01-01T00:00:00Z",
        "isShown": True,
        "detail": "a person's value counts more here",
        "source": "manual",
        "vector": {},
        "beside": [],
    }
    assert (shown["turns"]["value"], shown["turns"]["source"], shown["turns"]["edit"]["value"]) == (3, "twin", 4)
    assert (shown["automaticControl"]["value"], shown["automaticControl"]["edit"]["value"]) == (None, False)
    assert (shown["lift"]["source"], shown["lift"]["edit"]) == ("sensor", None)


async def test_all_sources_are_shown_with_what_they_had_seen(world: World, http: httpx.AsyncClient) -> None:
    """A simulation's value before a person's and the device's, and the vector that an edit may name."""
    await world.add_valve("valve-1", opening=5.0, turns=3, stateVersion=12)
    common: dict[str, Any] = {"time": moment(NOW), "detail": "because"}
    sensor = SourceValue(
        source=Source.SENSOR, value=4.0, author="", is_shown=False, vector={Source.SENSOR: 9}, **common
    )
    manual = SourceValue(value=None, author="ann", is_shown=False, vector={Source.MANUAL: 3}, **common)
    vector = {Source.SIMULATION: 2, Source.SENSOR: 9}
    edit = Edit(
        property="opening",
        source=Source.SIMULATION,
        value=5.0,
        author="tool",
        is_shown=True,
        vector=vector,
        beside=[sensor, manual],
        **common,
    )
    await world.keep(Collection.EDITS, "valve-1", "opening", "shown", edit)
    shown = (await http.get("twins/valve-1")).json()["properties"]
    assert (shown["opening"]["source"], shown["opening"]["edit"]["vector"]) == ("simulation", vector)
    beside = [(one["source"], one["value"], one["isShown"]) for one in shown["opening"]["edit"]["beside"]]
    assert beside == [("sensor", 4.0, False), ("manual", None, False)]
    assert shown["opening"]["vector"] == "sensor:12,simulation:2,manual:3"
    assert shown["turns"]["vector"] == "sensor:12"


async def test_twins_of_other_apps_can_be_read(world: World, http: httpx.AsyncClient) -> None:
    """Without what only a model of ours could tell."""
    await world.graph.upsert_digital_twin("room", {"$metadata": {"$model": ROOM}, "area": 12.5})
    twin = (await http.get("twins/room")).json()
    assert (twin["type"], twin["commands"], twin["quality"]) == (None, [], None)
    assert (twin["properties"]["area"]["value"], twin["properties"]["area"]["unit"]) == (12.5, None)
    assert (await http.get("twins")).json()["items"][0]["type"] is None


@pytest.mark.parametrize("twin_id", ["a b", "a/b", "ä", "x" * 129, "a%", "a;b", "\x00", "<b>"])
async def test_what_cannot_be_an_id_is_not_looked_for(http: httpx.AsyncClient, twin_id: str) -> None:
    """It is a fault of the request, or another path; an id with a percent sign alone is a good one."""
    answer = await http.get(f"twins/{quote(twin_id, safe='')}")
    assert answer.status_code == (404 if twin_id in {"a/b", "a%"} else 400)


@pytest.mark.parametrize("twin_id", ["a#b", "a?b=c", "100%", "it's", "a:b", "(x)", "a%20b", "a+b", "$x@y,!*"])
async def test_odd_ids_are_ids(world: World, http: httpx.AsyncClient, twin_id: str) -> None:
    """All that IoT Hub takes: in the path they are percent-encoded, in places to look they are too."""
    await world.add_valve(twin_id, lift=1.0)
    path = f"twins/{quote(twin_id, safe='')}"
    assert (await http.get(path)).json()["twinId"] == twin_id
    assert await ids(http, search=twin_id) == [twin_id]
    assert (await http.get(f"{path}/relationships")).status_code == 200
    asked = await http.post(f"{path}/commands/close", json={"operationId": "op-1"})
    found = await http.get(asked.headers["Location"].removeprefix("/api/"))
    assert (found.json()["twinId"], found.json()["operationId"]) == (twin_id, "op-1")


async def test_relationships_of_both_directions(world: World, http: httpx.AsyncClient) -> None:
    """In pages; of one twin only."""
    await world.add_valve("valve-1")
    await world.add_valve("valve-2")
    await world.graph.upsert_digital_twin("room", {"$metadata": {"$model": ROOM}})
    link = {"$relationshipId": "r1", "$sourceId": "room", "$targetId": "valve-1"}
    await world.graph.upsert_relationship(
        "room", "r1", {**link, "$relationshipName": "contains", "since": "2020-02-01"}
    )
    link = {"$relationshipId": "r2", "$sourceId": "valve-1", "$targetId": "valve-2"}
    await world.graph.upsert_relationship("valve-1", "r2", {**link, "$relationshipName": "feeds"})
    answer = (await http.get("twins/valve-1/relationships")).json()
    incoming = {
        "relationshipId": "r1",
        "name": "contains",
        "direction": "incoming",
        "sourceId": "room",
        "targetId": "valve-1",
        "properties": {"since": "2020-02-01"},
    }
    outgoing = {
        "relationshipId": "r2",
        "name": "feeds",
        "direction": "outgoing",
        "sourceId": "valve-1",
        "targetId": "valve-2",
        "properties": {},
    }
    assert answer == {"items": [incoming, outgoing], "nextCursor": None}
    first = (await http.get("twins/valve-1/relationships", params={"limit": 1})).json()
    rest = (await http.get("twins/valve-1/relationships", params={"limit": 1, "cursor": first["nextCursor"]})).json()
    assert [first["items"], rest["items"]] == [[incoming], [outgoing]]
    assert len((await http.get("twins/room/relationships")).json()["items"]) == 1


async def test_what_is_not_there_is_404(http: httpx.AsyncClient) -> None:
    """With a problem that says where to look."""
    for path in ("twins/nobody", "twins/nobody/relationships"):
        answer = await http.get(path)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json() == {
            "type": "urn:twinfold:problem:twin-not-found",
            "title": "There is no such twin",
            "status": 404,
            "detail": "twin nobody is not in the graph; GET /api/twins lists those that are",
        }


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (Fault(kind="status", status=500), "5"),
        (Fault(kind="status", status=503), "5"),
        (Fault(kind="status", status=403), "5"),
        (Fault(kind="status", status=429, retry_after=7), "7"),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)
@pytest.mark.parametrize("path", ["twins", "twins/valve-1", "twins/valve-1/relationships", "fleet/health"])
async def test_a_graph_that_does_not_answer_is_503(
    world: World, http: httpx.AsyncClient, fault: Fault, wait: str, path: str
) -> None:
    """And the caller is told when to come back."""
    await world.add_valve("valve-1")
    world.service.faults.add(fault)
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, wait)
    assert answer.json()["type"] == "urn:twinfold:problem:unavailable"
    assert (await http.get(path)).status_code == 200


async def test_a_graph_that_hangs_up_is_503(world: World, http: httpx.AsyncClient) -> None:
    """The client's transport asks twice before it gives up."""
    for path in ("twins", "twins/valve-1"):
        world.service.faults.add(Fault(kind="drop", count=2))
        assert (await http.get(path)).status_code == 503
        world.service.faults.clear()


async def test_fleet_health(world: World, http: httpx.AsyncClient) -> None:
    """Counts of every value, means of what is known, and who fails next."""
    empty = (await http.get("fleet/health")).json()
    assert (empty["twins"], empty["meanHealth"], empty["worstHealth"], empty["nextToFail"]) == (0, None, None, [])
    for number in range(12):
        await world.add_valve(
            f"valve-{number}",
            connection="online" if number % 2 else "late",
            maintenancePriority=4 if number < 3 else 1,
            health=1.0 - number / 20.0,
            remainingUsefulLifeDays=100.0 - number,
            activeAlerts=1 if number < 5 else 0,
        )
    await world.add_valve("new")
    await world.graph.upsert_digital_twin("room", {"$metadata": {"$model": ROOM}})
    fleet = (await http.get("fleet/health")).json()
    assert (fleet["twins"], fleet["isComplete"], fleet["activeAlerts"]) == (13, True, 5)
    assert fleet["byMaintenancePriority"] == {"unknown": 1, "low": 9, "medium": 0, "high": 0, "critical": 3}
    assert fleet["byConnection"] == {"unknown": 1, "online": 6, "late": 6, "offline": 0}
    assert fleet["meanHealth"] == pytest.approx(1.0 - 5.5 / 20.0)
    assert fleet["worstHealth"] == pytest.approx(0.45)
    assert [twin["twinId"] for twin in fleet["nextToFail"]] == [f"valve-{number}" for number in range(11, 1, -1)]


async def test_a_fleet_beyond_measure_is_told_as_such(
    world: World, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not looked at is not passed over in silence."""
    from functions.http import fleet

    monkeypatch.setattr(fleet, "PAGE", 2)
    monkeypatch.setattr(fleet, "MOST_TWINS", 4)
    for number in range(5):
        await world.add_valve(f"valve-{number}")
    seen = (await http.get("fleet/health")).json()
    assert (seen["twins"], seen["isComplete"]) == (4, False)
