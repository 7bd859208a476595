"""Models, through the genuine client."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.digitaltwins.core import DigitalTwinsClient

from twin_actors.dtdl import Dtmi, Interface, parse

from .models import BEARING, PUMP, ROOM


def _refused(caught: pytest.ExceptionInfo[HttpResponseError]) -> tuple[int | None, str | None]:
    error = caught.value.error
    return caught.value.status_code, error.code if error else None


def test_a_model_comes_back_as_it_was_written(client: DigitalTwinsClient) -> None:
    """Texts become language maps, the document stays verbatim."""
    created = client.create_models([PUMP, BEARING])
    assert [model.id for model in created] == [PUMP["@id"], BEARING["@id"]]
    assert created[0].model is None
    got = client.get_model(PUMP["@id"], include_model_definition=True)
    assert got.model == PUMP
    assert (got.display_name, got.description, got.decommissioned) == ({"en": "Pump"}, {}, False)


def test_models_that_exist_are_not_replaced(client: DigitalTwinsClient) -> None:
    """One known model refuses the whole upload."""
    client.create_models([BEARING])
    with pytest.raises(ResourceExistsError) as caught:
        client.create_models([PUMP, BEARING])
    assert _refused(caught) == (409, "ModelIdAlreadyExists")
    assert [model.id for model in client.list_models()] == [BEARING["@id"]]


@pytest.mark.parametrize(
    ("models", "code", "words"),
    [
        ([], "InvalidArgument", "models provided was empty"),
        ([{**ROOM, "@id": f"dtmi:test:R{n};1"} for n in range(251)], "LimitExceeded", "the limit is 250"),
        ([PUMP], "DTDLParserError", f"resolve requisite references to element(s): {BEARING['@id']}. See model"),
        ([{**ROOM, "@type": "Room"}], "DTDLParserError", "does not have @type of Interface"),
    ],
)
def test_bad_uploads_say_why(client: DigitalTwinsClient, models: list[Any], code: str, words: str) -> None:
    """Nothing of a refused upload is kept."""
    with pytest.raises(HttpResponseError) as caught:
        client.create_models(models)
    assert _refused(caught) == (400, code)
    assert words in caught.value.message
    assert list(client.list_models()) == []


def test_a_relationship_target_need_not_exist(client: DigitalTwinsClient) -> None:
    """Only bases and components have to resolve."""
    lonely = {**ROOM, "contents": [{"@type": "Relationship", "name": "has", "target": "dtmi:test:Nowhere;1"}]}
    assert client.create_models([lonely])[0].id == ROOM["@id"]


def test_models_are_listed_in_pages_and_with_what_they_need(client: DigitalTwinsClient) -> None:
    """The page size is a wish; the SDK follows the links."""
    many = [{**ROOM, "@id": f"dtmi:test:R{n};1"} for n in range(7)]
    client.create_models([*many, BEARING, PUMP])
    pages = list(client.list_models(headers={"max-items-per-page": "4"}).by_page())
    assert [len(list(page)) for page in pages] == [4, 5]
    needed = client.list_models([PUMP["@id"]], include_model_definition=True)
    assert {model.id: model.model for model in needed} == {PUMP["@id"]: PUMP, BEARING["@id"]: BEARING}
    with pytest.raises(ResourceNotFoundError):
        list(client.list_models(["dtmi:test:Nowhere;1"]))


def test_a_decommissioned_model_takes_no_new_twins(client: DigitalTwinsClient) -> None:
    """Twins that it has stay as they were."""
    client.create_models([ROOM])
    room = {"$metadata": {"$model": ROOM["@id"]}}
    client.upsert_digital_twin("old", room)
    client.decommission_model(ROOM["@id"])
    assert client.get_model(ROOM["@id"]).decommissioned is True
    with pytest.raises(HttpResponseError) as caught:
        client.upsert_digital_twin("new", room)
    assert _refused(caught) == (400, "ModelDecommissioned")
    client.update_digital_twin("old", [{"op": "add", "path": "/name", "value": "hall"}])
    assert client.get_digital_twin("old")["name"] == "hall"


def test_a_model_that_another_needs_stays(client: DigitalTwinsClient) -> None:
    """Twins do not keep a model, other models do."""
    client.create_models([PUMP, BEARING])
    with pytest.raises(ResourceExistsError) as caught:
        client.delete_model(BEARING["@id"])
    assert _refused(caught) == (409, "ModelReferencesNotDeleted")
    client.delete_model(PUMP["@id"])
    client.delete_model(BEARING["@id"])
    assert list(client.list_models()) == []


def test_twins_outlive_their_model(client: DigitalTwinsClient) -> None:
    """A twin without model can be read, found and deleted, not changed."""
    client.create_models([ROOM])
    client.upsert_digital_twin("hall", {"$metadata": {"$model": ROOM["@id"]}, "name": "hall"})
    client.delete_model(ROOM["@id"])
    assert client.get_digital_twin("hall")["name"] == "hall"
    assert len(list(client.query_twins("SELECT * FROM digitaltwins"))) == 1
    with pytest.raises(HttpResponseError) as caught:
        client.update_digital_twin("hall", [{"op": "add", "path": "/name", "value": "x"}])
    assert _refused(caught) == (400, "ValidationFailed")
    client.delete_digital_twin("hall")


def test_a_real_ontology_is_uploaded_in_batches(client: DigitalTwinsClient, shared_data: Path) -> None:
    """768 interfaces, at most 250 at once, bases before what extends them."""
    file = shared_data / "adt" / "ontology-realestatecore.jsonl.gz"
    documents = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    by_id = {document["@id"]: document for document in documents}
    ordered: dict[Dtmi, None] = {}

    def place(interface: Interface) -> None:
        for need in interface.dependencies():
            place(need)
        ordered.setdefault(interface.id)

    for interface in parse(documents).values():
        place(interface)
    ids = list(ordered)
    for start in range(0, len(ids), 250):
        client.create_models([by_id[identifier] for identifier in ids[start : start + 250]])
    assert len(list(client.list_models())) == 768
