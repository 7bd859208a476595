"""From checked documents to the object model."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import grammar
from .dtmi import Dtmi, core_term
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

type Node = Mapping[str, Any]
"""A JSON object of a checked document."""

_GEOMETRY = Object((Field("type", Primitive("string")), Field("coordinates", Array(Primitive("double")))))


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


def kind_of(node: Node, version: int) -> str | None:
    """Name the class among the element's types."""
    for written in several(node.get("@type")):
        name = core_term(written) if isinstance(written, str) else ""
        if grammar.is_class(name, version):
            return name
    return None


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
    nodes
        Every element with an identifier, by it.
    versions
        The version of the language of each new interface, by identifier.
    known
        Interfaces parsed before.
    """

    def __init__(
        self, nodes: Mapping[str, Node], versions: Mapping[Dtmi, int], known: Mapping[Dtmi, Interface]
    ) -> None:
        self._nodes = nodes
        self._versions = versions
        self._done: dict[Dtmi, Interface] = dict(known)

    def interface(self, identifier: Dtmi) -> Interface:
        """Build an interface and all it needs."""
        if identifier in self._done:
            return self._done[identifier]
        node, version = self._nodes[identifier], self._versions[identifier]
        built = Interface(
            id=identifier,
            version=version,
            extends=tuple(self._referred(item) for item in several(node.get("extends"))),
            declared=self._named(several(node.get("contents")), version),
            texts=read_texts(node),
        )
        self._done[identifier] = built
        return built

    def _referred(self, item: str | Node) -> Interface:
        return self.interface(Dtmi(item if isinstance(item, str) else item["@id"]))

    def _named(self, items: Iterable[str | Node], version: int) -> dict[str, Content]:
        contents = (self._content(self._resolved(item), version) for item in items)
        return {content.name: content for content in contents}

    def _resolved(self, item: str | Node) -> Node:
        identifier = item if isinstance(item, str) else item["@id"] if set(item) == {"@id"} else None
        return self._nodes[identifier] if isinstance(identifier, str) else item  # type: ignore[return-value]

    def _content(self, node: Node, version: int) -> Content:
        name, texts = literal(node["name"]), read_texts(node)
        match kind_of(node, version):
            case "Property":
                return self._property(node, version)
            case "Telemetry":
                return Telemetry(name=name, schema=self._schema(node["schema"], version), texts=texts, **_measure(node))
            case "Component":
                (schema,) = several(node["schema"])
                return Component(name=name, interface=self._referred(schema), texts=texts)
            case "Relationship":
                properties = (self._resolved(item) for item in several(node.get("properties")))
                built = (self._property(item, version) for item in properties)
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
                    request=self._payload(node.get("request"), version),
                    response=self._payload(node.get("response"), version),
                    texts=texts,
                )

    def _property(self, node: Node, version: int) -> Property:
        return Property(
            name=literal(node["name"]),
            schema=self._schema(node["schema"], version),
            writable=bool(literal(node.get("writable"))),
            texts=read_texts(node),
            **_measure(node),
        )

    def _payload(self, value: object, version: int) -> CommandPayload | None:
        for item in several(value):
            node = self._resolved(item)
            return CommandPayload(name=literal(node["name"]), schema=self._schema(node["schema"], version))
        return None

    def _schema(self, value: object, version: int) -> Schema:
        (item,) = several(value)
        if isinstance(item, str):
            term = core_term(item)
            if term in grammar.PRIMITIVES:
                return Primitive(term)
            if term.rsplit(":", 1)[-1].split(";")[0] in grammar.GEOSPATIAL:
                return _GEOMETRY
        node = self._resolved(item)
        match kind_of(node, version):
            case "Array":
                return Array(self._schema(node["elementSchema"], version))
            case "Map":
                return self._map(node, version)
            case "Enum":
                values = (self._resolved(choice) for choice in several(node.get("enumValues")))
                return Enum(
                    Primitive(core_term(literal_identifier(node["valueSchema"]) or "")),
                    tuple(EnumValue(literal(item["name"]), literal(item["enumValue"])) for item in values),
                )
            case _:
                parts = (self._resolved(part) for part in several(node.get("fields")))
                return Object(
                    tuple(Field(literal(item["name"]), self._schema(item["schema"], version)) for item in parts)
                )

    def _map(self, node: Node, version: int) -> Map:
        (key,), (value,) = several(node["mapKey"]), several(node["mapValue"])
        value = self._resolved(value)
        return Map(
            literal(self._resolved(key)["name"]),
            literal(value["name"]),
            self._schema(value["schema"], version),
        )


def literal_identifier(value: object) -> str | None:
    """Read an identifier written as text or as ``{"@id": …}``."""
    for item in several(value):
        return str(item["@id"] if isinstance(item, dict) else item)
    return None


def _measure(node: Node) -> dict[str, Any]:
    """Read what a number means: semantic types and unit."""
    names = [core_term(item) for item in several(node.get("@type")) if isinstance(item, str)]
    unit = literal_identifier(node.get("unit"))
    return {
        "semantic_types": tuple(name for name in names if name not in grammar.CLASSES),
        "unit": core_term(unit) if unit else None,
    }
