"""Twins and components, through the genuine clients."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.digitaltwins.core import DigitalTwinsClient
from azure.digitaltwins.core.aio import DigitalTwinsClient as AsyncDigitalTwinsClient

from .models import BEARING, FAN, MACHINE, PUMP, ROOM, of

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")


@pytest.fixture
def graph(client: DigitalTwinsClient) -> DigitalTwinsClient:
    """Provide a client of a service that has models."""
    client.create_models([BEARING, MACHINE, PUMP, FAN, ROOM])
    return client


def _faults(caught: pytest.ExceptionInfo[HttpResponseError]) -> list[str]:
    error = caught.value.error
    assert error is not None
    assert (caught.value.status_code, error.code) == (400, "ValidationFailed")
    return [str(detail.message) for detail in error.details]


def test_a_twin_shows_what_was_written_and_when(graph: DigitalTwinsClient) -> None:
    """Properties, components and their time marks, in the service's order."""
    created = graph.upsert_digital_twin("p1", of(PUMP, speed=2.5, bearing={"$metadata": {}, "wear": 1}))
    assert list(created) == ["$dtId", "$etag", "speed", "bearing", "$metadata"]
    assert list(created["$metadata"]) == ["$model", "$lastUpdateTime", "speed"]
    assert created["bearing"]["$metadata"].keys() == {"$lastUpdateTime", "wear"}
    assert _TIME.fullmatch(created["$metadata"]["speed"]["lastUpdateTime"])
    assert uuid.UUID(created["$etag"][3:-1]).version == 4
    assert graph.get_digital_twin("p1") == created


async def test_the_asynchronous_client_does_the_same(async_client: AsyncDigitalTwinsClient) -> None:
    """Create, change, read, query, delete."""
    await async_client.create_models([ROOM])
    await async_client.upsert_digital_twin("r1", of(ROOM, name="hall"))
    await async_client.update_digital_twin("r1", [{"op": "replace", "path": "/name", "value": "attic"}])
    assert (await async_client.get_digital_twin("r1"))["name"] == "attic"
    found = async_client.query_twins("SELECT name FROM digitaltwins WHERE name = 'attic'")
    assert [row async for row in found] == [{"name": "attic"}]
    await async_client.delete_digital_twin("r1")
    with pytest.raises(ResourceNotFoundError):
        await async_client.get_digital_twin("r1")


def test_identifiers_may_have_any_characters(graph: DigitalTwinsClient) -> None:
    """Slashes, colons and blanks in an identifier do not end a path's segment."""
    name = "a/b c#d;e:f%2F?ä"
    assert graph.upsert_digital_twin(name, of(ROOM))["$dtId"] == name
    assert graph.get_digital_twin(name)["$dtId"] == name
    with pytest.raises(HttpResponseError, match="between 1 and 128"):
        graph.upsert_digital_twin("x" * 129, of(ROOM))


def test_a_patch_marks_only_what_it_touches(graph: DigitalTwinsClient) -> None:
    """The other properties keep their times; the twin gets a new version."""
    before = graph.upsert_digital_twin("m1", of(MACHINE, serial="a", speed=1.0, tags={"x": "1"}))
    graph.update_digital_twin(
        "m1", [{"op": "replace", "path": "/speed", "value": 2}, {"op": "add", "path": "/tags/y", "value": "2"}]
    )
    after = graph.get_digital_twin("m1")
    marks = after["$metadata"]
    assert (after["speed"], after["tags"]) == (2, {"x": "1", "y": "2"})
    assert marks["serial"] == before["$metadata"]["serial"]
    assert marks["speed"]["lastUpdateTime"] == marks["$lastUpdateTime"] == marks["tags"]["lastUpdateTime"]
    assert marks["$lastUpdateTime"] > before["$metadata"]["$lastUpdateTime"]
    assert after["$etag"] != before["$etag"]


def test_removing_a_property_removes_its_mark(graph: DigitalTwinsClient) -> None:
    """Absent is absent; removing it again fails."""
    graph.upsert_digital_twin("m1", of(MACHINE, serial="a"))
    graph.update_digital_twin("m1", [{"op": "remove", "path": "/serial"}])
    after = graph.get_digital_twin("m1")
    assert "serial" not in after
    assert "serial" not in after["$metadata"]
    with pytest.raises(HttpResponseError, match="path segment 'serial' was not found") as caught:
        graph.update_digital_twin("m1", [{"op": "remove", "path": "/serial"}])
    assert caught.value.error is not None
    assert caught.value.error.code == "JsonPatchInvalid"


def test_an_empty_patch_is_a_write(graph: DigitalTwinsClient) -> None:
    """It changes the version."""
    before = graph.upsert_digital_twin("r1", of(ROOM))
    answer = graph.update_digital_twin("r1", [], cls=lambda _response, _body, headers: headers)
    assert answer["ETag"] == graph.get_digital_twin("r1")["$etag"] != before["$etag"]


def test_the_time_of_measurement_is_kept(graph: DigitalTwinsClient) -> None:
    """It is written with the value or alone, and survives changes of the value."""
    body = of(MACHINE, speed=1.0)
    body["$metadata"]["speed"] = {"sourceTime": "2024-01-01T00:00:00Z"}
    created = graph.upsert_digital_twin("m1", body)
    assert created["$metadata"]["speed"]["sourceTime"] == "2024-01-01T00:00:00Z"
    graph.update_digital_twin("m1", [{"op": "replace", "path": "/speed", "value": 2.0}])
    assert graph.get_digital_twin("m1")["$metadata"]["speed"]["sourceTime"] == "2024-01-01T00:00:00Z"
    later = "2024-01-02T00:00:00Z"
    graph.update_digital_twin(
        "m1",
        [
            {"op": "add", "path": "/$metadata/serial/sourceTime", "value": later},
            {"op": "add", "path": "/serial", "value": "a"},
        ],
    )
    assert graph.get_digital_twin("m1")["$metadata"]["serial"]["sourceTime"] == later
    with pytest.raises(HttpResponseError, match="ISO 8601"):
        graph.update_digital_twin("m1", [{"op": "add", "path": "/$metadata/speed/sourceTime", "value": "yesterday"}])


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({"speeed": 1}, ["speeed does not appear on the DTDL for Twin."]),
        ({"speed": "fast"}, ["Expected value of type double for speed on Twin."]),
        ({"speed": None}, ["Expected value of type double for speed on Twin."]),
        ({"speed": 10**400}, ["Expected value of type double for speed on Twin."]),
        ({"tags": {"x": 1}}, ["Expected value of type string for tags.x on Twin."]),
        ({"spectrum": [1, "x"]}, ["Expected value of type double for spectrum.1 on Twin."]),
        ({"feeds": "m2"}, ["feeds does not appear on the DTDL for Twin."]),
        ({"serial": "ä" * 2049}, ["The value of serial is longer than 4096 bytes."]),
        (
            {"a": 1, "speed": True},
            ["a does not appear on the DTDL for Twin.", "Expected value of type double for speed on Twin."],
        ),
    ],
)
def test_twins_are_held_to_their_model(graph: DigitalTwinsClient, values: dict[str, Any], faults: list[str]) -> None:
    """Every fault is named; nothing is written."""
    with pytest.raises(HttpResponseError) as caught:
        graph.upsert_digital_twin("m1", of(MACHINE, **values))
    assert _faults(caught) == faults
    with pytest.raises(ResourceNotFoundError):
        graph.get_digital_twin("m1")


def test_large_integers_are_numbers(graph: DigitalTwinsClient) -> None:
    """Where a double is wanted, an integer may have more than 64 bits."""
    graph.upsert_digital_twin("m1", of(MACHINE, speed=10**30))
    graph.update_digital_twin("m1", [{"op": "add", "path": "/serial", "value": "a"}])
    assert float(graph.get_digital_twin("m1")["speed"]) == 1e30
    assert [row["$dtId"] for row in graph.query_twins("SELECT * FROM digitaltwins WHERE speed > 1")] == ["m1"]


def test_components_are_required_with_their_metadata(graph: DigitalTwinsClient) -> None:
    """A twin without its component, or with half of one, is refused."""
    with pytest.raises(HttpResponseError) as caught:
        graph.upsert_digital_twin("p1", of(PUMP))
    assert _faults(caught) == ["Twin is missing required component bearing."]
    with pytest.raises(HttpResponseError) as caught:
        graph.upsert_digital_twin("p1", of(PUMP, bearing={"wear": 1}))
    assert _faults(caught) == ["Component bearing is missing $metadata."]


def test_components_are_read_and_changed_alone(graph: DigitalTwinsClient) -> None:
    """Their version is the twin's."""
    before = graph.upsert_digital_twin("p1", of(PUMP, bearing={"$metadata": {}}))
    graph.update_component("p1", "bearing", [{"op": "add", "path": "/wear", "value": 0.5}])
    component = graph.get_component("p1", "bearing")
    twin = graph.get_digital_twin("p1")
    assert (component["wear"], twin["bearing"]) == (0.5, component)
    assert component["$metadata"]["wear"]["lastUpdateTime"] == twin["$metadata"]["$lastUpdateTime"]
    assert twin["$etag"] != before["$etag"]
    graph.update_digital_twin("p1", [{"op": "replace", "path": "/bearing/wear", "value": 0.75}])
    assert graph.get_component("p1", "bearing")["wear"] == 0.75
    with pytest.raises(HttpResponseError) as caught:
        graph.update_component("p1", "bearing", [{"op": "add", "path": "/speed", "value": 1}])
    assert _faults(caught) == ["speed does not appear on the DTDL for bearing."]


def test_a_component_is_replaced_whole(graph: DigitalTwinsClient) -> None:
    """What the new value lacks is gone; what it has is marked."""
    graph.upsert_digital_twin("p1", of(PUMP, bearing={"$metadata": {}, "wear": 1}))
    value = {"$metadata": {}, "maker": "x"}
    graph.update_digital_twin("p1", [{"op": "replace", "path": "/bearing", "value": value}])
    component = graph.get_component("p1", "bearing")
    assert component.keys() == {"maker", "$metadata"}
    assert component["$metadata"].keys() == {"$lastUpdateTime", "maker"}
    assert "bearing" not in graph.get_digital_twin("p1")["$metadata"]


def test_a_twin_moves_to_another_model_as_a_whole(graph: DigitalTwinsClient) -> None:
    """What the new model lacks has to go, what it needs has to come, in the same patch."""
    graph.upsert_digital_twin("x", of(MACHINE, speed=1.0, serial="a"))
    move = {"op": "replace", "path": "/$metadata/$model", "value": PUMP["@id"]}
    with pytest.raises(HttpResponseError) as caught:
        graph.update_digital_twin("x", [move])
    assert _faults(caught) == [
        "serial does not appear on the DTDL for Twin.",
        "Twin is missing required component bearing.",
    ]
    graph.update_digital_twin(
        "x",
        [
            move,
            {"op": "remove", "path": "/serial"},
            {"op": "add", "path": "/bearing", "value": {"$metadata": {}, "wear": 2}},
        ],
    )
    moved = graph.get_digital_twin("x")
    assert (moved["$metadata"]["$model"], moved["bearing"]["wear"]) == (PUMP["@id"], 2)
    with pytest.raises(HttpResponseError) as caught:
        graph.update_digital_twin("x", [{**move, "value": "dtmi:test:Nowhere;1"}])
    assert _faults(caught) == ["dtmi:test:Nowhere;1 or one of its dependencies does not exist."]


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"op": "replace", "path": "/speed", "value": 1}, "path segment 'speed' was not found"),
        ({"op": "add", "path": "/tags/x", "value": "1"}, "/tags/x was not found"),
        ({"op": "copy", "path": "/speed", "from": "/x"}, "Unsupported operation type copy"),
        ({"op": "replace", "path": "/$metadata/$lastUpdateTime", "value": "x"}, "cannot be changed"),
        ({"op": "add", "path": "speed", "value": 1}, "does not start with '/'"),
        ({"op": "add", "path": "/speed"}, "value must not be empty"),
    ],
)
def test_patches_that_cannot_be_applied(graph: DigitalTwinsClient, operation: dict[str, Any], words: str) -> None:
    """Nothing is created on the way, nothing half is kept."""
    before = graph.upsert_digital_twin("m1", of(MACHINE, serial="a"))
    with pytest.raises(HttpResponseError, match=re.escape(words)) as caught:
        graph.update_digital_twin("m1", [{"op": "replace", "path": "/serial", "value": "b"}, operation])
    assert caught.value.error is not None
    assert caught.value.error.code == "JsonPatchInvalid"
    assert graph.get_digital_twin("m1") == before


def test_writes_are_conditional(graph: DigitalTwinsClient) -> None:
    """Only the current version can be changed or deleted on condition."""
    first = graph.upsert_digital_twin("r1", of(ROOM), match_condition=MatchConditions.IfMissing)
    with pytest.raises(ResourceExistsError):
        graph.upsert_digital_twin("r1", of(ROOM), match_condition=MatchConditions.IfMissing)
    patch = [{"op": "add", "path": "/name", "value": "a"}]
    current = {"etag": first["$etag"], "match_condition": MatchConditions.IfNotModified}
    graph.update_digital_twin("r1", patch, **current)
    with pytest.raises(ResourceModifiedError):
        graph.update_digital_twin("r1", patch, **current)
    with pytest.raises(ResourceModifiedError):
        graph.delete_digital_twin("r1", **current)
    graph.delete_digital_twin("r1", match_condition=MatchConditions.IfPresent)
    with pytest.raises(ResourceNotFoundError):
        graph.get_digital_twin("r1")


@pytest.mark.parametrize(
    ("call", "headers"),
    [
        (lambda client, **options: client.upsert_digital_twin("r1", of(ROOM), **options), {"If-None-Match": 'W/"1"'}),
        (lambda client, **options: client.update_digital_twin("r1", [], **options), {"If-Match": "1"}),
        (lambda client, **options: client.delete_digital_twin("r1", **options), {"If-Match": 'W/"1", W/"2"'}),
    ],
)
def test_other_conditions_are_refused(
    graph: DigitalTwinsClient, call: Callable[..., Any], headers: dict[str, str]
) -> None:
    """One version or any, nothing else."""
    graph.upsert_digital_twin("r1", of(ROOM))
    with pytest.raises(HttpResponseError, match="Allowed value") as caught:
        call(graph, headers=headers)
    assert caught.value.error is not None
    assert caught.value.error.code == "InvalidArgument"


def test_telemetry_is_taken_from_twins_that_exist(graph: DigitalTwinsClient) -> None:
    """The clients' own headers are accepted; nothing is kept."""
    graph.upsert_digital_twin("p1", of(PUMP, bearing={"$metadata": {}}))
    with pytest.warns(DeprecationWarning, match="utcnow"):
        graph.publish_telemetry("p1", {"heat": 1})
    with pytest.warns(DeprecationWarning, match="utcnow"):
        graph.publish_component_telemetry("p1", "bearing", {"heat": 1}, message_id="m")
    with pytest.raises(ResourceNotFoundError), pytest.warns(DeprecationWarning, match="utcnow"):
        graph.publish_component_telemetry("p1", "motor", {"heat": 1})
    with pytest.raises(ResourceNotFoundError), pytest.warns(DeprecationWarning, match="utcnow"):
        graph.publish_telemetry("p2", {"heat": 1})


def test_large_twins_are_refused(graph: DigitalTwinsClient) -> None:
    """32 KB is the limit of a payload."""
    tags = {f"key{n}": "x" * 100 for n in range(400)}
    with pytest.raises(HttpResponseError, match="the limit is 32768") as caught:
        graph.upsert_digital_twin("m1", of(MACHINE, tags=tags))
    assert caught.value.error is not None
    assert caught.value.error.code == "LimitExceeded"
