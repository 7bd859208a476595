"""What elements may be beside their class: semantic types, and types that extensions add."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .grammar import CENTRAL_OBJECTS
from .quantities import UNIT_FAMILY, UNITS
from .scope import Scope

_QUANTITIES = "dtmi:dtdl:extension:quantitativeTypes"
_MEASURED = {
    2: frozenset({"Property", "Telemetry"}),
    3: frozenset({"Property", "Telemetry", "Field", "MapValue", "CommandRequest", "CommandResponse"}),
}
_CHANNELS = frozenset({"Property", "Telemetry"})
_PAYLOADS = frozenset({"CommandRequest", "CommandResponse"})


@dataclass(frozen=True, slots=True)
class Cotype:
    """A type beside an element's class.

    Attributes
    ----------
    name
        The type.
    classes
        The classes it can stand beside.
    needs, may_have
        Properties it requires and allows.
    partner
        A type that has to be there too.
    schemas
        Schemas the element has to have, empty for any.
    units
        The units its ``unit`` may be, for semantic types.
    version
        The version of the language it is for.
    """

    name: str
    classes: frozenset[str]
    needs: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    partner: str | None = None
    schemas: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    version: int = 3

    @property
    def properties(self) -> tuple[str, ...]:
        """Every property the type brings."""
        return self.needs + self.may_have


_NUMERIC = frozenset({"double", "float", "integer", "long"})
_TOPICS = ("commandTopic", "telemetryTopic", "telemServiceGroupId", "cmdServiceGroupId", "propertyTopic")
_VECTOR = frozenset({"vector", "dtmi:iotcentral:schema:vector;2"})
_PLACE = frozenset({"point", "multiPoint", "lineString", "multiLineString", "polygon", "multiPolygon", "geopoint"})

_ADDED: Mapping[str, tuple[Cotype, ...]] = {
    "dtmi:dtdl:extension:annotation": (Cotype("ValueAnnotation", _CHANNELS, needs=("annotates",)),),
    "dtmi:dtdl:extension:historization": (Cotype("Historized", _CHANNELS),),
    "dtmi:dtdl:extension:overriding": (
        Cotype("Override", frozenset({"Property"}), needs=("overrides",), partner="ValueAnnotation"),
    ),
    "dtmi:dtdl:extension:requirement": (Cotype("Required", frozenset({"Field", "Property"})),),
    "dtmi:dtdl:extension:mqtt": (
        Cotype("Idempotent", frozenset({"Command"})),
        Cotype("Cacheable", frozenset({"Command"}), needs=("ttl",), partner="Idempotent"),
        Cotype("Indexed", frozenset({"EnumValue", "Field", "Property", "Telemetry"}), needs=("index",)),
        Cotype("Mqtt", frozenset({"Interface"}), needs=("payloadFormat",), may_have=_TOPICS),
        Cotype("Transparent", _PAYLOADS, schemas=frozenset({"Object"})),
        *(Cotype(name, frozenset({"Object"})) for name in ("Error", "Result", "PropertyResult")),
        *(
            Cotype(name, frozenset({"Field"}))
            for name in (
                "ErrorCode",
                "ErrorInfo",
                "ErrorMessage",
                "ErrorResult",
                "Indirect",
                "NormalResult",
                "PropertyValue",
                "ReadError",
                "WriteError",
            )
        ),
        Cotype("Fragmented", frozenset({"Property"}), schemas=frozenset({"Map"})),
    ),
    "dtmi:iotcentral:context": (
        Cotype("AccelerationVector", _CHANNELS, may_have=("unit",), schemas=_VECTOR, version=2),
        Cotype("VelocityVector", _CHANNELS, may_have=("unit",), schemas=_VECTOR, version=2),
        Cotype("Event", _CHANNELS, schemas=_NUMERIC | {"string"}, version=2),
        Cotype("Location", _CHANNELS, schemas=_PLACE, version=2),
        Cotype("State", _CHANNELS, schemas=frozenset({"Enum"}), version=2),
    ),
}
"""The types of each extension but the quantitative ones."""


def find_cotype(name: str, scope: Scope) -> Cotype | None:
    """Find a type by its name, among those of the contexts in force."""
    family = UNIT_FAMILY[scope.version].get(name)
    if family and (scope.version == 2 or _QUANTITIES in scope.extensions):
        units = UNITS[scope.version][family]
        return Cotype(
            name, _MEASURED[scope.version], needs=("unit",), schemas=_NUMERIC, units=units, version=scope.version
        )
    for cotype in _of_extensions(scope):
        if cotype.name == name:
            return cotype
    return None


def is_abstract_cotype(name: str) -> bool:
    """Whether the name is one of the language's, but of no type that an element can have."""
    return name in {"QuantitativeType", "SemanticType", "SemanticUnit", "Unit", "UnitAttribute", "AdjunctType"}


def schema_terms(scope: Scope) -> frozenset[str]:
    """Give the words that extensions in force add for schemas."""
    terms: frozenset[str] = frozenset()
    if "dtmi:iotcentral:context" in scope.extensions:
        terms |= CENTRAL_OBJECTS
    if _QUANTITIES in scope.extensions:
        terms |= frozenset(UNITS[scope.version])
    return terms


def _of_extensions(scope: Scope) -> Iterator[Cotype]:
    for extension, version in scope.extensions.items():
        if version:
            yield from _ADDED.get(extension, ())
