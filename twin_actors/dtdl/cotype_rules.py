"""The rules for types beside an element's class."""

from collections.abc import Iterable

from . import grammar
from .cotypes import Cotype, find_cotype, is_abstract_cotype
from .dtmi import core_term, is_dtmi
from .findings import Findings, Node, label
from .scope import Scope


def read_cotypes(
    findings: Findings, raw: Node, kind: str, kinds: Iterable[str], inside: Scope
) -> tuple[list[Cotype], bool]:
    """Find the types beside the class, and whether any cannot be understood and is let pass."""
    found: list[Cotype] = []
    is_open = False
    for name in dict.fromkeys(item.rsplit(":", 1)[-1].partition(";")[0] for item in kinds):
        if name == kind:
            continue
        cotype = find_cotype(name, inside)
        if cotype is None:
            is_open |= _unknown(findings, raw, name, inside)
        elif cotype.version != inside.version:
            findings.add(
                "invalidCotypeVersion",
                f"{label(raw, kind)} has @type with value {name} that can only be applied to elements "
                f"defined in DTDL version {cotype.version}.",
                f"Remove @type {name} from element.",
            )
        elif kind not in cotype.classes:
            findings.add(
                "invalidCotype",
                f"{label(raw, kind)} has @type with value {name} that can only be applied to elements of "
                f"@type {' or '.join(sorted(cotype.classes))}.",
                f"Remove @type {name} from element.",
            )
        else:
            found.append(cotype)
    return found, is_open


def _unknown(findings: Findings, raw: Node, name: str, inside: Scope) -> bool:
    version = inside.version
    is_ours = grammar.is_word(name) or is_abstract_cotype(name)
    if inside.is_lenient or (not is_ours and (inside.is_open or version == 2)):
        return True
    findings.add(
        "typeIrrelevantDtmiOrTerm" if is_ours else "typeUndefinedTerm",
        f"{label(raw)} has @type that specifies type {name} that is an undefined term in DTDL v{version}.",
        f"Remove @type {name} or replace with an appropriate DTDL v{version} type -- see aka.ms/dtdl.",
    )
    return False


def check_cotypes(findings: Findings, node: Node, kind: str, cotypes: list[Cotype]) -> None:
    """Check what the types beside an element's class ask of it."""
    names = {cotype.name for cotype in cotypes}
    named = label(node, kind)
    for cotype in cotypes:
        for needed in cotype.needs:
            if needed not in node:
                findings.add(
                    "missingSupplementalProperty",
                    f"{named} has @type {cotype.name} that requires property '{needed}'; however, this "
                    "property is not present.",
                    f"Add a property '{needed}' to the element, or remove @type {cotype.name}.",
                )
        if cotype.partner and cotype.partner not in names:
            findings.add(
                "missingCocotype",
                f"{named} has @type {cotype.name} that requires @type {cotype.partner} too.",
                f"Add @type {cotype.partner}.",
            )
        _check_schema(findings, node, named, cotype)
        _check_unit(findings, node, named, cotype)
    if sum(bool(cotype.units) for cotype in cotypes) > 1:
        findings.add(
            "conflictingSupplementalTypes",
            f"{named} has more than one semantic type: {', '.join(sorted(names))}.",
            "Keep one of them.",
        )


def _check_schema(findings: Findings, node: Node, named: str, cotype: Cotype) -> None:
    """Check that the element's schema is one that the type goes with."""
    for schema in node.get("schema", ()) if cotype.schemas else ():
        found = schema["@type"][0] if isinstance(schema, dict) else schema
        if found not in cotype.schemas and not is_dtmi(found):
            findings.add(
                "notRequiredType",
                f"{named} has @type {cotype.name} that requires a schema of: {', '.join(sorted(cotype.schemas))}.",
                f"Change the schema, or remove @type {cotype.name}.",
            )


def _check_unit(findings: Findings, node: Node, named: str, cotype: Cotype) -> None:
    if not cotype.units or "unit" not in node:
        return
    unit = node["unit"]
    if isinstance(unit, list) and len(unit) == 1:
        unit = unit[0]
    short = core_term(unit).rsplit(":", 1)[-1].partition(";")[0] if isinstance(unit, str) else ""
    if short in cotype.units:
        node["unit"] = short
    else:
        findings.add(
            "wrongParent",
            f"{named} property 'unit' has value '{unit}', which is no unit of {cotype.name}.",
            f"Replace it with one of: {', '.join(sorted(cotype.units))}.",
        )
