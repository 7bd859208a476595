"""The part of JSON Patch that the service takes: add, replace, remove."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from . import errors

type Json = Any
"""A JSON value of any form."""

_OPERATIONS = frozenset({"add", "replace", "remove"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One change.

    Attributes
    ----------
    op
        ``add``, ``replace`` or ``remove``.
    path
        The path as written, for messages.
    steps
        The path taken apart.
    value
        What to put there.
    """

    op: str
    path: str
    steps: tuple[str, ...]
    value: Json = None


def read_patch(body: Json, *, prefix: str = "", is_twin: bool = False) -> list[Operation]:
    """Read a patch document.

    Parameters
    ----------
    body
        The JSON as sent.
    prefix
        What the paths are relative to.
    is_twin
        Whether a twin is patched: the answer to malformed items differs.
    """
    if not isinstance(body, list):
        raise errors.patch_invalid("The patch document must be an array of operations.")
    return [_read_operation(index, item, prefix, is_twin=is_twin) for index, item in enumerate(body)]


def _read_operation(index: int, item: Json, prefix: str, *, is_twin: bool) -> Operation:
    if not isinstance(item, dict):
        raise errors.MalformedPatch(index, msgspec.json.encode(item).decode(), is_twin=is_twin)
    op, path = item.get("op"), item.get("path")
    if not isinstance(op, str) or not op:
        raise errors.patch_invalid("Parameter op must not be empty.")
    if op not in _OPERATIONS:
        raise errors.patch_invalid(f"Unsupported operation type {op}.")
    if not isinstance(path, str) or not path:
        raise errors.patch_invalid("Parameter path must not be empty.")
    if op != "remove" and "value" not in item:
        raise errors.patch_invalid("Parameter value must not be empty.")
    if not path.startswith("/"):
        raise errors.patch_invalid(f"The path {path} does not start with '/'.")
    path = prefix + path
    steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])
    return Operation(op, path, steps, item.get("value"))


def apply(target: Json, operation: Operation, steps: Sequence[str]) -> None:
    """Make one change inside a JSON object, in place.

    Parameters
    ----------
    target
        The object; what the operation touches in it must be the caller's own copy.
    operation
        What to do.
    steps
        Where, from the object down.
    """
    for step in steps[:-1]:
        target = _descend(target, step, operation)
    last = steps[-1]
    if isinstance(target, list):
        _change_item(target, operation, last)
    elif isinstance(target, dict):
        if operation.op == "add":
            target[last] = operation.value
        elif last not in target:
            raise errors.patch_invalid(f"The target location specified by path segment '{last}' was not found.")
        elif operation.op == "replace":
            target[last] = operation.value
        else:
            del target[last]
    else:
        raise errors.patch_invalid(f"{operation.path} was not found.")


def _descend(target: Json, step: str, operation: Operation) -> Json:
    if isinstance(target, dict) and step in target:
        return target[step]
    if isinstance(target, list) and step.isdecimal() and int(step) < len(target):
        return target[int(step)]
    raise errors.patch_invalid(f"{operation.path} was not found.")


def _change_item(target: list[Json], operation: Operation, step: str) -> None:
    size = len(target)
    index = size if step == "-" else int(step) if step.isdecimal() else -1
    highest = size if operation.op == "add" else size - 1
    if not 0 <= index <= highest:
        raise errors.patch_invalid(f"The target location specified by path segment '{step}' was not found.")
    if operation.op == "add":
        target.insert(index, operation.value)
    elif operation.op == "replace":
        target[index] = operation.value
    else:
        del target[index]
