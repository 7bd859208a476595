"""Faults on demand: what the next requests meet instead of, or after, their answer."""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happens to the next requests that match.

    Attributes
    ----------
    kind
        ``status``: answered with that status, nothing applied; ``delay``: answered late; ``drop``: the
        connection ends before anything is applied; ``drop-answer``: applied, then the connection ends.
    count
        How many requests.
    status
        For ``status``: 412, 429, 500 or any other error.
    retry_after
        Seconds a 429 or 503 asks to wait.
    delay_seconds
        How late.
    method, path
        Which requests: a method, and a regular expression found in the path as sent.
    """

    kind: Literal["status", "delay", "drop", "drop-answer"]
    count: int = 1
    status: int = 500
    retry_after: int | None = None
    delay_seconds: float = 0.0
    method: str = ""
    path: str = ""


class Faults:
    """The faults still to come, in the order they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let requests from now on meet a fault."""
        re.compile(fault.path)
        self._waiting.append(fault)

    def clear(self) -> None:
        """Let requests be."""
        self._waiting.clear()

    def waiting(self) -> tuple[Fault, ...]:
        """Give the faults not yet met, with what is left of their counts."""
        return tuple(self._waiting)

    def take(self, method: str, path: str) -> Fault | None:
        """Use up one meeting of the first fault that matches."""
        for index, fault in enumerate(self._waiting):
            if fault.method in ("", method) and re.search(fault.path, path):
                if fault.count > 1:
                    self._waiting[index] = msgspec.structs.replace(fault, count=fault.count - 1)
                else:
                    del self._waiting[index]
                return fault
        return None


def read_fault(body: bytes) -> Fault:
    """Read a fault from JSON.

    Raises
    ------
    ValueError
        When the JSON describes none.
    """
    fault = msgspec.json.decode(body, type=Fault)
    if fault.count < 1:
        raise ValueError("count must be at least 1")
    try:
        re.compile(fault.path)
    except re.error as error:
        raise ValueError(f"path is no regular expression: {error}") from error
    return fault


def as_json(faults: tuple[Fault, ...]) -> list[Mapping[str, object]]:
    """Give faults as JSON."""
    return [msgspec.to_builtins(fault) for fault in faults]
