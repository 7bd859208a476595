"""The rules that need more than one element: inheritance, components, nesting of schemas."""

from collections.abc import Iterator, Mapping

from . import grammar
from .dtmi import Dtmi
from .errors import Breach
from .findings import Element, Findings
from .grammar import limit
from .model import Array, Command, Component, Content, Interface, Map, Object, Property, Relationship, Schema, Telemetry


def reference_breaches(findings: Findings, known: Mapping[Dtmi, Interface]) -> Iterator[Breach]:
    """Find references to elements of the wrong class, version or interface."""
    for reference in findings.references:
        target = findings.elements.get(reference.target)
        base = known.get(Dtmi(reference.target))
        if target is None and base is None:
            continue
        kind = target.kind if target else "Interface"
        if kind not in reference.classes:
            wanted = " or ".join(sorted(reference.classes))
            yield Breach(
                "badType",
                f"{reference.owner} has value {reference.target} that does not have @type of {wanted}.",
                f"Refer to an element with @type of {wanted}.",
            )
        elif (target.version if target else base.version if base else 0) > reference.version:
            yield Breach(
                "disallowedVersionReference",
                f"{reference.owner} has value {reference.target}, which is defined in a later version of DTDL.",
                f"Refer to an element of DTDL version {reference.version} or earlier.",
            )
        elif _is_elsewhere(target, reference.interface):
            yield Breach(
                "crossPartitionReference",
                f"{reference.owner} refers to {reference.target}, which is part of another interface.",
                "Refer to an element of the same interface.",
            )


def _is_elsewhere(target: Element | None, interface: str) -> bool:
    return target is not None and target.kind != "Interface" and target.interface != interface


def interface_breaches(interface: Interface) -> Iterator[Breach]:
    """Find what is wrong with an interface as a whole."""
    depth = _extends_depth(interface)
    if depth > grammar.DEEPEST_EXTENDS:
        yield Breach(
            "excessiveDepthNarrow",
            f"{interface.id} is at the root of a chain of extends properties that exceeds "
            f"{grammar.DEEPEST_EXTENDS} levels.",
            "Change the value of one or more extends properties in the hierarchy to reduce the nesting depth.",
        )
    most = limit(grammar.MOST_ANCESTORS, interface.version)
    if most is not None and len(interface.ancestors) > most:
        yield Breach(
            "excessiveCount",
            f"{interface.id} extends {len(interface.ancestors)} interfaces, no more than {most} are allowed.",
            "Remove extends properties in the hierarchy.",
        )
    yield from _imported_names(interface)
    for content in interface.declared.values():
        yield from _content_breaches(interface, content)


def _content_breaches(interface: Interface, content: Content) -> Iterator[Breach]:
    match content:
        case Component():
            yield from _component_breaches(interface, content)
        case Property():
            yield from _property_breaches(interface, content)
        case Telemetry():
            yield from schema_breaches(interface.id, content.schema)
        case Relationship():
            for item in content.properties.values():
                yield from _property_breaches(interface, item)
        case Command():
            for payload in (content.request, content.response):
                if payload is not None:
                    yield from schema_breaches(interface.id, payload.schema)


def _extends_depth(interface: Interface) -> int:
    level, depth = list(interface.extends), 0
    while level and depth <= grammar.DEEPEST_EXTENDS:
        depth += 1
        level = [base for parent in level for base in parent.extends]
    return depth


def _imported_names(interface: Interface) -> Iterator[Breach]:
    """Find names that two interfaces of the hierarchy give to different contents."""
    owners: dict[str, Interface] = {}
    for owner in (interface, *interface.ancestors):
        for name in owner.declared:
            other = owners.setdefault(name, owner)
            if other is not owner:
                yield Breach(
                    "nonUniqueImportedPropertyValue",
                    f"{interface.id}, because it transitively extends {owner.id}, has property 'contents' that "
                    f"contains more than one element for which property 'name' has value '{name}'.",
                    "Either change the value of property 'name' to a value that is unique across all values of "
                    "'contents', or remove one or more extends properties so that 'contents' will not be "
                    "imported.",
                )


def _component_breaches(interface: Interface, component: Component) -> Iterator[Breach]:
    if component.interface.components:
        yield Breach(
            "excludedType",
            f"{interface.id} contains Component '{component.name}' whose schema {component.interface.id} has "
            "components itself, which is not allowed.",
            "Remove all Components from the schema of the Component.",
        )


def _property_breaches(interface: Interface, item: Property) -> Iterator[Breach]:
    yield from schema_breaches(interface.id, item.schema)
    if interface.version == 2 and _has_array(item.schema):
        yield Breach(
            "excludedType",
            f"{interface.id} contains Property '{item.name}' with an Array, which is not allowed in schema "
            "properties under elements of type Property.",
            "Remove all elements of type Array from schema properties under the Property element.",
        )


def _parts(schema: Schema) -> tuple[Schema, ...]:
    match schema:
        case Array(element):
            return (element,)
        case Map(value=value):
            return (value,)
        case Object(fields):
            return tuple(part.schema for part in fields)
        case _:
            return ()


def _has_array(schema: Schema) -> bool:
    return isinstance(schema, Array) or any(_has_array(part) for part in _parts(schema))


def _schema_depth(schema: Schema) -> int:
    parts = _parts(schema)
    return 1 + max((_schema_depth(part) for part in parts), default=0) if parts else 0


def schema_breaches(owner: str, schema: Schema) -> Iterator[Breach]:
    """Find schemas nested too deep."""
    if _schema_depth(schema) > grammar.DEEPEST_SCHEMA:
        yield Breach(
            "excessiveDepthWide",
            f"{owner} is at the root of a hierarchy of schema properties that exceeds {grammar.DEEPEST_SCHEMA} levels.",
            "Change the value of one or more schema properties in the hierarchy to reduce the nesting depth.",
        )
