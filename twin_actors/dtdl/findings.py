"""What checking the documents brought to light."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import Breach

type Node = dict[str, Any]
"""A JSON object of a model document, its keys and types shortened to the language's terms."""


@dataclass(frozen=True, slots=True)
class Element:
    """An element found in the documents.

    Attributes
    ----------
    kind
        Its class, such as ``Property``.
    node
        Its JSON.
    version
        The version of the language it is written in.
    interface
        The identifier of the interface it is part of.
    """

    kind: str
    node: Node
    version: int
    interface: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A place where an element is named in place of being written.

    Attributes
    ----------
    target
        The identifier.
    owner
        What refers to it, for messages.
    slot
        The slot it stands in.
    classes
        The classes allowed there.
    interface
        The identifier of the interface it stands in.
    version
        The version of the language there.
    """

    target: str
    owner: str
    slot: str
    classes: frozenset[str]
    interface: str
    version: int


@dataclass(slots=True)
class Findings:
    """Broken rules, elements by identifier, references between them."""

    breaches: list[Breach] = field(default_factory=list)
    elements: dict[str, Element] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, rule: str, cause: str, action: str) -> None:
        """Note a broken rule."""
        self.breaches.append(Breach(rule, cause, action))

    def define(self, identifier: str, element: Element) -> None:
        """Note an element with an identifier, which has to be its only definition."""
        if identifier in self.elements:
            self.add(
                "duplicateDefinition",
                f"{identifier} has more than one definition.",
                f"Remove all but one JSON object containing '@id' property with value {identifier}, or change "
                "the '@id' values so there are no duplicates.",
            )
        else:
            self.elements[identifier] = element

    def count(self, interface: str) -> None:
        """Count one more element of an interface."""
        self.counts[interface] = self.counts.get(interface, 0) + 1


def label(node: Mapping[str, Any], kind: str = "Element") -> str:
    """Name an element in a message: by its identifier, else by its class and name."""
    identifier, name = node.get("@id"), node.get("name")
    if isinstance(identifier, str):
        return identifier
    return f"{kind} '{name}'" if isinstance(name, str) else f"{kind} without @id"
