"""The object model: what a parsed interface offers its users."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from .dtmi import Dtmi

NO_TEXT: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Primitive:
    """A schema without parts: boolean, date, dateTime, double, duration, float, integer, long, string, time."""

    name: str


@dataclass(frozen=True, slots=True)
class Array:
    """A list whose items share one schema."""

    element: "Schema"


@dataclass(frozen=True, slots=True)
class EnumValue:
    """One allowed value and the name it goes by."""

    name: str
    value: str | int


@dataclass(frozen=True, slots=True)
class Enum:
    """A choice among declared strings or integers."""

    value_schema: Primitive
    values: tuple[EnumValue, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """Values of one schema under string keys."""

    key_name: str
    value_name: str
    value: "Schema"


@dataclass(frozen=True, slots=True)
class Field:
    """A named part of an object."""

    name: str
    schema: "Schema"


@dataclass(frozen=True, slots=True)
class Object:
    """A structure of named parts, each optional in a value."""

    fields: tuple[Field, ...]


type Schema = Primitive | Array | Enum | Map | Object


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """What an author wrote for readers, by language code."""

    display_name: Mapping[str, str] = NO_TEXT
    description: Mapping[str, str] = NO_TEXT
    comment: str | None = None


NO_TEXTS = Texts()


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """State of a twin, or of a relationship."""

    name: str
    schema: Schema
    writable: bool = False
    semantic_types: tuple[str, ...] = ()
    unit: str | None = None
    texts: Texts = NO_TEXTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Telemetry:
    """A channel that a twin emits."""

    name: str
    schema: Schema
    semantic_types: tuple[str, ...] = ()
    unit: str | None = None
    texts: Texts = NO_TEXTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """Another interface included by value under a name."""

    name: str
    interface: "Interface"
    texts: Texts = NO_TEXTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Relationship:
    """A link to other twins; ``target`` None allows any."""

    name: str
    target: Dtmi | None = None
    properties: Mapping[str, Property] = field(default_factory=dict)
    min_multiplicity: int | None = None
    max_multiplicity: int | None = None
    writable: bool = False
    texts: Texts = NO_TEXTS


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandPayload:
    """What a command takes or gives back."""

    name: str
    schema: Schema
    nullable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """An operation a twin offers."""

    name: str
    request: CommandPayload | None = None
    response: CommandPayload | None = None
    texts: Texts = NO_TEXTS


type Content = Property | Telemetry | Component | Relationship | Command


@dataclass(frozen=True, kw_only=True)
class Interface:
    """A twin's model.

    Attributes
    ----------
    id
        Its identifier.
    version
        The version of the language it is written in.
    extends
        The interfaces it names as its bases.
    declared
        Contents written in this interface itself, by name.
    contents
        Contents including those of every base, by name.
    ancestors
        Every interface it extends, at any distance, nearest first.
    """

    id: Dtmi
    version: int
    extends: tuple["Interface", ...] = ()
    declared: Mapping[str, Content] = field(default_factory=dict)
    texts: Texts = NO_TEXTS

    @cached_property
    def ancestors(self) -> tuple["Interface", ...]:
        """Every interface this one extends, at any distance, nearest first."""
        found: dict[Dtmi, Interface] = {}
        level = list(self.extends)
        while level:
            found.update({base.id: base for base in level if base.id not in found})
            level = [base for parent in level for base in parent.extends]
        return tuple(found.values())

    @cached_property
    def contents(self) -> Mapping[str, Content]:
        """Contents by name: those of the bases first, then the declared ones."""
        merged: dict[str, Content] = {}
        for base in reversed(self.ancestors):
            merged.update(base.declared)
        merged.update(self.declared)
        return MappingProxyType(merged)

    @cached_property
    def properties(self) -> Mapping[str, Property]:
        """All properties by name."""
        return {name: item for name, item in self.contents.items() if isinstance(item, Property)}

    @cached_property
    def telemetries(self) -> Mapping[str, Telemetry]:
        """All channels by name."""
        return {name: item for name, item in self.contents.items() if isinstance(item, Telemetry)}

    @cached_property
    def components(self) -> Mapping[str, Component]:
        """All components by name."""
        return {name: item for name, item in self.contents.items() if isinstance(item, Component)}

    @cached_property
    def relationships(self) -> Mapping[str, Relationship]:
        """All relationships by name."""
        return {name: item for name, item in self.contents.items() if isinstance(item, Relationship)}

    @cached_property
    def commands(self) -> Mapping[str, Command]:
        """All commands by name."""
        return {name: item for name, item in self.contents.items() if isinstance(item, Command)}

    def is_a(self, identifier: str) -> bool:
        """Whether this is that interface or extends it."""
        return self.id == identifier or any(base.id == identifier for base in self.ancestors)

    def dependencies(self) -> Iterator["Interface"]:
        """The interfaces that this one cannot be without: bases and component schemas."""
        yield from self.extends
        for item in self.declared.values():
            if isinstance(item, Component):
                yield item.interface
