"""Finds every twin type: each folder of `twin_actors.types` whose ``twin.py`` has a ``TWIN``.

The folder is the registration; there is no list to edit.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import msgspec

import twin_actors.types
from twin_actors.dtdl import DtdlError, parse, to_dtmi
from twin_actors.errors import SettingsError
from twin_actors.rows import row_faults
from twin_actors.twin import TwinType

type Document = Mapping[str, Any]
"""A DTDL interface as JSON has it."""

COMMON_MODEL = "dtmi:twinfold:Twin;1"
"""The interface that every twin's model extends; it stands in ``twin.json`` beside ``twin.py``."""

_FAULTS_OF_CODE = (ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, LookupError)
"""What a module raises that is not written to the end; all folders are to be told of, not the first."""

_COMMON_FILE = Path(__file__).with_name("twin.json")


class Registry(msgspec.Struct, frozen=True):
    """The twin types of this app.

    Attributes
    ----------
    by_name : Mapping
        Name of the folder → twin type, in order of names.
    by_model : Mapping
        DTMI of the model → twin type.
    documents : tuple
        The DTDL interfaces, each after those it extends.
    """

    by_name: Mapping[str, TwinType[Any]]
    by_model: Mapping[str, TwinType[Any]]
    documents: tuple[Document, ...]

    def models(self) -> list[Document]:
        """Return the DTDL interfaces in an order in which they can be uploaded."""
        return list(self.documents)


def type_names(package: ModuleType = twin_actors.types) -> list[str]:
    """Return the names of the folders in `package`, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg)


def load_registry(package: ModuleType = twin_actors.types) -> Registry:
    """Find the twin types in the folders of `package`.

    Raises
    ------
    SettingsError
        A folder is no twin type; all faults of all folders at once.
    """
    faults: list[str] = []
    found: list[tuple[TwinType[Any], Document]] = []
    for name in type_names(package):
        fault = _load(package.__name__, name, found)
        if fault:
            faults.append(f"twin type {name}: {fault}")
    by_model: dict[str, TwinType[Any]] = {}
    for twin_type, _ in found:
        other = by_model.setdefault(twin_type.model, twin_type)
        if other is not twin_type:
            faults.append(f"twin type {twin_type.name}: its model {twin_type.model} is that of {other.name}")
    documents = (json.loads(_COMMON_FILE.read_bytes()), *(document for _, document in found))
    faults += _faults_by_models(by_model, documents)
    if faults:
        raise SettingsError(tuple(faults))
    return Registry(
        by_name=MappingProxyType({twin_type.name: twin_type for twin_type, _ in found}),
        by_model=MappingProxyType(by_model),
        documents=documents,
    )


def _faults_by_models(by_model: Mapping[str, TwinType[Any]], documents: Iterable[Document]) -> Iterator[str]:
    """Read the models, and hold the types' rows against them."""
    try:
        interfaces = parse(list({document["@id"]: dict(document) for document in documents}.values()))
    except DtdlError as error:
        yield f"a model.json is no DTDL: {error}"
        return
    for model, twin_type in by_model.items():
        for fault in row_faults(twin_type, interfaces[to_dtmi(model)]):
            yield f"twin type {twin_type.name}: {fault}"


def _load(package: str, name: str, found: list[tuple[TwinType[Any], Document]]) -> str:
    """Load one folder into `found`, or return what is wrong with it."""
    module = _import(f"{package}.{name}.twin")
    if isinstance(module, str):
        return module
    twin_type = getattr(module, "TWIN", None)
    if not isinstance(twin_type, TwinType):
        return "its twin.py has no TWIN = TwinType(…)"
    if twin_type.name != name:
        return f"its TWIN is named {twin_type.name!r}; the name must be that of the folder"
    path = Path(str(module.__file__)).with_name("model.json")
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return "it has no model.json"
    except ValueError as error:
        return f"its model.json is no JSON: {error}"
    fault = _disagreement(twin_type, document)
    if not fault:
        found.append((twin_type, document))
    return fault


def _import(name: str) -> ModuleType | str:
    """Import the module of a twin type, or return why that does not go."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return "it has no twin.py"
        return f"it cannot be imported: {error}; if it is a kernel, `make setup` compiles it"
    except _FAULTS_OF_CODE as error:
        return f"it cannot be imported: {type(error).__name__}: {error}"


def _disagreement(twin_type: TwinType[Any], document: object) -> str:
    if not isinstance(document, dict):
        return "its model.json must be one interface, a JSON object"
    if document.get("@id") != twin_type.model:
        return f"its TWIN has model {twin_type.model}, its model.json {document.get('@id')}"
    extended = document.get("extends")
    if COMMON_MODEL not in (extended if isinstance(extended, list) else [extended]):
        return f"its model.json must extend {COMMON_MODEL}, which has what every twin shows"
    return ""
