"""Queries, through the genuine client."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.digitaltwins.core import DigitalTwinsClient
from azure.digitaltwins.core._generated.models import QueryTwinsOptions

from local_emulator.digital_twins.query.evaluation import compare
from local_emulator.digital_twins.query.syntax import parse_query

from .models import BEARING, FAN, MACHINE, PUMP, ROOM, of

_TWINS: dict[str, dict[str, Any]] = {
    "f1": of(FAN, speed=30.0, blades=5, running=True, tags={"red": "1"}),
    "m1": of(MACHINE, speed=10.0, serial="A-1", running=True, spectrum=[1.0, 2.5]),
    "m2": of(MACHINE, speed=20.0, serial="B-2", running=False),
    "m3": of(MACHINE, serial="it's"),
    "p1": of(PUMP, speed=10.0, bearing={"$metadata": {}, "wear": 0.5}),
}


@pytest.fixture
def graph(client: DigitalTwinsClient) -> DigitalTwinsClient:
    """Provide a client of a service with five twins and a relationship."""
    client.create_models([BEARING, MACHINE, PUMP, FAN, ROOM])
    for name, body in _TWINS.items():
        client.upsert_digital_twin(name, body)
    client.upsert_relationship("m1", "x", {"$relationshipName": "feeds", "$targetId": "m2", "flow": 3})
    return client


@pytest.mark.parametrize(
    ("condition", "want"),
    [
        ("speed = 10", "m1 p1"),
        ("T.speed >= 20.0", "f1 m2"),
        ("speed != 10", "f1 m2"),
        ("NOT speed = 10", "f1 m2"),
        ("speed > 5 AND speed < 25 OR serial = 'A-1'", "m1 m2 p1"),
        ("speed > 5 AND (speed < 15 OR serial = 'B-2')", "m1 m2 p1"),
        ("running", "f1 m1"),
        ("running = false", "m2"),
        ("not running", "m2"),
        (r"serial = 'it\'s'", "m3"),
        ("serial = 'a-1'", ""),
        ("speed = '10'", ""),
        ("absent = 1 OR $dtId = 'm1'", "m1"),
        ("NOT absent = 1", ""),
        ("$dtId IN ['m1', 'm2', 'm9']", "m1 m2"),
        ("serial NIN ['A-1']", "m2 m3"),
        ("STARTSWITH(serial, 'A')", "m1"),
        ("endswith(serial, '2')", "m2"),
        ("CONTAINS($dtId, '1')", "f1 m1 p1"),
        ("ARRAY_CONTAINS(spectrum, 2.5)", "m1"),
        ("IS_DEFINED(tags.red)", "f1"),
        ("NOT IS_DEFINED(speed)", "m3"),
        ("IS_NUMBER(speed)", "f1 m1 m2 p1"),
        ("IS_STRING(serial)", "m1 m2 m3"),
        ("IS_BOOL(running)", "f1 m1 m2"),
        ("IS_OBJECT(tags)", "f1"),
        ("IS_PRIMITIVE(blades)", "f1"),
        ("IS_NULL(speed)", ""),
        ("IS_OF_MODEL('dtmi:test:Machine;1')", "f1 m1 m2 m3"),
        ("IS_OF_MODEL('dtmi:test:Machine;1', exact)", "m1 m2 m3"),
        ("IS_OF_MODEL(T, 'dtmi:test:Fan;1')", "f1"),
        ("bearing.wear > 0.4", "p1"),
        ("T.$metadata.$model = 'dtmi:test:Pump;1'", "p1"),
        ("[[speed]] = 30", "f1"),
        ("speed < -1.5e1", ""),
    ],
)
def test_conditions(graph: DigitalTwinsClient, condition: str, want: str) -> None:
    """Rows for which a condition is true, and only those."""
    found = graph.query_twins(f"SELECT * FROM digitaltwins T WHERE {condition}")
    assert " ".join(row["$dtId"] for row in found) == want


@pytest.mark.parametrize(
    ("select", "want"),
    [
        ("SELECT COUNT() FROM DigitalTwins", [{"COUNT": 5}]),
        ("select count() from digitaltwins where speed = 10", [{"COUNT": 2}]),
        ("SELECT serial FROM digitaltwins WHERE speed = 10", [{"serial": "A-1"}, {}]),
        ("SELECT T.serial AS s, T.speed FROM digitaltwins T WHERE T.speed = 20", [{"s": "B-2", "speed": 20.0}]),
        ("SELECT TOP(2) T.$dtId FROM digitaltwins T", [{"$dtId": "f1"}, {"$dtId": "m1"}]),
        ("SELECT $sourceId, $targetId, flow FROM relationships", [{"$sourceId": "m1", "$targetId": "m2", "flow": 3}]),
        ("SELECT R.flow FROM relationships R WHERE R.$relationshipName = 'feeds' AND R.flow > 5", []),
    ],
)
def test_columns(graph: DigitalTwinsClient, select: str, want: list[dict[str, Any]]) -> None:
    """Columns have their names, absent ones are left out."""
    assert list(graph.query_twins(select)) == want


def test_whole_rows_are_the_twins_themselves(graph: DigitalTwinsClient) -> None:
    """Bare for ``*``, under its alias when that is asked for."""
    assert list(graph.query_twins("SELECT TOP(1) * FROM digitaltwins")) == [graph.get_digital_twin("f1")]
    (row,) = graph.query_twins("SELECT T FROM digitaltwins T WHERE T.$dtId = 'f1'")
    assert row == {"T": graph.get_digital_twin("f1")}


def test_results_come_in_pages(graph: DigitalTwinsClient) -> None:
    """A page is as large as asked, and the next goes on where it ended, whatever was deleted meanwhile."""
    options = QueryTwinsOptions(max_items_per_page=2)
    query = "SELECT $dtId FROM digitaltwins"
    pages = graph.query_twins(query, query_twins_options=options).by_page()
    first = list(next(pages))
    graph.delete_digital_twin("f1")
    rest = [row for page in pages for row in page]
    assert [row["$dtId"] for row in first + rest] == ["f1", "m1", "m2", "m3", "p1"]
    topped = graph.query_twins("SELECT TOP(3) * FROM digitaltwins", query_twins_options=options).by_page()
    assert [len(list(page)) for page in topped] == [2, 1]


def test_a_charge_is_named(graph: DigitalTwinsClient) -> None:
    """Every answer says what it cost."""
    charges: list[float] = []
    list(
        graph.query_twins(
            "SELECT * FROM digitaltwins",
            raw_response_hook=lambda answer: charges.append(float(answer.http_response.headers["query-charge"])),
        )
    )
    assert len(charges) == 1
    assert charges[0] > 0


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("foo", "Line=1, Position=0, Message=missing SELECT at 'foo'"),
        ("SELECT * FROM", "Position=13, Message=mismatched input '<EOF>' expecting {COLLECTION}"),
        ("SELECT *\nFROM digitaltwins WHERE", "Line=2, Position=23, Message=mismatched input '<EOF>'"),
        ("SELECT * FROM digitaltwins ORDER BY x", "Position=27, Message=mismatched input 'ORDER'"),
        ("SELECT T FROM digitaltwins T JOIN CT RELATED T.feeds", "'JOIN' is not supported by the emulator"),
        ("SELECT T FROM digitaltwins MATCH (T)-[]->(S)", "'MATCH' is not supported by the emulator"),
        ("SELECT * FROM digitaltwins WHERE a = 'x", "mismatched input"),
        ("SELECT * FROM digitaltwins WHERE a IN [" + ", ".join("1" * 51) + "]", "takes up to 50 values"),
        ("SELECT * FROM digitaltwins WHERE a = 1" + " OR a = 1" * 51, "up to 50 AND and OR"),
        ("SELECT * FROM digitaltwins" + " " * 8000, "more than 8000 characters"),
    ],
)
def test_what_cannot_be_understood_is_named(graph: DigitalTwinsClient, query: str, words: str) -> None:
    """Line and position of the fault; what the emulator lacks by its name."""
    with pytest.raises(HttpResponseError) as caught:
        list(graph.query_twins(query))
    assert caught.value.error is not None
    assert (caught.value.status_code, caught.value.error.code) == (400, "SqlQueryError")
    assert words in caught.value.message


def test_a_continuation_that_was_never_given_is_refused(graph: DigitalTwinsClient) -> None:
    """A token is not a page number."""
    with pytest.raises(HttpResponseError, match="An invalid continuationToken was provided"):
        list(graph.query_twins("SELECT * FROM digitaltwins").by_page(continuation_token="2"))


@pytest.mark.parametrize(
    ("left", "sign", "right", "truth"),
    [
        (1, "=", 1.0, True),
        (True, "=", 1, None),
        ("a", "<", "b", True),
        (None, "=", None, True),
        (None, "<", None, None),
        ({"a": 1}, "=", {"a": 1}, True),
        ([1], "=", {"a": 1}, None),
    ],
)
def test_unlike_values_do_not_compare(left: object, sign: str, right: object, *, truth: bool | None) -> None:
    """Their comparison is neither true nor false."""
    assert compare(left, sign, right) is truth


def test_and_binds_more_than_or() -> None:
    """As in SQL."""
    written = "SELECT * FROM digitaltwins WHERE a = 1 OR b = 2 AND c = 3"
    meant = "SELECT * FROM digitaltwins WHERE a = 1 OR (b = 2 AND c = 3)"
    assert parse_query(written) == parse_query(meant)
