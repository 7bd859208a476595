"""Finding twin types: the folder is the registration, and a wrong folder is named."""

import importlib
import json
from pathlib import Path

import pytest

from twin_actors.dtdl import parse
from twin_actors.errors import SettingsError
from twin_actors.registry import COMMON_MODEL, load_registry

TWIN = """
import msgspec
from twin_actors.twin import Channel, Turn, TwinType

class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass

TWIN = TwinType(name="{name}", model="{model}", state=State, receive=lambda state, message: Turn(state),
                properties=lambda state: {{}}, channels=(Channel("level", 0.0, 1.0),))
"""
TELEMETRY = {"@type": "Telemetry", "name": "level", "schema": "double"}


def model(dtmi: str = "dtmi:test:Basin;1", **changes: object) -> str:
    """DTDL of a type with one channel."""
    document = {
        "@context": "dtmi:dtdl:context;3",
        "@id": dtmi,
        "@type": "Interface",
        "extends": COMMON_MODEL,
        "contents": [TELEMETRY],
    }
    return json.dumps(document | changes)


def write(package: Path, name: str, twin: str | None = None, model_json: str | None = None) -> None:
    """Write one folder of a twin type."""
    folder = package / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    if twin is not None:
        (folder / "twin.py").write_text(twin)
    if model_json is not None:
        (folder / "model.json").write_text(model_json)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide an empty package, importable under a name of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / f"types_of_{tmp_path.name}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    return folder


def faults_of(package: Path) -> tuple[str, ...]:
    """Load a package that has faults, and return them."""
    with pytest.raises(SettingsError) as caught:
        load_registry(importlib.import_module(package.name))
    return caught.value.faults


def test_every_folder_is_found_by_name_and_model() -> None:
    """Both ways to a type lead to the same value."""
    registry = load_registry()
    assert {"pump", "storage_tank"} <= set(registry.by_name)
    for name, twin_type in registry.by_name.items():
        assert twin_type.name == name
        assert registry.by_model[twin_type.model] is twin_type


def test_models_can_be_uploaded_in_their_order() -> None:
    """Each interface comes after what it extends, and DTDL accepts them all."""
    documents = load_registry().models()
    seen: set[object] = set()
    for document in documents:
        assert document.get("extends") in {None, *seen}
        seen.add(document["@id"])
    assert {str(dtmi) for dtmi in parse(documents)} == seen


def test_new_folder_is_a_new_type(package: Path) -> None:
    """Nothing else is written."""
    write(package, "basin", TWIN.format(name="basin", model="dtmi:test:Basin;1"), model())
    registry = load_registry(importlib.import_module(package.name))
    assert list(registry.by_name) == ["basin"]
    assert [document["@id"] for document in registry.models()] == [COMMON_MODEL, "dtmi:test:Basin;1"]


GOOD_TWIN = TWIN.format(name="basin", model="dtmi:test:Basin;1")


@pytest.mark.parametrize(
    ("twin", "model_json", "fault"),
    [
        (None, model(), "it has no twin.py"),
        ("TWIN = 3", model(), "its twin.py has no TWIN"),
        (TWIN.format(name="pond", model="dtmi:test:Basin;1"), model(), "named 'pond'"),
        (GOOD_TWIN, None, "it has no model.json"),
        (GOOD_TWIN, "{", "no JSON"),
        (GOOD_TWIN, "[]", "must be one interface"),
        (GOOD_TWIN, model("dtmi:test:Pond;1"), "its model.json dtmi:test:Pond;1"),
        (GOOD_TWIN, model(extends="dtmi:test:Other;1"), f"must extend {COMMON_MODEL}"),
        (GOOD_TWIN, model(contents=[]), "no Telemetry for channels level"),
        (
            GOOD_TWIN.replace("channels=", "priority={'colour': ()}, channels="),
            model(),
            "priority names colour",
        ),
    ],
)
def test_wrong_folder_is_named_with_its_fault(package: Path, twin: str | None, model_json: str, fault: str) -> None:
    """The error says which folder, and what is wrong there."""
    write(package, "basin", twin, model_json)
    (found,) = faults_of(package)
    assert found.startswith("twin type basin: ")
    assert fault in found


def test_models_that_are_no_dtdl_are_told(package: Path) -> None:
    """With what the language wants."""
    write(package, "basin", GOOD_TWIN, model(contents=[TELEMETRY, TELEMETRY]))
    (found,) = faults_of(package)
    assert found.startswith("a model.json is no DTDL: ")
    assert "dtmi:test:Basin;1" in found


def test_all_faults_are_told_at_once(package: Path) -> None:
    """Two wrong folders are two faults; a model that two types claim is one."""
    write(package, "basin", GOOD_TWIN, model())
    write(package, "empty")
    write(package, "pond", TWIN.format(name="pond", model="dtmi:test:Basin;1"), model())
    assert len(faults_of(package)) == 2
