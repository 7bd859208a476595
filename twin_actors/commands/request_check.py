"""Whether a twin's type and model know what is asked of it; the twin itself decides in the end."""

from collections.abc import Sequence
from typing import Any

import msgspec

from twin_actors.documents import PropertyValue
from twin_actors.dtdl import Interface, Property, parse, to_dtmi, validate_value
from twin_actors.errors import Rejected
from twin_actors.registry import Registry


def interface_of(registry: Registry, model: str) -> Interface | None:
    """Return the parsed model of a twin, None where no twin type of this app has it."""
    return parse(registry.models()).get(to_dtmi(model)) if model in registry.by_model else None


def check_command(registry: Registry, model: str, name: str, request: Any) -> None:  # noqa: ANN401  JSON
    """Check a command.

    Raises
    ------
    Rejected
        There is no such command, or it does not want this.
    """
    interface, twin_type = _known(registry, model), registry.by_model[model]
    rows = {row.name: row for row in twin_type.commands}
    if name not in rows or name not in interface.commands:
        known = ", ".join(sorted(rows)) or "none"
        raise Rejected("unknown_command", f"twin type {twin_type.name} has no command {name}; it has: {known}")
    row, payload = rows[name], interface.commands[name].request
    if payload is None:
        if request is not None:
            raise Rejected("bad_request", f"{name} takes no request: leave --request out")
        return
    if request is None and payload.nullable:
        return
    mismatch = validate_value(payload.schema, request)
    if mismatch is not None:
        what = ".".join((payload.name, *mismatch.path))
        wanted = mismatch.expected or "nothing of that name"
        raise Rejected("bad_request", f"{name} wants {wanted} as {what}: say it with --request")
    if isinstance(request, int | float) and not row.low <= request <= row.high:
        raise Rejected("bad_request", f"{request:g} is outside the limits of {name}: {row.low:g} to {row.high:g}")


def checked_changes(registry: Registry, model: str, assignments: Sequence[str]) -> dict[str, PropertyValue | None]:
    """Return what ``NAME=VALUE`` pairs set; nothing behind ``=`` takes a person's value away.

    Raises
    ------
    Rejected
        With every fault found.
    """
    interface = _known(registry, model)
    changes: dict[str, PropertyValue | None] = {}
    faults = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        declared = interface.properties.get(name)
        if not equals:
            faults.append(f"{assignment!r} is not NAME=VALUE")
        elif declared is None:
            faults.append(f"the model has no property {name}")
        elif not declared.writable:
            faults.append(f"{name} is not writable")
        elif not text:
            changes[name] = None
        else:
            value, fault = _value(declared, text)
            changes[name] = value
            faults += [fault] if fault else []
    if faults:
        raise Rejected("bad_edit", "; ".join(faults))
    return changes


def _known(registry: Registry, model: str) -> Interface:
    interface = interface_of(registry, model)
    if interface is None:
        raise Rejected("unknown_model", f"no twin type of this app has model {model}")
    return interface


def _value(declared: Property, text: str) -> tuple[PropertyValue | None, str]:
    """Return the JSON value, or else the text itself, whichever fits the schema; or what is wrong with both."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    for one in (value, text):
        mismatch = validate_value(declared.schema, one)
        if mismatch is None and isinstance(one, bool | int | float | str):
            return one, ""
    wanted = mismatch.expected if mismatch is not None else "one value"
    return None, f"{text!r} does not fit {declared.name}: {wanted} is wanted"
