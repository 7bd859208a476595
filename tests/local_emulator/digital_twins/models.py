"""Models that the tests use."""

from typing import Any

_CONTEXT = "dtmi:dtdl:context;3"

BEARING: dict[str, Any] = {
    "@context": _CONTEXT,
    "@id": "dtmi:test:Bearing;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "wear", "schema": "double"},
        {"@type": "Property", "name": "maker", "schema": "string"},
    ],
}
MACHINE: dict[str, Any] = {
    "@context": _CONTEXT,
    "@id": "dtmi:test:Machine;1",
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": "serial", "schema": "string"},
        {"@type": "Property", "name": "running", "schema": "boolean"},
        {"@type": "Property", "name": "speed", "schema": "double"},
        {
            "@type": "Property",
            "name": "tags",
            "schema": {
                "@type": "Map",
                "mapKey": {"name": "key", "schema": "string"},
                "mapValue": {"name": "value", "schema": "string"},
            },
        },
        {"@type": "Property", "name": "spectrum", "schema": {"@type": "Array", "elementSchema": "double"}},
        {
            "@type": "Relationship",
            "name": "feeds",
            "target": "dtmi:test:Machine;1",
            "properties": [{"@type": "Property", "name": "flow", "schema": "double"}],
        },
        {"@type": "Relationship", "name": "near"},
    ],
}
PUMP: dict[str, Any] = {
    "@context": _CONTEXT,
    "@id": "dtmi:test:Pump;1",
    "@type": "Interface",
    "displayName": "Pump",
    "contents": [
        {"@type": "Property", "name": "speed", "schema": "double"},
        {"@type": "Component", "name": "bearing", "schema": "dtmi:test:Bearing;1"},
    ],
}
FAN: dict[str, Any] = {
    "@context": _CONTEXT,
    "@id": "dtmi:test:Fan;1",
    "@type": "Interface",
    "extends": "dtmi:test:Machine;1",
    "contents": [{"@type": "Property", "name": "blades", "schema": "integer"}],
}
ROOM: dict[str, Any] = {
    "@context": _CONTEXT,
    "@id": "dtmi:test:Room;1",
    "@type": "Interface",
    "contents": [{"@type": "Property", "name": "name", "schema": "string"}],
}


def of(model: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Make the body of a new twin."""
    return {"$metadata": {"$model": model["@id"]}, **values}
