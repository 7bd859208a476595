"""The language as tables: what each kind of element has, in version 2 and in version 3.

Pairs are (version 2, version 3); None is "no limit".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

type Limit = tuple[int | None, int | None]

VERSIONS = (2, 3)
CONTEXTS = {"dtmi:dtdl:context;2": 2, "dtmi:dtdl:context;3": 3}

NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?")

PRIMITIVES = ("boolean", "date", "dateTime", "double", "duration", "float", "integer", "long", "string", "time")
NUMERIC = frozenset({"double", "float", "integer", "long"})
GEOSPATIAL = ("lineString", "multiLineString", "multiPoint", "multiPolygon", "point", "polygon")
"""Standard objects: GeoJSON geometries."""
CENTRAL_OBJECTS = frozenset({"geopoint", "vector"})
"""Objects of the IoT Central extension."""

COMPLEX = frozenset({"Array", "Enum", "Map", "Object"})
CONTENTS = frozenset({"Command", "Component", "Property", "Relationship", "Telemetry"})

DEEPEST_EXTENDS = 10
DEEPEST_SCHEMA = 5
MOST_ANCESTORS: Limit = (None, 1024)
MOST_ELEMENTS: Limit = (None, 100_000)
MOST_BYTES: Limit = (None, 1_048_576)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One thing an element may say about itself.

    Attributes
    ----------
    kind
        The form of its value: text, texts by language, truth, whole number, an enum's value, an
        identifier that need not resolve, or elements.
    required, most
        How often it may be there.
    longest, low, high
        Bounds of a text's length or a number.
    named
        Whether the text has to be a programming name.
    classes
        Element classes allowed as value.
    terms
        Words of the language allowed instead of an element.
    typed
        Whether an element here has to say its ``@type``.
    identified
        Whether an element here has to have an ``@id``.
    unique
        What has to differ among the elements here.
    may_be_earlier
        Whether an element here may be written in an earlier version of the language.
    """

    kind: Literal["text", "texts", "flag", "whole", "value", "identifier", "elements"]
    required: bool = False
    most: Limit = (1, 1)
    longest: Limit = (None, None)
    low: int | None = None
    high: Limit = (None, None)
    named: bool = False
    classes: frozenset[str] = frozenset()
    terms: tuple[str, ...] = ()
    typed: bool = True
    identified: bool = False
    unique: tuple[str, ...] = ()
    may_be_earlier: bool = False


_TEXTS: Mapping[str, Slot] = {
    "comment": Slot(kind="text", longest=(512, 512)),
    "description": Slot(kind="texts", longest=(512, 512)),
    "displayName": Slot(kind="texts", longest=(64, 512)),
}
_NAME = Slot(kind="text", required=True, longest=(64, 512), named=True)
_SCHEMA = Slot(kind="elements", required=True, classes=COMPLEX, terms=PRIMITIVES + GEOSPATIAL, may_be_earlier=True)
_WRITABLE = Slot(kind="flag")


def _implied(*classes: str, required: bool = False) -> Slot:
    """Make a slot for one element whose type goes without saying."""
    return Slot(kind="elements", required=required, classes=frozenset(classes), typed=False)


CLASSES: Mapping[str, Mapping[str, Slot]] = {
    name: {**_TEXTS, **slots}
    for name, slots in {
        "Interface": {
            "contents": Slot(
                kind="elements", most=(300, None), classes=CONTENTS, unique=("name",), may_be_earlier=True
            ),
            "extends": Slot(
                kind="elements", most=(2, None), classes=frozenset({"Interface"}), identified=True, may_be_earlier=True
            ),
            "schemas": Slot(kind="elements", most=(None, None), classes=COMPLEX, identified=True),
        },
        "Property": {"name": _NAME, "schema": _SCHEMA, "writable": _WRITABLE},
        "Telemetry": {"name": _NAME, "schema": _SCHEMA},
        "Component": {
            "name": _NAME,
            "schema": Slot(
                kind="elements", required=True, classes=frozenset({"Interface"}), identified=True, may_be_earlier=True
            ),
        },
        "Relationship": {
            "name": _NAME,
            "target": Slot(kind="identifier", longest=(2048, 2048)),
            "properties": Slot(
                kind="elements",
                most=(300, None),
                classes=frozenset({"Property"}),
                unique=("name",),
                may_be_earlier=True,
            ),
            "minMultiplicity": Slot(kind="whole", low=0, high=(0, 0)),
            "maxMultiplicity": Slot(kind="whole", low=1, high=(500, None)),
            "writable": _WRITABLE,
        },
        "Command": {
            "name": _NAME,
            "commandType": Slot(kind="elements", terms=("asynchronous", "synchronous")),
            "request": _implied("CommandPayload", "CommandRequest"),
            "response": _implied("CommandPayload", "CommandResponse"),
        },
        "CommandPayload": {"name": _NAME, "schema": _SCHEMA},
        "CommandRequest": {"name": _NAME, "schema": _SCHEMA},
        "CommandResponse": {"name": _NAME, "schema": _SCHEMA},
        "Array": {"elementSchema": _SCHEMA},
        "Enum": {
            "valueSchema": Slot(kind="elements", required=True, terms=("integer", "string")),
            "enumValues": Slot(
                kind="elements",
                required=True,
                most=(100, None),
                classes=frozenset({"EnumValue"}),
                typed=False,
                unique=("name", "enumValue"),
            ),
        },
        "EnumValue": {"name": _NAME, "enumValue": Slot(kind="value", required=True)},
        "Map": {"mapKey": _implied("MapKey", required=True), "mapValue": _implied("MapValue", required=True)},
        "MapKey": {"name": _NAME, "schema": Slot(kind="elements", required=True, terms=("string",))},
        "MapValue": {"name": _NAME, "schema": _SCHEMA},
        "Object": {
            "fields": Slot(
                kind="elements",
                required=True,
                most=(30, None),
                classes=frozenset({"Field"}),
                typed=False,
                unique=("name",),
            )
        },
        "Field": {"name": _NAME, "schema": _SCHEMA},
    }.items()
}

_NOT_IN: Mapping[int, frozenset[str]] = {
    2: frozenset({"CommandRequest", "CommandResponse"}),
    3: frozenset({"CommandPayload"}),
}
_OPTIONAL_IN_3 = frozenset({("Enum", "enumValues"), ("Object", "fields")})
ABSTRACT = frozenset(
    {"Content", "ComplexSchema", "Entity", "NamedEntity", "NumericSchema", "PrimitiveSchema", "Schema", "SchemaField"}
)
"""Classes that no element can be of alone."""


_WORDS = frozenset(
    {*CLASSES, *ABSTRACT, *PRIMITIVES, *GEOSPATIAL, *(name for slots in CLASSES.values() for name in slots)}
)


def is_word(text: str) -> bool:
    """Whether the text is a word of the core language."""
    return text in _WORDS


def is_class(name: str, version: int) -> bool:
    """Whether the language has that kind of element."""
    return name in CLASSES and name not in _NOT_IN[version]


def classes(slot: Slot, version: int) -> frozenset[str]:
    """Give the classes that the slot takes in that version."""
    return slot.classes - _NOT_IN[version]


def is_required(owner: str, name: str, slot: Slot, version: int) -> bool:
    """Whether that version wants the slot filled."""
    return slot.required and not (version > 2 and (owner, name) in _OPTIONAL_IN_3)


def limit(pair: Limit, version: int) -> int | None:
    """Pick the limit of that version."""
    return pair[version - 2]
