"""From model documents to interfaces."""

import json
from collections.abc import Iterable, Mapping

from . import grammar
from .build import Builder
from .check import Checker
from .dtmi import Dtmi
from .errors import Breach, ParsingFailed, ResolutionFailed
from .findings import Findings
from .grammar import limit
from .model import Interface
from .structure import interface_breaches, reference_breaches, schema_breaches

_NOTHING_KNOWN: Mapping[Dtmi, Interface] = {}


def parse(
    documents: Iterable[object],
    known: Mapping[Dtmi, Interface] = _NOTHING_KNOWN,
    *,
    allow_undefined_extensions: bool | None = None,
) -> dict[Dtmi, Interface]:
    """Parse interfaces that may need each other and those already known.

    Parameters
    ----------
    documents
        One JSON object for each interface, decoded.
    known
        Interfaces parsed before, by identifier.
    allow_undefined_extensions
        Whether types of extensions that cannot be understood are let pass; None for as the language has it:
        in version 2 they are, in version 3 they are not.

    Returns
    -------
    dict
        The new interfaces by identifier, those written inside others included.

    Raises
    ------
    ParsingFailed
        When the documents break rules of the language; it names every one found.
    ResolutionFailed
        When interfaces that these extend, or have as components, are missing.
    """
    findings = Findings()
    checker = Checker(findings, undefined=allow_undefined_extensions)
    for document in documents:
        try:
            checker.document(document)
        except RecursionError:
            findings.add("excessiveDepthWide", "A document is nested too deep to be read.", "Flatten it.")
        _check_size(document, findings)
    for identifier in findings.elements:
        if identifier in known:
            findings.add("duplicateDefinition", f"{identifier} is known already.", "Choose another identifier.")
    findings.breaches += reference_breaches(findings, known)
    if findings.breaches:
        raise ParsingFailed(findings.breaches)
    _check_resolved(findings, known)
    builder = Builder(findings.elements, known)
    interfaces = {
        Dtmi(identifier): builder.interface(Dtmi(identifier))
        for identifier, element in findings.elements.items()
        if element.kind == "Interface"
    }
    breaches = [breach for item in interfaces.values() for breach in interface_breaches(item)]
    for identifier, element in findings.elements.items():
        if element.kind in grammar.COMPLEX:
            breaches += schema_breaches(identifier, builder.schema(identifier))
    if breaches:
        raise ParsingFailed(breaches)
    return interfaces


def _check_resolved(findings: Findings, known: Mapping[Dtmi, Interface]) -> None:
    missing = [
        Dtmi(reference.target)
        for reference in findings.references
        if reference.target not in findings.elements and reference.target not in known
    ]
    if missing:
        raise ResolutionFailed(list(dict.fromkeys(missing)))


def _check_size(document: object, findings: Findings) -> None:
    """Check the limits on a whole interface: elements, bytes."""
    identifier = document.get("@id") if isinstance(document, dict) else None
    element = findings.elements.get(identifier) if isinstance(identifier, str) else None
    if element is None:
        return
    most = limit(grammar.MOST_ELEMENTS, element.version)
    if most is not None and findings.counts.get(element.interface, 0) > most:
        findings.breaches.append(
            Breach("excessiveCount", f"{identifier} has more than {most} elements.", "Remove some.")
        )
    longest = limit(grammar.MOST_BYTES, element.version)
    if longest is not None and len(json.dumps(document, ensure_ascii=False).encode()) > longest:
        findings.breaches.append(
            Breach("partitionTooLarge", f"{identifier} has more than {longest} bytes.", "Make it smaller.")
        )
