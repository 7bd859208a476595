"""The rules that a document can break by itself, found by walking it beside the tables of ``grammar``."""

import re

from . import grammar, scope
from .cotype_rules import check_cotypes, read_cotypes
from .cotypes import Cotype, schema_terms
from .dtmi import (
    LONGEST_IDENTIFIER,
    LONGEST_INTERFACE_IDENTIFIER,
    RESERVED_PREFIXES,
    core_term,
    is_dtmi,
    is_user_dtmi,
)
from .findings import Element, Findings, Node, Reference, label
from .grammar import Slot, limit
from .literals import literal_breaches
from .scope import Scope

_TERM = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TOP = Slot(kind="elements", classes=frozenset({"Interface"}), identified=True)
_KEYWORDS = frozenset({"@id", "@type", "@context"})


class Checker:
    """Walks documents and notes what it finds.

    Parameters
    ----------
    findings
        Where it is noted.
    undefined
        Whether extensions that cannot be understood are let pass, None for as each version has it.
    """

    def __init__(self, findings: Findings, *, undefined: bool | None) -> None:
        self._findings = findings
        self._undefined = undefined

    def document(self, document: object) -> None:
        """Check a whole document."""
        if not isinstance(document, dict):
            self._findings.add(
                "notJsonObject",
                "Top-level JSON element is neither a JSON object nor a JSON array of JSON objects.",
                "Update your model to follow the examples in aka.ms/dtdl.",
            )
            return
        outer = scope.outermost(document.get("@context"), self._findings, undefined=self._undefined)
        if outer is None:
            return
        if "@graph" in document:
            self._findings.add("topLevelGraphDisallowed", "Top-level JSON object has '@graph'.", "Remove it.")
        elif document.get("@id") is None:
            self._findings.add(
                "missingTopLevelId",
                "Top-level element has no '@id' property.",
                "Add an '@id' property whose value is a string that conforms to the DTMI syntax -- see aka.ms/dtmi.",
            )
        else:
            self._element({**document, "@context": []}, _TOP, "", "", outer)

    def _element(self, raw: Node, slot: Slot, owner: str, interface: str, outer: Scope) -> Node | None:
        """Check one element and give it with its words shortened, None when it is beyond use."""
        inside: Scope | None = outer
        if raw.get("@context"):
            inside = scope.inner(outer, raw["@context"], self._findings, may_be_earlier=slot.may_be_earlier)
        if inside is None:
            return None
        kinds = self._types(raw, inside)
        kind = self._kind(raw, kinds, slot, owner, inside)
        if kind is None or not self._identifier_is_sound(raw, kind, slot, inside):
            return None
        identifier = raw.get("@id")
        home = str(identifier) if kind == "Interface" else interface
        cotypes, is_open = read_cotypes(self._findings, raw, kind, kinds, inside)
        node: Node = {"@type": [kind, *(cotype.name for cotype in cotypes)]}
        if identifier is not None:
            node["@id"] = identifier
        self._findings.count(home)
        self._fill(node, raw, kind, home, inside, cotypes, is_open=is_open)
        check_cotypes(self._findings, node, kind, cotypes)
        if kind == "Enum":
            self._check_enum(node)
        if identifier is not None:
            self._findings.define(identifier, Element(kind, node, inside.version, home))
        return node

    def _types(self, raw: Node, inside: Scope) -> list[str]:
        written = raw.get("@type")
        items = written if isinstance(written, list) else [] if written is None else [written]
        for item in items:
            if not isinstance(item, str):
                self._findings.add("typeNotString", f"{label(raw)} has a @type that is not a string.", "Correct it.")
            elif item.startswith("dtmi:") and not is_dtmi(item):
                self._findings.add(
                    "typeInvalidDtmi",
                    f"{label(raw)} has @type that specifies type {item} that is an invalid DTMI.",
                    "Remove it or replace it with a type of DTDL -- see aka.ms/dtdl.",
                )
            elif inside.version > 2 and not item.startswith("dtmi:") and not _TERM.fullmatch(item):
                self._findings.add(
                    "typeNotDtmiNorTerm",
                    f"{label(raw)} has @type that specifies type {item} that is neither a DTMI nor a term.",
                    "Remove it or replace it with a type of DTDL -- see aka.ms/dtdl.",
                )
        return [core_term(item) for item in items if isinstance(item, str)]

    def _kind(self, raw: Node, kinds: list[str], slot: Slot, owner: str, inside: Scope) -> str | None:
        """Tell the class of an element, by its ``@type`` or by where it stands."""
        allowed = grammar.classes(slot, inside.version)
        named = list(dict.fromkeys(kind for kind in kinds if grammar.is_class(kind, inside.version)))
        if len(named) > 1:
            self._findings.add(
                "multipleMaterialTypes",
                f"{label(raw)} has @type with more than one of: {', '.join(named)}.",
                "Keep one of them.",
            )
            return None
        if not named and not slot.typed and "@type" not in raw:
            return next(iter(allowed))
        if named and named[0] in allowed:
            return named[0]
        wanted = " or ".join(sorted(allowed))
        if owner:
            self._findings.add(
                "badType",
                f"{owner} has a value {label(raw)} that does not have @type of {wanted}.",
                f"Provide a @type of {wanted}.",
            )
        else:
            self._findings.add(
                "typeNotRootable",
                f"Top-level JSON element {label(raw)} does not have @type of Interface.",
                "Provide a '@type' value in the set of allowable types.",
            )
        return None

    def _identifier_is_sound(self, raw: Node, kind: str, slot: Slot, inside: Scope) -> bool:
        if "@id" not in raw:
            if slot.identified:
                self._findings.add(
                    "missingRequiredId",
                    f"{label(raw, kind)} requires an identifier but none is provided.",
                    "Add an '@id' property whose value conforms to the DTMI syntax -- see aka.ms/dtmi.",
                )
            return not slot.identified
        identifier = raw["@id"]
        if not isinstance(identifier, str) or not identifier:
            self._findings.add("idNotString", f"{label(raw, kind)} has an '@id' that is no string.", "Correct it.")
        elif not is_user_dtmi(identifier, inside.version) and not identifier.startswith(RESERVED_PREFIXES):
            version = inside.version
            self._findings.add(
                "invalidId",
                f"Identifier '{identifier}' is invalid for DTDL version {version}.",
                "Replace the identifier with a string that conforms to the DTMI syntax for DTDL version "
                f"{version} -- see aka.ms/dtmi.",
            )
        elif identifier.startswith((*RESERVED_PREFIXES, *_reserved_by(inside))):
            self._findings.add(
                "reservedId",
                f"Identifier '{identifier}' begins with a reserved prefix.",
                "Modify the identifier so that it does not begin with any of these reserved prefixes: "
                f"{', '.join(RESERVED_PREFIXES)}",
            )
        else:
            most = LONGEST_INTERFACE_IDENTIFIER if kind == "Interface" else LONGEST_IDENTIFIER
            if len(identifier) <= most:
                return True
            self._findings.add(
                "idTooLongForType",
                f"Identifier '{identifier}' is too long for an element with @type {kind} -- length limit for "
                f"this type is {most} characters.",
                f"Select a shorter value for the identifier or trim current value to no more than {most} characters.",
            )
        return False

    def _fill(
        self,
        node: Node,
        raw: Node,
        kind: str,
        home: str,
        inside: Scope,
        cotypes: list[Cotype],
        *,
        is_open: bool,
    ) -> None:
        """Check what the element says about itself and note it in ``node``."""
        slots = grammar.CLASSES[kind]
        added = {name for cotype in cotypes for name in cotype.properties}
        named = label(raw, kind)
        for key, value in raw.items():
            term = core_term(key)
            if key.startswith("@"):
                self._check_keyword(key, named, inside)
            elif value is None and (term in slots or term in added):
                self._findings.add(
                    "propertyValueNull", f"{named} property '{key}' has null value.", f"Remove property '{key}'."
                )
            elif term in node:
                self._findings.add(
                    "duplicatePropertyName", f"{named} has property '{term}' twice.", "Remove one of them."
                )
            elif term in slots:
                node[term] = self._slot_value(slots[term], term, value, named, home, inside)
            elif term in added:
                node[term] = value
            elif not is_open or not self._may_pass(key, inside):
                self._findings.add(
                    "noTypeThatAllows",
                    f"{named} does not have a @type that allows property '{key}'.",
                    f"Remove property '{key}' or correct if misspelled.",
                )
        for name, slot in slots.items():
            if name not in node and grammar.is_required(kind, name, slot, inside.version):
                rule = "missingObjectProperty" if slot.kind == "elements" else "missingLiteralProperty"
                self._findings.add(
                    rule,
                    f"{named} requires property '{name}'; however, this property is not present.",
                    f"Add a property '{name}' to the element.",
                )

    def _check_keyword(self, key: str, named: str, inside: Scope) -> None:
        if key not in _KEYWORDS and (inside.version > 2 or key == "@graph"):
            self._findings.add("keywordDisallowed", f"{named} has keyword '{key}'.", f"Remove property '{key}'.")

    @staticmethod
    def _may_pass(key: str, inside: Scope) -> bool:
        """Whether a property of an extension that cannot be understood is let pass."""
        return inside.version == 2 or is_dtmi(key) or _TERM.fullmatch(key) is not None

    def _slot_value(self, slot: Slot, name: str, value: object, owner: str, home: str, inside: Scope) -> object:
        """Check a slot's value and give it with its elements checked."""
        if slot.kind != "elements":
            self._findings.breaches += literal_breaches(slot, name, value, owner, inside.version)
            return value
        items = value if isinstance(value, list) else [value]
        kept = [found for item in items if (found := self._item(slot, name, item, owner, home, inside)) is not None]
        most = limit(slot.most, inside.version)
        if most is not None and len(items) > most:
            self._findings.add(
                "objectMultipleValues" if most == 1 else "objectCountAboveMax",
                f"{owner} property '{name}' has {len(items)} values but no more than {most} are allowed.",
                f"Remove one or more '{name}' property values from the object until the maximum count is not exceeded.",
            )
        if slot.required and not kept and not (inside.version > 2 and name in {"fields", "enumValues"}):
            self._findings.add(
                "objectCountBelowMin",
                f"{owner} property '{name}' has 0 valid values but 1 value is required.",
                f"Provide at least 1 value for '{name}', each of which is an element definition, a DTMI "
                "reference, or DTDL term.",
            )
        self._check_unique(slot, name, kept, owner)
        return kept

    def _item(  # noqa: PLR0911 -- each form that an item may have has its own answer
        self, slot: Slot, name: str, item: object, owner: str, home: str, inside: Scope
    ) -> str | Node | None:
        """Check one element of a slot: a word, a reference, or the element itself."""
        allowed = grammar.classes(slot, inside.version)
        place = f"{owner} property '{name}'"
        if isinstance(item, dict):
            if set(item) <= {"@id"}:
                self._findings.add(
                    "idReference",
                    f"{place} has an object that only has '@id'.",
                    "Replace the object with the identifier, or complete it.",
                )
                return None
            if not allowed:
                self._findings.add("refObjectNotAllowed", f"{place} has an object.", "Replace it with a DTDL term.")
                return None
            return self._element(item, slot, place, home, inside)
        if not isinstance(item, str):
            self._findings.add(
                "refNotStringOrObject", f"{place} has a value that is neither a string nor an object.", "Correct it."
            )
            return None
        term = _standard_term(item, inside)
        if term in slot.terms or (allowed >= grammar.COMPLEX and term in schema_terms(inside)):
            return term
        if allowed and is_user_dtmi(item, inside.version) and not item.startswith(RESERVED_PREFIXES):
            self._findings.references.append(Reference(item, place, name, allowed, home, inside.version))
            return item
        self._findings.add(
            "badDtmiOrTerm",
            f"{place} has value '{item}' that is neither a valid DTMI reference nor a DTDL v{inside.version} term.",
            "Replace it with a valid DTMI or a term of DTDL -- see aka.ms/dtmi.",
        )
        return None

    def _check_unique(self, slot: Slot, name: str, items: list[str | Node], owner: str) -> None:
        for part in slot.unique:
            seen: set[str] = set()
            for item in items:
                value = repr(_bare(item.get(part))) if isinstance(item, dict) and part in item else None
                if value is not None and value in seen:
                    self._findings.add(
                        "nonUniquePropertyValue",
                        f"{owner} property '{name}' contains more than one element whose property '{part}' has "
                        f"value {value}.",
                        f"Change the value of property '{part}' to a value that is unique across all values of "
                        f"'{name}'.",
                    )
                seen.add(value or "")
        listed = [item for item in items if isinstance(item, str)]
        if len(set(listed)) < len(listed):
            self._findings.add("duplicateReference", f"{owner} property '{name}' repeats a reference.", "Remove it.")

    def _check_enum(self, node: Node) -> None:
        """Check that an enum's values are of its value schema."""
        wanted: type = str if node.get("valueSchema") == ["string"] else int
        for choice in node.get("enumValues", ()):
            if isinstance(choice, dict) and "enumValue" in choice:
                value = _bare(choice["enumValue"])
                if isinstance(value, bool) or not isinstance(value, wanted):
                    self._findings.add(
                        "nonConformantDatatype",
                        f"{label(node, 'Enum')} has value {value!r}, which is not of its valueSchema.",
                        "Change the value or the valueSchema.",
                    )


def _bare(value: object) -> object:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value.get("@value") if isinstance(value, dict) else value


def _standard_term(item: str, inside: Scope) -> str:
    """Shorten an identifier of the language's own elements to its term."""
    prefixes = ("dtmi:standard:schema:geospatial:", "dtmi:iotcentral:schema:")
    for prefix in prefixes:
        if item.startswith(prefix) and item.endswith(f";{inside.version}"):
            return item.removeprefix(prefix).partition(";")[0]
    return core_term(item)


def _reserved_by(inside: Scope) -> tuple[str, ...]:
    return ("dtmi:iotcentral:",) if "dtmi:iotcentral:context" in inside.extensions else ()
