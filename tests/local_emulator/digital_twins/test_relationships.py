"""Relationships, through the genuine client."""

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

from local_emulator.digital_twins import DigitalTwins

from .models import FAN, MACHINE, ROOM, of


@pytest.fixture
def graph(client: DigitalTwinsClient) -> DigitalTwinsClient:
    """Provide a client of a service with two machines, a fan and a room."""
    client.create_models([MACHINE, FAN, ROOM])
    for name, model in {"m1": MACHINE, "m2": MACHINE, "f1": FAN, "r1": ROOM}.items():
        client.upsert_digital_twin(name, of(model))
    return client


def _link(target: str, name: str = "feeds", **values: Any) -> dict[str, Any]:
    return {"$relationshipName": name, "$targetId": target, **values}


def _code(caught: pytest.ExceptionInfo[HttpResponseError]) -> tuple[int | None, str | None]:
    error = caught.value.error
    return caught.value.status_code, error.code if error else None


def test_a_relationship_shows_what_was_written(graph: DigitalTwinsClient) -> None:
    """The path says its ends, whatever the body says."""
    body = _link("m2", flow=1.5) | {"$relationshipId": "other", "$sourceId": "f1"}
    created = graph.upsert_relationship("m1", "m1-m2", body)
    assert created == {
        "$relationshipId": "m1-m2",
        "$etag": created["$etag"],
        "$sourceId": "m1",
        "$relationshipName": "feeds",
        "$targetId": "m2",
        "flow": 1.5,
    }
    assert graph.get_relationship("m1", "m1-m2") == created


def test_a_relationship_is_replaced_and_changed(graph: DigitalTwinsClient) -> None:
    """A second write moves it; a patch changes its properties."""
    first = graph.upsert_relationship("m1", "x", _link("m2", flow=1.5))
    second = graph.upsert_relationship("m1", "x", _link("f1"))
    assert second["$etag"] != first["$etag"]
    assert list(graph.list_incoming_relationships("m2")) == []
    graph.update_relationship("m1", "x", [{"op": "add", "path": "/flow", "value": 2.5}])
    assert graph.get_relationship("m1", "x")["flow"] == 2.5
    with pytest.raises(HttpResponseError, match="cannot be changed"):
        graph.update_relationship("m1", "x", [{"op": "replace", "path": "/$targetId", "value": "m2"}])


@pytest.mark.parametrize(
    ("source", "body", "want"),
    [
        ("m1", _link("m2", "owns"), (400, "InvalidRelationship")),
        ("m1", _link("r1"), (400, "InvalidRelationship")),
        ("r1", _link("m1"), (400, "InvalidRelationship")),
        ("m1", _link("m1"), (400, "OperationNotAllowed")),
        ("m1", _link("m9"), (404, "TargetDigitalTwinNotFound")),
        ("m9", _link("m1"), (404, "DigitalTwinNotFound")),
        ("m1", _link("m2", flow="much"), (400, "ValidationFailed")),
        ("m1", _link("m2", mass=1), (400, "ValidationFailed")),
        ("m1", {"$relationshipName": "feeds"}, (400, "InvalidArgument")),
    ],
)
def test_relationships_are_held_to_the_model(
    graph: DigitalTwinsClient, source: str, body: dict[str, Any], want: tuple[int, str]
) -> None:
    """Name, target and properties have to be the source model's."""
    with pytest.raises(HttpResponseError) as caught:
        graph.upsert_relationship(source, "x", body)
    assert _code(caught) == want


def test_targets_may_be_of_derived_models_or_any(graph: DigitalTwinsClient) -> None:
    """A fan is a machine; a relationship without target takes anything; fans inherit relationships."""
    graph.upsert_relationship("m1", "a", _link("f1"))
    graph.upsert_relationship("m1", "b", _link("r1", "near"))
    graph.upsert_relationship("f1", "c", _link("m1"))
    assert [link["$relationshipId"] for link in graph.list_relationships("m1")] == ["a", "b"]
    assert [link["$relationshipId"] for link in graph.list_relationships("m1", "near")] == ["b"]


def test_lists_come_in_pages_of_ten(graph: DigitalTwinsClient) -> None:
    """In the order of the identifiers' characters; the client follows absolute links."""
    for number in range(23):
        graph.upsert_relationship("m1", f"-{number}", _link("m2"))
    pages = [list(page) for page in graph.list_relationships("m1").by_page()]
    assert [len(page) for page in pages] == [10, 10, 3]
    ids = [link["$relationshipId"] for page in pages for link in page]
    assert ids == sorted(ids)
    assert ids[:4] == ["-0", "-1", "-10", "-11"]
    incoming = list(graph.list_incoming_relationships("m2"))
    assert [link.relationship_id for link in incoming] == ids
    assert {link.source_id for link in incoming} == {"m1"}


def test_incoming_relationships_name_their_address(graph: DigitalTwinsClient, service: DigitalTwins) -> None:
    """The address is absolute and has the version of the interface."""
    graph.upsert_relationship("m1", "a b", _link("m2"))
    (link,) = graph.list_incoming_relationships("m2")
    want = f"{service.url}/digitaltwins/m1/relationships/a%20b?api-version=2023-10-31"
    assert (link.relationship_link, link.relationship_name) == (want, "feeds")


def test_linked_twins_stay(graph: DigitalTwinsClient) -> None:
    """Either end keeps a twin from deletion."""
    graph.upsert_relationship("m1", "x", _link("m2"))
    for end in ("m1", "m2"):
        with pytest.raises(HttpResponseError) as caught:
            graph.delete_digital_twin(end)
        assert _code(caught) == (400, "RelationshipsNotDeleted")
    graph.delete_relationship("m1", "x")
    graph.delete_digital_twin("m2")


def test_writes_are_conditional(graph: DigitalTwinsClient) -> None:
    """As with twins."""
    first = graph.upsert_relationship("m1", "x", _link("m2"), match_condition=MatchConditions.IfMissing)
    with pytest.raises(ResourceExistsError):
        graph.upsert_relationship("m1", "x", _link("m2"), match_condition=MatchConditions.IfMissing)
    current = {"etag": first["$etag"], "match_condition": MatchConditions.IfNotModified}
    graph.update_relationship("m1", "x", [], **current)
    with pytest.raises(ResourceModifiedError):
        graph.delete_relationship("m1", "x", **current)
    graph.delete_relationship("m1", "x")
    with pytest.raises(ResourceNotFoundError):
        graph.delete_relationship("m1", "x")
