"""A twin's JSON: made from what callers send, patched, held to its model, shown."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from twin_actors.dtdl import Component, Interface, Property, validate_value

from . import errors, limits
from .patch import Operation, apply
from .state import Document, Twin, deep_copy

METADATA = "$metadata"
MODEL = "$model"
UPDATED = "$lastUpdateTime"
_OWN = frozenset({"$dtId", "$etag", METADATA})


def model_of(body: Mapping[str, Any]) -> str:
    """Read which model a new twin is of."""
    metadata = body.get(METADATA)
    model = metadata.get(MODEL) if isinstance(metadata, dict) else None
    if not isinstance(model, str):
        raise errors.validation_failed(["Twin is missing $metadata with the $model it is of."])
    return model


def new_document(interface: Interface, body: Mapping[str, Any], when: str) -> Document:
    """Make a twin's document from what a caller sent."""
    contents = {name: value for name, value in body.items() if name not in _OWN}
    given = body[METADATA]
    metadata: Document = {MODEL: given[MODEL], UPDATED: when}
    document: Document = {}
    for name, value in contents.items():
        if name in interface.components and isinstance(value, dict):
            document[name] = _new_component(value, when)
        else:
            document[name] = value
            metadata[name] = _mark(given.get(name), when)
    document[METADATA] = metadata
    check(interface, document)
    return document


def _new_component(body: Mapping[str, Any], when: str) -> Document:
    given = body.get(METADATA)
    component: Document = {name: value for name, value in body.items() if name != METADATA}
    if isinstance(given, dict):
        marks = {name: _mark(given.get(name), when) for name in component}
        component[METADATA] = {UPDATED: when, **marks}
    return component


def _mark(given: object, when: str) -> Document:
    """Note when a value was written, and when it was measured if the caller says so."""
    mark: Document = {"lastUpdateTime": when}
    if isinstance(given, dict) and "sourceTime" in given:
        mark["sourceTime"] = _source_time(given["sourceTime"])
    return mark


def _source_time(value: object) -> str:
    try:
        datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise errors.invalid_argument(f"The sourceTime {value} is no ISO 8601 date and time.") from error
    return str(value)


def check(interface: Interface, document: Document) -> None:
    """Refuse a document that does not fit its model."""
    faults = [*_faults(interface, document, "Twin"), *_missing(interface, document)]
    if faults:
        raise errors.validation_failed(faults)


def _missing(interface: Interface, document: Document) -> Iterator[str]:
    for name in interface.components:
        if name not in document:
            yield f"Twin is missing required component {name}."


def _faults(interface: Interface, document: Document, owner: str) -> Iterator[str]:
    for name, value in document.items():
        if name == METADATA:
            continue
        declared = interface.contents.get(name)
        if isinstance(declared, Property):
            yield from property_faults(declared, value, owner)
        elif isinstance(declared, Component):
            yield from _component_faults(declared, value)
        else:
            yield f"{name} does not appear on the DTDL for {owner}."


def _component_faults(component: Component, value: object) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"Expected value of type object for {component.name} on Twin."
    elif not isinstance(value.get(METADATA), dict):
        yield f"Component {component.name} is missing $metadata."
    else:
        yield from _faults(component.interface, value, component.name)


def property_faults(declared: Property, value: object, owner: str) -> Iterator[str]:
    """Name what is wrong with a property's value."""
    mismatch = validate_value(declared.schema, value)
    if mismatch is not None:
        where = ".".join((declared.name, *mismatch.path))
        if mismatch.is_undeclared:
            yield f"{where} does not appear on the DTDL for {owner}."
        else:
            yield f"Expected value of type {mismatch.expected} for {where} on {owner}."
    else:
        yield from limits.long_strings(declared.name, value)


def patched(twin: Twin, operations: Sequence[Operation], when: str) -> Document:
    """Apply a patch to a copy of a twin's document, keeping its time marks."""
    document = deep_copy(twin.document)
    metadata = document[METADATA]
    metadata[UPDATED] = when
    for operation in operations:
        if METADATA not in operation.steps[:2]:
            apply(document, operation, operation.steps)
            _mark_change(document, operation, when)
    for operation in operations:
        if METADATA in operation.steps[:2]:
            _patch_metadata(document, operation)
    del document[METADATA]
    document[METADATA] = metadata
    return document


def _is_component(value: object) -> bool:
    return isinstance(value, dict) and METADATA in value


def _mark_change(document: Document, operation: Operation, when: str) -> None:
    """Keep the times of last change in step with a change of a value."""
    first, *rest = operation.steps
    owner = document
    if _is_component(document.get(first)):
        document[METADATA].pop(first, None)
        if not rest:
            document[first] = _new_component(document[first], when)
            return
        owner = document[first]
        owner[METADATA][UPDATED] = when
        first = rest[0]
    marks = owner[METADATA]
    if first in owner:
        marks[first] = {**marks.get(first, {}), "lastUpdateTime": when}
    else:
        marks.pop(first, None)


def _patch_metadata(document: Document, operation: Operation) -> None:
    """Change the two things that callers may change in ``$metadata``: the model and source times."""
    steps = operation.steps
    owner = document
    if steps[0] != METADATA:
        owner = document.get(steps[0], {})
        steps = steps[1:]
    marks = owner.get(METADATA) if isinstance(owner, dict) else None
    match steps[1:]:
        case ("$model",) if owner is document and operation.op != "remove":
            if not isinstance(operation.value, str):
                raise errors.patch_invalid(f"The value of {operation.path} must be a model id.")
            document[METADATA][MODEL] = operation.value
        case (name, "sourceTime"):
            if not isinstance(marks, dict) or name not in marks or name.startswith("$"):
                raise errors.patch_invalid(f"{operation.path} was not found.")
            if operation.op != "remove":
                marks[name] = {**marks[name], "sourceTime": _source_time(operation.value)}
            elif marks[name].pop("sourceTime", None) is None:
                raise errors.patch_invalid("The target location specified by path segment 'sourceTime' was not found.")
        case _:
            raise errors.patch_invalid(f"The path {operation.path} cannot be changed.")


def shown(twin: Twin, *, with_update_time: bool) -> Document:
    """Give a twin as callers see it; the first version of the interface lacks its time of last update."""
    document = twin.document
    if not with_update_time:
        document = {name: _without_update_time(value) for name, value in document.items()}
        document[METADATA] = {name: value for name, value in document[METADATA].items() if name != UPDATED}
    return {"$dtId": twin.id, "$etag": twin.etag, **document}


def shown_component(component: Document, *, with_update_time: bool) -> Document:
    """Give a component as callers see it."""
    return component if with_update_time else _without_update_time(component)


def _without_update_time(value: Any) -> Any:  # noqa: ANN401 -- a JSON value of any form
    if not _is_component(value):
        return value
    metadata = {name: mark for name, mark in value[METADATA].items() if name != UPDATED}
    return {**value, METADATA: metadata}
