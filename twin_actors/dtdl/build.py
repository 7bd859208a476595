"""From checked documents to the object model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from . import grammar
from .dtmi import Dtmi
from .errors import Breach, ParsingFailed
from .findings import Element
from .model import (
    Array,
    Command,
    CommandPayload,
    Component,
    Content,
    Enum,
    EnumValue,
    Field,
    Interface,
    Map,
    Object,
    Primitive,
    Property,
    Relationship,
    Schema,
    Telemetry,
    Texts,
)
from .quantities import UNITS

type Node = Mapping[str, Any]
"""A JSON object of a checked document."""

_POSITION = Array(Primitive("double"))
_COORDINATES: Mapping[str, Schema] = {
    "point": _POSITION,
    "multiPoint": Array(_POSITION),
    "lineString": Array(_POSITION),
    "multiLineString": Array(Array(_POSITION)),
    "polygon": Array(Array(_POSITION)),
    "multiPolygon": Array(Array(Array(_POSITION))),
}


def _object(**parts: Schema) -> Object:
    return Object(tuple(Field(name, schema) for name, schema in parts.items()))


_STANDARD: Mapping[str, Schema] = {
    **{name: Primitive(name) for name in grammar.PRIMITIVES},
    **{name: _object(type=Primitive("string"), coordinates=coordinates) for name, coordinates in _COORDINATES.items()},
    "geopoint": _object(lat=Primitive("double"), lon=Primitive("double"), alt=Primitive("double")),
    **{
        family: Enum(Primitive("string"), tuple(EnumValue(unit, unit) for unit in sorted(units)))
        for family, units in UNITS[3].items()
    },
    "vector": _object(x=Primitive("double"), y=Primitive("double"), z=Primitive("double")),
}
"""Schemas that go by a word of the language."""


def several(value: object) -> Sequence[Any]:
    """See a slot's value as a list, whether written as one or not."""
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def literal(value: object) -> Any:  # noqa: ANN401 -- a JSON literal of any kind
    """Take a literal out of its list and its ``@value`` object."""
    while isinstance(value, list) and value:
        value = value[0]
    return value.get("@value") if isinstance(value, dict) else value


def texts_by_language(value: object) -> dict[str, str]:
    """Read texts in any of the ways JSON-LD has to write them."""
    found: dict[str, str] = {}
    for item in several(value):
        if isinstance(item, str):
            found.setdefault("en", item)
        elif isinstance(item, dict) and "@value" in item:
            found[item.get("@language", "en")] = item["@value"]
        elif isinstance(item, dict):
            found.update(item)
    return found


def read_texts(node: Node) -> Texts:
    """Read what the author wrote for readers."""
    return Texts(
        display_name=texts_by_language(node.get("displayName")),
        description=texts_by_language(node.get("description")),
        comment=literal(node.get("comment")),
    )


class Builder:
    """Builds interfaces, each once, its bases and components first.

    Parameters
    ----------
    elements
        Every new element with an identifier, by it.
    known
        Interfaces parsed before.
    """

    def __init__(self, elements: Mapping[str, Element], known: Mapping[Dtmi, Interface]) -> None:
        self._elements = elements
        self._done: dict[Dtmi, Interface] = dict(known)
        self._open: list[str] = []

    def interface(self, identifier: Dtmi) -> Interface:
        """Build an interface and all it needs."""
        if identifier in self._done:
            return self._done[identifier]
        with self._opened(identifier, "extends"):
            element = self._elements[identifier]
            built = Interface(
                id=identifier,
                version=element.version,
                extends=tuple(self._referred(item) for item in several(element.node.get("extends"))),
                declared=self._named(several(element.node.get("contents"))),
                texts=read_texts(element.node),
            )
        self._done[identifier] = built
        return built

    def schema(self, identifier: str) -> Schema:
        """Build a schema that has an identifier."""
        return self._schema(identifier)

    @contextmanager
    def _opened(self, identifier: str, chain: str) -> Iterator[None]:
        """Refuse to build an element inside itself."""
        if identifier in self._open:
            raise ParsingFailed(
                [
                    Breach(
                        "recursiveStructureNarrow" if chain == "extends" else "recursiveStructureWide",
                        f"{identifier} is at the root of a chain of {chain} properties that includes itself.",
                        f"Change the value of one or more {chain} properties in the hierarchy to remove the recursion.",
                    )
                ]
            )
        self._open.append(identifier)
        yield
        self._open.pop()

    def _referred(self, item: str | Node) -> Interface:
        return self.interface(Dtmi(item if isinstance(item, str) else item["@id"]))

    def _named(self, items: Iterable[str | Node]) -> dict[str, Content]:
        contents = (self._content(self._resolved(item)) for item in items)
        return {content.name: content for content in contents}

    def _resolved(self, item: str | Node) -> Node:
        return self._elements[item].node if isinstance(item, str) else item

    def _content(self, node: Node) -> Content:
        name, texts = literal(node["name"]), read_texts(node)
        match node["@type"][0]:
            case "Property":
                return self._property(node)
            case "Telemetry":
                return Telemetry(name=name, schema=self._schema(node["schema"]), texts=texts, **_measure(node))
            case "Component":
                (schema,) = several(node["schema"])
                return Component(name=name, interface=self._referred(schema), texts=texts)
            case "Relationship":
                properties = (self._resolved(item) for item in several(node.get("properties")))
                built = (self._property(item) for item in properties)
                target = literal_identifier(node.get("target"))
                return Relationship(
                    name=name,
                    target=Dtmi(target) if target else None,
                    properties={item.name: item for item in built},
                    min_multiplicity=literal(node.get("minMultiplicity")),
                    max_multiplicity=literal(node.get("maxMultiplicity")),
                    writable=bool(literal(node.get("writable"))),
                    texts=texts,
                )
            case _:
                return Command(
                    name=name,
                    request=self._payload(node.get("request")),
                    response=self._payload(node.get("response")),
                    texts=texts,
                )

    def _property(self, node: Node) -> Property:
        return Property(
            name=literal(node["name"]),
            schema=self._schema(node["schema"]),
            writable=bool(literal(node.get("writable"))),
            texts=read_texts(node),
            **_measure(node),
        )

    def _payload(self, value: object) -> CommandPayload | None:
        for item in several(value):
            node = self._resolved(item)
            return CommandPayload(name=literal(node["name"]), schema=self._schema(node["schema"]))
        return None

    def _schema(self, value: object) -> Schema:
        (item,) = several(value)
        if isinstance(item, str):
            if item in _STANDARD:
                return _STANDARD[item]
            with self._opened(item, "schema"):
                return self._schema(self._elements[item].node)
        node: Node = item
        match node["@type"][0]:
            case "Array":
                return Array(self._schema(node["elementSchema"]))
            case "Map":
                return self._map(node)
            case "Enum":
                values = (self._resolved(choice) for choice in several(node.get("enumValues")))
                return Enum(
                    Primitive(node["valueSchema"][0]),
                    tuple(EnumValue(literal(item["name"]), literal(item["enumValue"])) for item in values),
                )
            case _:
                parts = (self._resolved(part) for part in several(node.get("fields")))
                return Object(tuple(Field(literal(item["name"]), self._schema(item["schema"])) for item in parts))

    def _map(self, node: Node) -> Map:
        (key,), (value,) = several(node["mapKey"]), several(node["mapValue"])
        value = self._resolved(value)
        return Map(
            literal(self._resolved(key)["name"]),
            literal(value["name"]),
            self._schema(value["schema"]),
        )


def literal_identifier(value: object) -> str | None:
    """Read an identifier written as text or as ``{"@id": …}``."""
    for item in several(value):
        return str(item["@id"] if isinstance(item, dict) else item)
    return None


def _measure(node: Node) -> dict[str, Any]:
    """Read what a number means: semantic types and unit."""
    return {"semantic_types": tuple(node["@type"][1:]), "unit": literal_identifier(node.get("unit"))}
