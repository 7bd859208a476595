"""Digital Twins Definition Language, versions 2 and 3: parser, object model, validation of values.

>>> models = parse([{"@context": "dtmi:dtdl:context;2", "@id": "dtmi:example:Pump;1", "@type": "Interface",
...     "contents": [{"@type": "Property", "name": "speed", "schema": "double"}]}])
>>> speed = models[to_dtmi("dtmi:example:Pump;1")].properties["speed"]
>>> validate_value(speed.schema, "fast")
Mismatch(path=(), expected='double')
"""

from .dtmi import Dtmi, is_dtmi, is_user_dtmi, to_dtmi
from .errors import Breach, DtdlError, ParsingFailed, ResolutionFailed
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
from .parse import parse
from .values import Mismatch, validate_value

__all__ = [
    "Array",
    "Breach",
    "Command",
    "CommandPayload",
    "Component",
    "Content",
    "DtdlError",
    "Dtmi",
    "Enum",
    "EnumValue",
    "Field",
    "Interface",
    "Map",
    "Mismatch",
    "Object",
    "ParsingFailed",
    "Primitive",
    "Property",
    "Relationship",
    "ResolutionFailed",
    "Schema",
    "Telemetry",
    "Texts",
    "is_dtmi",
    "is_user_dtmi",
    "parse",
    "to_dtmi",
    "validate_value",
]
