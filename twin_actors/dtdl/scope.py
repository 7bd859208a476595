"""The contexts in force: which version of the language, which extensions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .dtmi import is_dtmi
from .findings import Findings

_DTDL = re.compile(r"dtmi:dtdl:context(?:;([0-9.]+))?")
_VERSIONED = re.compile(r"dtmi:[^;#]+;[0-9]+(?:\.[0-9]+)?")
_VERSIONS = {"2": 2, "3": 3}
_TOLERANT = {"dtmi:iotcentral:context;2": "dtmi:dtdl:context;2"}
"""Extensions that may stand before the context of the language."""
_EXTENSIONS: Mapping[int, Mapping[str, tuple[int, ...]]] = {
    2: {"dtmi:iotcentral:context": (2,)},
    3: {
        "dtmi:dtdl:extension:quantitativeTypes": (1,),
        "dtmi:dtdl:extension:annotation": (1, 2),
        "dtmi:dtdl:extension:historization": (1, 2),
        "dtmi:dtdl:extension:mqtt": (1, 2, 3, 4),
        "dtmi:dtdl:extension:overriding": (1, 2),
        "dtmi:dtdl:extension:requirement": (1, 2),
    },
}
"""The extensions that can be understood, by version of the language."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What the words of an element mean.

    Attributes
    ----------
    version
        The version of the language.
    extensions
        The version in force of each extension, by name.
    is_open
        Whether words of extensions that cannot be understood are let pass.
    is_lenient
        Whether words of the language in the wrong place are let pass as well.
    """

    version: int
    extensions: Mapping[str, int]
    is_open: bool
    is_lenient: bool = False


def outermost(value: object, findings: Findings, *, undefined: bool | None) -> Scope | None:
    """Read the contexts of a document.

    Parameters
    ----------
    value
        The document's ``@context``, None if it has none.
    findings
        Where broken rules are noted.
    undefined
        Whether extensions that cannot be understood are let pass, None for as each version has it.
    """
    if value is None:
        findings.add(
            "missingContext",
            "Top-level JSON object has no @context specifier.",
            "Add a '@context' property whose value is a valid DTDL context specifier, such as 'dtmi:dtdl:context;2'.",
        )
        return None
    items = _language_first(value)
    if not items:
        findings.add("emptyContext", "The @context specifier has no value.", "Add a DTDL context specifier.")
        return None
    first, *rest = items
    while rest and isinstance(rest[0], str) and _DTDL.fullmatch(rest[0]):
        first, *rest = rest
    match = _DTDL.fullmatch(first) if isinstance(first, str) else None
    if match is None:
        findings.add(
            "missingDtdlContext",
            f"@context specifier has value '{first}' first, which is not a DTDL context specifier.",
            "Put a valid DTDL context specifier, such as 'dtmi:dtdl:context;2', before any other.",
        )
        return None
    version = _VERSIONS.get(match[1] or "")
    if version is None:
        findings.add(
            "unrecognizedContextVersion",
            f"@context specifier has value '{first}', which specifies a DTDL version that is not recognized.",
            "Modify @context specifier to indicate one of the following DTDL versions: 2, 3.",
        )
        return None
    is_open = version == 2 if undefined is None else undefined
    return _extended(Scope(version, {}, is_open, bool(undefined)), rest, findings)


def inner(scope: Scope, value: object, findings: Findings, *, may_be_earlier: bool) -> Scope | None:
    """Read the contexts that an element inside a document adds, None if they make no sense."""
    items = _language_first(value)
    if items and isinstance(items[0], str) and (match := _DTDL.fullmatch(items[0])):
        version = _VERSIONS.get(match[1] or "")
        if version is None or version > scope.version or (version != scope.version and not may_be_earlier):
            findings.add(
                "disallowedVersionDefinition",
                f"@context specifier '{items[0]}' inside an element of DTDL version {scope.version} is not allowed.",
                "Remove the @context specifier, or define the element at top level.",
            )
            return None
        if version != scope.version:
            scope = Scope(version, {}, scope.is_open, scope.is_lenient)
        items = items[1:]
    return _extended(scope, items, findings)


def _language_first(value: object) -> Sequence[object]:
    """List contexts, the language's own first where the one before it allows that."""
    items = value if isinstance(value, list) else [value]
    for item in items[:1]:
        if isinstance(item, str) and _TOLERANT.get(item) in items:
            return [_TOLERANT[item], *(other for other in items if other != _TOLERANT[item])]
    return items


def _extended(scope: Scope, items: Sequence[object], findings: Findings) -> Scope | None:
    extensions = dict(scope.extensions)
    for item in items:
        if not _add_extension(item, scope, extensions, findings):
            return None
    return Scope(scope.version, extensions, scope.is_open, scope.is_lenient)


def _add_extension(item: object, scope: Scope, extensions: dict[str, int], findings: Findings) -> bool:
    """Add one extension to those in force, unless it makes no sense."""
    if isinstance(item, dict):
        findings.add(
            "disallowedLocalContext",
            "@context specifier contains a local context, which is not allowed.",
            "Remove the JSON object from the @context specifier.",
        )
    elif not isinstance(item, str) or not is_dtmi(item) or "#" in item:
        findings.add(
            "invalidContextSpecifier",
            f"@context specifier has value '{item}', which is not a valid context specifier.",
            "Replace the value with a DTMI that identifies a context -- see aka.ms/dtmi.",
        )
    elif _DTDL.fullmatch(item):
        findings.add(
            "dtdlContextFollowsAffiliate",
            f"@context specifier has DTDL context '{item}' after another context.",
            "Move the DTDL context specifier to the beginning.",
        )
    elif not _VERSIONED.fullmatch(item):
        findings.add(
            "missingContextVersion",
            f"@context specifier has value '{item}', which has no version.",
            "Add a version to the context specifier.",
        )
    else:
        return _add_affiliate(item, scope, extensions, findings)
    return False


def _is_understood(name: str, text: str) -> bool:
    return any(text.isdecimal() and int(text) in known.get(name, ()) for known in _EXTENSIONS.values())


def _add_affiliate(item: str, scope: Scope, extensions: dict[str, int], findings: Findings) -> bool:
    name, _, text = item.partition(";")
    understood = _EXTENSIONS[scope.version].get(name)
    if understood and text.isdecimal() and int(text) in understood:
        extensions[name] = int(text)
        return True
    if "." in text and scope.version == 2:
        findings.add(
            "invalidContextSpecifierForVersion",
            f"@context specifier has value '{item}', which is not valid in DTDL version 2.",
            "Remove the minor version from the context specifier.",
        )
        return False
    is_ours = understood is not None or name in _EXTENSIONS[5 - scope.version]
    if _is_understood(name, text):
        extensions[name] = int(text)
        return True
    if not scope.is_open:
        findings.add(
            "unresolvableContextVersion" if is_ours else "unresolvableContextSpecifier",
            f"@context specifier has value '{item}', which cannot be resolved.",
            "Correct the context specifier, or remove it.",
        )
        return False
    extensions.setdefault(name, 0)
    return True
