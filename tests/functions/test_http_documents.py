"""Alerts, work orders and dead letters over HTTP."""

from typing import Any

import httpx
import msgspec
import pytest

from functions.http.views import AlertView, EditView, OperationView, ReasonView, WorkOrderView
from tests.functions.http_world import NOW, World, alert, work_order
from twin_actors.commit import DeadLetter
from twin_actors.documents import Alert, Collection, Edit, Operation, Reason, WorkOrder, moment
from twin_actors.messages import KIND, LETTER, Event
from twin_actors.outbox import letter_path


@pytest.mark.parametrize(
    ("kept", "view", "beside"),
    [
        (Alert, AlertView, {"twin_id", "status"}),
        (WorkOrder, WorkOrderView, {"status"}),
        (Operation, OperationView, {"twin_id"}),
        (Reason, ReasonView, set()),
        (Edit, EditView, set()),
    ],
)
def test_everything_kept_is_shown(kept: Any, view: Any, beside: set[str]) -> None:
    """A field that documents gain does not stay hidden from apps."""
    hidden = {"property"} if kept is Edit else set()  # it is the name that the edit stands under
    assert set(view.model_fields) == (set(kept.__struct_fields__) | beside) - hidden


async def test_alerts(world: World, http: httpx.AsyncClient) -> None:
    """Of one twin or all, active or cleared, one with its reason."""
    await world.keep(Collection.ALERTS, "valve-1", "worn-1", "cleared", alert(1))
    acknowledged = msgspec.structs.replace(alert(2), acknowledged_by="ann", acknowledged=moment(NOW + 5.0))
    await world.keep(Collection.ALERTS, "valve-1", "worn-2", "active", acknowledged)
    await world.keep(Collection.ALERTS, "valve-2", "worn-1", "active", alert(1))

    async def listed(query: str) -> list[tuple[str, str]]:
        return [(one["twinId"], one["alertId"]) for one in (await http.get(f"alerts{query}")).json()["items"]]

    assert await listed("") == [("valve-1", "worn-1"), ("valve-1", "worn-2"), ("valve-2", "worn-1")]
    assert await listed("?status=active") == [("valve-1", "worn-2"), ("valve-2", "worn-1")]
    assert await listed("?twinId=valve-1&status=cleared") == [("valve-1", "worn-1")]
    assert (await http.get("alerts?status=open")).status_code == 400
    page = (await http.get("alerts?limit=2")).json()
    assert await listed(f"?limit=2&cursor={page['nextCursor']}") == [("valve-2", "worn-1")]
    stolen = await http.get(f"alerts?status=active&cursor={page['nextCursor']}")
    assert (stolen.status_code, stolen.json()["type"]) == (400, "urn:twinfold:problem:bad-cursor")
    one = (await http.get("twins/valve-1/alerts/worn-2")).json()
    assert (one["status"], one["severity"], one["acknowledgedBy"]) == ("active", "warning", "ann")
    assert one["acknowledged"] == "2026-01-01T00:00:05Z"
    assert one["reason"] == {
        "rule": "worn",
        "signal": "wornBy",
        "value": 0.9,
        "limit": 0.8,
        "since": "2025-12-31T23:59:00Z",
        "position": "2-17",
        "readingTime": "2026-01-01T00:00:00Z",
        "values": {"wornBy": 0.9},
        "predictionModel": "",
        "twinModel": "dtmi:test:Valve;1",
        "layout": 1,
        "stateVersion": 12,
    }
    missing = await http.get("twins/valve-1/alerts/worn-3")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:twinfold:problem:alert-not-found")


async def test_work_orders(world: World, http: httpx.AsyncClient) -> None:
    """Of one twin or all, by status, one with all that it says."""
    for twin, status in (("valve-1", "placed"), ("valve-2", "refused")):
        await world.keep(Collection.WORK_ORDERS, twin, "order-1", status, work_order(twin))

    async def listed(query: str) -> list[str]:
        return [one["orderId"] for one in (await http.get(f"work-orders{query}")).json()["items"]]

    assert await listed("") == ["valve-1-order-1", "valve-2-order-1"]
    assert await listed("?status=refused") == ["valve-2-order-1"]
    assert await listed("?twinId=valve-1") == ["valve-1-order-1"]
    one = (await http.get("twins/valve-1/work-orders/valve-1-order-1")).json()
    assert one == (await http.get("twins/valve-1/work-orders/order-1")).json()
    assert (one["status"], one["revision"], one["due"]) == ("placed", 2, "2026-01-02T00:00:00Z")
    assert (one["remainingUsefulLifeDaysLower"], one["remainingUsefulLifeDaysUpper"]) == (10.0, None)
    missing = await http.get("twins/valve-1/work-orders/valve-2-order-1")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:twinfold:problem:work-order-not-found")


async def keep_letter(world: World, letter_id: str, body: bytes = b"\xffbad") -> None:
    """Put a dead letter where the outbox puts it."""
    number = int(letter_id.partition("-")[2])
    event = Event(
        sequence_number=number,
        enqueued_time=NOW,
        body=body,
        device_id="valve-1",
        message_id="m1",
        content_type="application/json",
        properties={"site": "north"},
    )
    letter = DeadLetter(letter_id, "bad_json", "the body is no JSON: send JSON", "valve-1", event)
    await world.journal.write(letter_path(letter_id), msgspec.msgpack.encode(letter))


async def test_dead_letters(world: World, http: httpx.AsyncClient) -> None:
    """In pages, in order of their numbers; one with all that arrived."""
    for letter_id in ("0-7", "0-12", "1-3"):
        await keep_letter(world, letter_id)
    first = (await http.get("dead-letters?limit=2")).json()
    rest = (await http.get(f"dead-letters?limit=2&cursor={first['nextCursor']}")).json()
    assert [letter["letterId"] for letter in first["items"] + rest["items"]] == ["0-7", "0-12", "1-3"]
    assert rest["nextCursor"] is None
    summary = {
        "letterId": "0-12",
        "partition": 0,
        "sequenceNumber": 12,
        "reason": "bad_json",
        "detail": "the body is no JSON: send JSON",
        "twinId": "valve-1",
        "deviceId": "valve-1",
        "enqueuedTime": "2026-01-01T00:00:00Z",
        "bytes": 4,
    }
    assert first["items"][1] == summary
    assert (await http.get("dead-letters/0-12")).json() == {
        **summary,
        "messageId": "m1",
        "contentType": "application/json",
        "properties": {"site": "north"},
        "body": "\\xffbad",
    }


async def test_a_dead_letter_is_replayed(world: World, http: httpx.AsyncClient) -> None:
    """By the partition that keeps it; one that is struck is gone."""
    await keep_letter(world, "3-7")
    answer = await http.post("dead-letters/3-7/replay")
    assert (answer.status_code, answer.json()) == (202, {"letterId": "3-7", "replay": "requested"})
    assert world.sent() == [(3, {KIND: "replay", LETTER: "3-7"}, {})]
    await world.journal.delete(letter_path("3-7"))
    for answer in (await http.get("dead-letters/3-7"), await http.post("dead-letters/3-7/replay")):
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:twinfold:problem:dead-letter-not-found")
    assert len(world.sent()) == 1
    for wrong in ("7", "a-b", "1-2-3", "1-", "..%2f1-2"):
        assert (await http.get(f"dead-letters/{wrong}")).status_code in {400, 404}


async def test_a_dead_letter_that_cannot_be_read_is_named(world: World, http: httpx.AsyncClient) -> None:
    """An operator can act on it; the others are listed."""
    await keep_letter(world, "0-1")
    await world.journal.write(letter_path("0-2"), b"no letter")
    answer = await http.get("dead-letters/0-2")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:twinfold:problem:unreadable")
    assert letter_path("0-2") in answer.json()["detail"]
    listed = (await http.get("dead-letters")).json()["items"]
    assert [(letter["letterId"], letter["reason"]) for letter in listed] == [("0-1", "bad_json"), ("0-2", "unreadable")]
