"""Whether what is asked of a twin fits its DTDL model and the rows of its type.

HTTP and operators' commands ask here before a request sets out; the twin itself decides in the end.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from twin_actors.documents import PropertyValue
from twin_actors.dtdl import Interface, Primitive, Property, Schema, parse, to_dtmi, validate_value
from twin_actors.errors import Rejected
from twin_actors.registry import COMMON_MODEL, Registry
from twin_actors.twin import Command, TwinType

_LARGEST = 2**63


class Misfit(Rejected):
    """What is asked does not fit.

    Parameters
    ----------
    reason, detail : str
    faults : sequence
        ``(where, what)`` of each: a property or ``request``, and what is wrong with it.
    """

    def __init__(self, reason: str, detail: str, faults: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(reason, detail)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "; ".join((super().__str__(), *(f"{where}: {what}" for where, what in self.faults)))


class Models:
    """The models of this app's twin types, parsed once.

    Parameters
    ----------
    registry
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._parsed = parse([dict(document) for document in registry.documents])
        self._common = self._parsed[to_dtmi(COMMON_MODEL)].properties

    def interface(self, model: str) -> Interface | None:
        """Return a model; None where it is of no type of this app."""
        return self._parsed[to_dtmi(model)] if model in self._registry.by_model else None

    def type_of(self, model: str) -> TwinType[Any] | None:
        """Return the type of twins with a model; None where this app has none."""
        return self._registry.by_model.get(model)

    def source(self, model: str, name: str) -> str:
        """Return where a property's value comes from when no person's is shown."""
        twin_type = self.type_of(model)
        declared = twin_type.sources.get(name) if twin_type is not None else None
        return declared or ("runtime" if name in self._common else "twin")


def check_edit(
    models: Models, model: str, changes: Mapping[str, PropertyValue | None]
) -> dict[str, PropertyValue | None]:
    """Return the changes as the model has them.

    Raises
    ------
    Misfit
        With every fault.
    """
    interface, _ = _known(models, model)
    if not changes:
        raise _mismatch("no property is named; say which, and its value")
    faults: list[tuple[str, str]] = []
    for name, value in changes.items():
        fault = _edit_fault(interface.properties.get(name), value)
        if fault:
            faults.append((name, fault))
    if faults:
        writable = sorted(name for name, one in interface.properties.items() if one.writable)
        raise _mismatch(f"of {model}, these can be set: {', '.join(writable) or 'none'}", faults)
    return {name: _normal(interface.properties[name].schema, value) for name, value in changes.items()}


def _edit_fault(declared: Property | None, value: PropertyValue | None) -> str:
    if declared is None:
        return "the model has no such property"
    if not declared.writable:
        return "the property is not writable: it shows what the twin finds"
    return "" if value is None else _value_fault(declared.schema, value)


def check_command(models: Models, model: str, name: str, request: Any) -> Any:  # noqa: ANN401  JSON
    """Return a command's request as the model has it.

    Raises
    ------
    Misfit
    """
    interface, twin_type = _known(models, model)
    rows = {command.name: command for command in twin_type.commands}
    if name not in rows or name not in interface.commands:
        known = ", ".join(sorted(rows)) or "none"
        raise Misfit("command_not_found", f"twins of {model} take these commands: {known}")
    payload = interface.commands[name].request
    if payload is None:
        if request is not None:
            raise _mismatch(f"command {name} takes no request", [("request", "leave it out")])
        return None
    if request is None:
        if payload.nullable:
            return None
        raise _mismatch(f"command {name} wants a request", [("request", f"{_kind(payload.schema)} is wanted")])
    fault = _value_fault(payload.schema, request) or _limit_fault(rows[name], request)
    if fault:
        raise _mismatch(f"the request does not fit command {name}", [("request", fault)])
    return _normal(payload.schema, request)


def _value_fault(schema: Schema, value: Any) -> str:  # noqa: ANN401  JSON
    if not _is_storable(value):
        return "a number beyond 64 bits, no number, or text that is no Unicode"
    mismatch = validate_value(schema, value)
    if mismatch is None:
        return ""
    place = f" at {'.'.join(mismatch.path)}" if mismatch.path else ""
    return f"not declared{place}" if mismatch.is_undeclared else f"{mismatch.expected} is wanted{place}"


def _limit_fault(row: Command[Any], value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and not row.low <= value <= row.high:
        return f"between {row.low:g} and {row.high:g} is taken"
    return ""


def _is_storable(value: Any) -> bool:  # noqa: ANN401  JSON
    """Whether a JSON value means the same wherever it is kept."""
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, dict):
        return all(_is_storable(key) and _is_storable(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_storable, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -_LARGEST <= value < _LARGEST


def _normal(schema: Schema, value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a number of the schema's kind: JSON does not tell 1 from 1.0."""
    if isinstance(schema, Primitive) and isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if schema.name in {"integer", "long"} else float(value)
    return value


def _kind(schema: Schema) -> str:
    return schema.name if isinstance(schema, Primitive) else type(schema).__name__.lower()


def _mismatch(detail: str, faults: Sequence[tuple[str, str]] = ()) -> Misfit:
    return Misfit("model_mismatch", detail, faults)


def _known(models: Models, model: str) -> tuple[Interface, TwinType[Any]]:
    interface, twin_type = models.interface(model), models.type_of(model)
    if interface is None or twin_type is None:
        raise Misfit("foreign_model", f"no twin type of this app has model {model}: its twins can be read, not asked")
    return interface, twin_type
