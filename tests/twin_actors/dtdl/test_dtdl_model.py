"""What a parsed interface offers, and how a broken one is refused."""

import doctest
from typing import Any

import pytest

from twin_actors import dtdl
from twin_actors.dtdl import (
    Array,
    Command,
    Component,
    Dtmi,
    Enum,
    EnumValue,
    Map,
    Object,
    ParsingFailed,
    Primitive,
    Relationship,
    ResolutionFailed,
    parse,
    validate_value,
)

_BASE: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;2",
    "@id": "dtmi:test:Base;1",
    "@type": "Interface",
    "displayName": "Base",
    "contents": [
        {"@type": "Property", "name": "serial", "schema": "string"},
        {"@type": ["Telemetry", "Temperature"], "name": "heat", "schema": "double", "unit": "degreeCelsius"},
    ],
}
_PART: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;2",
    "@id": "dtmi:test:Part;1",
    "@type": "Interface",
    "contents": [{"@type": "Property", "name": "wear", "schema": "double", "writable": True}],
}
_PUMP: dict[str, Any] = {
    "@context": ["dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"],
    "@id": "dtmi:test:Pump;1",
    "@type": "Interface",
    "extends": "dtmi:test:Base;1",
    "displayName": {"en": "pump", "de": "Pumpe"},
    "schemas": [
        {
            "@id": "dtmi:test:Pump:Limits;1",
            "@type": "Object",
            "fields": [{"name": "low", "schema": "double"}, {"name": "tags", "schema": "string"}],
        }
    ],
    "contents": [
        {"@type": "Property", "name": "limits", "schema": "dtmi:test:Pump:Limits;1"},
        {"@type": "Property", "name": "spectrum", "schema": {"@type": "Array", "elementSchema": "float"}},
        {
            "@type": "Property",
            "name": "mode",
            "schema": {
                "@type": "Enum",
                "valueSchema": "integer",
                "enumValues": [{"name": "off", "enumValue": 0}, {"name": "on", "enumValue": 1}],
            },
        },
        {
            "@type": "Property",
            "name": "notes",
            "schema": {
                "@type": "Map",
                "mapKey": {"name": "key", "schema": "string"},
                "mapValue": {"name": "note", "schema": "string"},
            },
        },
        {"@type": "Component", "name": "bearing", "schema": "dtmi:test:Part;1"},
        {
            "@type": "Relationship",
            "name": "feeds",
            "target": "dtmi:test:Anything;1",
            "maxMultiplicity": 3,
            "properties": [{"@type": "Property", "name": "flow", "schema": "double"}],
        },
        {"@type": "Command", "name": "start", "request": {"name": "speed", "schema": "double"}},
    ],
}
_MODELS = parse([_PUMP, _PART, _BASE])
_INTERFACE = _MODELS[Dtmi("dtmi:test:Pump;1")]


def test_the_example_in_the_package_is_true() -> None:
    """The docstring's example runs."""
    assert doctest.testmod(dtdl) == (0, 3)


def test_contents_are_inherited() -> None:
    """Contents of the bases are there by name beside those declared."""
    assert list(_INTERFACE.properties) == ["serial", "limits", "spectrum", "mode", "notes"]
    assert [base.id for base in _INTERFACE.ancestors] == ["dtmi:test:Base;1"]
    assert _INTERFACE.is_a("dtmi:test:Base;1")
    assert not _INTERFACE.is_a("dtmi:test:Part;1")
    assert _INTERFACE.declared.keys() == _INTERFACE.contents.keys() - {"serial", "heat"}


def test_a_channel_says_its_unit() -> None:
    """Semantic types and units are read."""
    heat = _INTERFACE.telemetries["heat"]
    assert (heat.schema, heat.semantic_types, heat.unit) == (
        Primitive("double"),
        ("Temperature",),
        "degreeCelsius",
    )


def test_schemas_are_typed() -> None:
    """Arrays, enums, maps and objects by reference become values."""
    schemas = {name: item.schema for name, item in _INTERFACE.properties.items()}
    assert isinstance(schemas["limits"], Object)
    assert [part.name for part in schemas["limits"].fields] == ["low", "tags"]
    assert schemas["spectrum"] == Array(Primitive("float"))
    assert schemas["mode"] == Enum(Primitive("integer"), (EnumValue("off", 0), EnumValue("on", 1)))
    assert schemas["notes"] == Map("key", "note", Primitive("string"))


def test_components_relationships_and_commands_are_typed() -> None:
    """What is no property or channel is there too."""
    bearing, feeds = _INTERFACE.contents["bearing"], _INTERFACE.contents["feeds"]
    start = _INTERFACE.contents["start"]
    assert isinstance(bearing, Component)
    assert bearing.interface.properties["wear"].writable
    assert isinstance(feeds, Relationship)
    assert (feeds.target, feeds.max_multiplicity, list(feeds.properties)) == ("dtmi:test:Anything;1", 3, ["flow"])
    assert isinstance(start, Command)
    assert start.request is not None
    assert start.request.schema == Primitive("double")
    assert start.response is None


def test_texts_are_by_language() -> None:
    """A bare text is English."""
    assert dict(_INTERFACE.texts.display_name) == {"en": "pump", "de": "Pumpe"}
    assert dict(_MODELS[Dtmi("dtmi:test:Base;1")].texts.display_name) == {"en": "Base"}


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        ("limits", {"low": "x"}, ("low",), "double"),
        ("limits", {"high": 1}, ("high",), ""),
        ("limits", 3, (), "object"),
        ("spectrum", [1, 2, None], ("2",), "float"),
        ("mode", 2, (), "enum"),
        ("mode", True, (), "enum"),
        ("notes", {"a": 1}, ("a",), "string"),
        ("serial", 7, (), "string"),
    ],
)
def test_a_mismatch_says_where_and_what(name: str, value: object, path: tuple[str, ...], expected: str) -> None:
    """The offending part and the schema wanted there are named."""
    found = validate_value(_INTERFACE.properties[name].schema, value)
    assert found is not None
    assert (found.path, found.expected, found.is_undeclared) == (path, expected, expected == "")


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("integer", 2**31 - 1, True),
        ("integer", 2**31, False),
        ("integer", 1.5, False),
        ("long", 2**31, True),
        ("long", 2**63, False),
        ("double", 1, True),
        ("double", True, False),
        ("double", 10**308, True),
        ("double", 10**400, False),
        ("double", float("inf"), False),
        ("double", float("nan"), False),
        ("float", -(10**400), False),
        ("long", 10**400, False),
        ("boolean", 0, False),
        ("date", "2024-02-29", True),
        ("date", "2023-02-29", False),
        ("time", "10:20:30Z", True),
        ("dateTime", "2024-02-29T10:20:30.5+01:00", True),
        ("dateTime", "2024-02-29", False),
        ("duration", "P1DT2H", True),
        ("duration", "1 day", False),
    ],
)
def test_primitives_have_bounds_and_forms(kind: str, value: object, *, fits: bool) -> None:
    """Numbers have a width, times have a form."""
    assert (validate_value(Primitive(kind), value) is None) is fits


def _changed(**changes: object) -> dict[str, Any]:
    return {**_PART, **changes}


def _chain(length: int) -> list[dict[str, Any]]:
    first = _changed(**{"@id": "dtmi:test:L0;1"}, contents=[])
    rest = [
        _changed(**{"@id": f"dtmi:test:L{n};1"}, extends=f"dtmi:test:L{n - 1};1", contents=[])
        for n in range(1, length + 1)
    ]
    return [first, *rest]


_LIST = {"@type": "Array", "elementSchema": "long"}


def _mass(schema: str, unit: str) -> dict[str, Any]:
    return {"@type": ["Property", "Mass"], "name": "a", "schema": schema, "unit": unit}


def _content(**content: object) -> list[dict[str, Any]]:
    return [_changed(contents=[content])]


@pytest.mark.parametrize(
    ("rule", "documents"),
    [
        ("missingContext", [{}]),
        ("missingTopLevelId", [{"@context": "dtmi:dtdl:context;2", "@type": "Interface"}]),
        ("unrecognizedContextVersion", [_changed(**{"@context": "dtmi:dtdl:context;4"})]),
        ("invalidId", [_changed(**{"@id": "dtmi:test:Part"})]),
        ("reservedId", [_changed(**{"@id": "dtmi:dtdl:Part;1"})]),
        ("idTooLongForType", [_changed(**{"@id": f"dtmi:test:{'x' * 120};1"})]),
        ("typeNotRootable", [_changed(**{"@type": "Telemetry"})]),
        ("badType", _content(**{"@type": "Field", "name": "a", "schema": "double"})),
        ("noTypeThatAllows", _content(**{"@type": "Telemetry", "name": "a", "schema": "double", "writable": True})),
        ("missingLiteralProperty", _content(**{"@type": "Telemetry", "schema": "double"})),
        ("missingObjectProperty", _content(**{"@type": "Telemetry", "name": "a"})),
        ("badDtmiOrTerm", _content(**{"@type": "Telemetry", "name": "a", "schema": "decimal"})),
        ("stringInvalid", _content(**{"@type": "Telemetry", "name": "a b", "schema": "double"})),
        ("stringTooLong", _content(**{"@type": "Telemetry", "name": "a" * 65, "schema": "double"})),
        ("nonUniquePropertyValue", [_changed(contents=[*_PART["contents"], *_PART["contents"]])]),
        (
            "objectCountAboveMax",
            [_changed(contents=[{"@type": "Telemetry", "name": f"n{i}", "schema": "double"} for i in range(301)])],
        ),
        ("excludedType", _content(**{"@type": "Property", "name": "a", "schema": _LIST})),
        ("wrongParent", _content(**_mass("double", "litre"))),
        ("notRequiredType", _content(**_mass("string", "gram"))),
        ("excessiveDepthNarrow", _chain(11)),
        ("recursiveStructureNarrow", [_changed(extends="dtmi:test:Part;1")]),
        ("nonUniqueImportedPropertyValue", [_PART, _changed(**{"@id": "dtmi:test:Q;1"}, extends="dtmi:test:Part;1")]),
        ("duplicateDefinition", [_PART, _PART]),
        (
            "disallowedVersionReference",
            [_PUMP, _PART, _BASE, _changed(**{"@id": "dtmi:test:Q;1"}, extends="dtmi:test:Pump;1", contents=[])],
        ),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named(rule: str, documents: list[object]) -> None:
    """Each kind of breach is found, and found alone or first."""
    with pytest.raises(ParsingFailed) as caught:
        parse(documents)
    assert caught.value.breaches[0].rule == rule
    assert str(caught.value.breaches[0]) in str(caught.value)


def test_ten_levels_of_inheritance_are_allowed() -> None:
    """The limit itself is within it."""
    assert len(parse(_chain(10))) == 11


def test_missing_bases_are_named_together() -> None:
    """What has to resolve and does not is one error of its own; relationship targets need not."""
    with pytest.raises(ResolutionFailed) as caught:
        parse([_PUMP])
    assert caught.value.identifiers == ("dtmi:test:Base;1", "dtmi:test:Part;1")


def test_known_interfaces_need_not_be_given_again() -> None:
    """Later uploads stand on earlier ones."""
    known = parse([_BASE, _PART])
    assert parse([_PUMP], known).keys() == {"dtmi:test:Pump;1"}
    with pytest.raises(ParsingFailed):
        parse([_BASE], known)


def test_documents_nested_without_end_are_refused() -> None:
    """Depth beyond any reader's is a breach, not a crash."""
    schema: object = "double"
    for _ in range(2000):
        schema = {"@type": "Array", "elementSchema": schema}
    with pytest.raises(ParsingFailed, match="nested too deep"):
        parse(_content(**{"@type": "Telemetry", "name": "a", "schema": schema}))
