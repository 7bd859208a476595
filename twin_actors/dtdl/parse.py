"""Parse model documents."""

from collections.abc import Iterable, Mapping
from typing import Any

from . import grammar
from .build import Builder, kind_of, several
from .dtmi import Dtmi, is_user_dtmi
from .errors import Breach, ParsingFailed, ResolutionFailed
from .model import Interface

_NOTHING_KNOWN: Mapping[Dtmi, Interface] = {}


def parse(
    documents: Iterable[Mapping[str, Any]], known: Mapping[Dtmi, Interface] = _NOTHING_KNOWN
) -> dict[Dtmi, Interface]:
    """Parse interfaces that may need each other and those already known."""
    nodes: dict[str, Mapping[str, Any]] = {}
    versions: dict[Dtmi, int] = {}
    for document in documents:
        version = next(
            (grammar.CONTEXTS[item] for item in several(document.get("@context")) if item in grammar.CONTEXTS),
            None,
        )
        if version is None:
            raise ParsingFailed(
                [
                    Breach(
                        "missingContext",
                        "Top-level JSON object has no @context specifier.",
                        "Add a '@context' property whose value is a valid DTDL context specifier, "
                        "such as 'dtmi:dtdl:context;2'.",
                    )
                ]
            )
        identifier = document.get("@id")
        if not isinstance(identifier, str):
            raise ParsingFailed(
                [
                    Breach(
                        "missingTopLevelId",
                        "Top-level element has no '@id' property.",
                        "Add an '@id' property whose value is a string that conforms to the DTMI syntax "
                        "-- see aka.ms/dtmi.",
                    )
                ]
            )
        if not is_user_dtmi(identifier, version):
            raise ParsingFailed(
                [
                    Breach(
                        "invalidId",
                        f"Identifier '{identifier}' is invalid for DTDL version {version}.",
                        "Replace the identifier with a string that conforms to the DTMI syntax for DTDL "
                        f"version {version} -- see aka.ms/dtmi.",
                    )
                ]
            )
        nodes[identifier] = document
        versions[Dtmi(identifier)] = version
        for schema in several(document.get("schemas")):
            nodes[schema["@id"]] = schema
    needed = [
        Dtmi(need)
        for document in nodes.values()
        for need in _needs(document)
        if need not in nodes and need not in known
    ]
    if needed:
        raise ResolutionFailed(list(dict.fromkeys(needed)))
    builder = Builder(nodes, versions, known)
    return {identifier: builder.interface(identifier) for identifier in versions}


def _needs(document: Mapping[str, Any]) -> Iterable[str]:
    yield from several(document.get("extends"))
    for item in several(document.get("contents")):
        if kind_of(item, 3) == "Component":
            yield item["schema"]
