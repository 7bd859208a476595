"""Faults on demand, and the service's rates."""

import time
from collections.abc import Callable

import aiohttp
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceModifiedError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.digitaltwins.core import DigitalTwinsClient

from local_emulator.digital_twins import DigitalTwins, Fault
from local_emulator.digital_twins.errors import ServiceError
from local_emulator.digital_twins.throttle import Throttle

from .models import ROOM, of

_RENAME = [{"op": "add", "path": "/name", "value": "attic"}]


@pytest.fixture
def hall(client: DigitalTwinsClient) -> DigitalTwinsClient:
    """Provide a client of a service with one twin."""
    client.create_models([ROOM])
    client.upsert_digital_twin("r1", of(ROOM, name="hall"))
    return client


def test_a_throttled_request_says_how_long_to_wait(service: DigitalTwins, hall: DigitalTwinsClient) -> None:
    """The next two patches are refused, the third is not; reads are let be."""
    service.faults.add(Fault("status", count=2, status=429, retry_after=7, method="PATCH"))
    for _ in range(2):
        with pytest.raises(HttpResponseError) as caught:
            hall.update_digital_twin("r1", _RENAME)
        assert caught.value.response is not None
        assert (caught.value.status_code, caught.value.response.headers["Retry-After"]) == (429, "7")
        assert hall.get_digital_twin("r1")["name"] == "hall"
    hall.update_digital_twin("r1", _RENAME)
    assert hall.get_digital_twin("r1")["name"] == "attic"


def test_a_conflict_can_be_had_without_one(service: DigitalTwins, hall: DigitalTwinsClient) -> None:
    """Though the version is the right one."""
    service.faults.add(Fault("status", status=412, path="^/digitaltwins/r1$", method="PATCH"))
    current = {"etag": hall.get_digital_twin("r1")["$etag"], "match_condition": MatchConditions.IfNotModified}
    with pytest.raises(ResourceModifiedError):
        hall.update_digital_twin("r1", _RENAME, **current)
    hall.update_digital_twin("r1", _RENAME, **current)


def test_an_error_of_the_service_applies_nothing(service: DigitalTwins, hall: DigitalTwinsClient) -> None:
    """The caller may try again."""
    service.faults.add(Fault("status", status=500))
    with pytest.raises(HttpResponseError) as caught:
        hall.update_digital_twin("r1", _RENAME)
    assert caught.value.error is not None
    assert caught.value.error.code == "InternalServerError"
    assert hall.get_digital_twin("r1")["name"] == "hall"


@pytest.mark.parametrize(("kind", "name"), [("drop", "hall"), ("drop-answer", "attic")])
def test_a_connection_ends_before_or_after(
    service: DigitalTwins, hall: DigitalTwinsClient, kind: str, name: str
) -> None:
    """The caller cannot tell whether its write is there."""
    service.faults.add(Fault(kind, method="PATCH"))  # type: ignore[arg-type]
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        hall.update_digital_twin("r1", _RENAME)
    assert hall.get_digital_twin("r1")["name"] == name


def test_an_answer_can_come_late(service: DigitalTwins, hall: DigitalTwinsClient) -> None:
    """Too late for a caller in a hurry, but applied."""
    service.faults.add(Fault("delay", delay_seconds=0.2, method="GET"))
    begun = time.monotonic()
    hall.get_digital_twin("r1")
    assert time.monotonic() - begun >= 0.2
    assert service.faults.waiting() == ()


async def test_faults_can_be_asked_for_over_http(service: DigitalTwins) -> None:
    """For tests that run in another process."""
    url = f"{service.url}/_emulator/faults"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json={"kind": "status", "status": 503, "count": 3}) as answer:
            assert (await answer.json())["value"] == [{"kind": "status", "status": 503, "count": 3}]
        assert service.faults.waiting() == (Fault("status", status=503, count=3),)
        for wrong in ({"kind": "rain"}, {"kind": "drop", "count": 0}, {"kind": "drop", "path": "("}, {"odd": 1}):
            async with session.post(url, json=wrong) as answer:
                assert answer.status == 400
        async with session.get(f"{service.url}/models?api-version=2023-10-31") as answer:
            assert answer.status == 503
        async with session.get(url) as answer:
            assert (await answer.json())["value"][0]["count"] == 2
        async with session.delete(url) as answer:
            assert (await answer.json())["value"] == []


def test_rates_are_kept_when_asked_for(
    start: Callable[..., DigitalTwins], connect: Callable[[DigitalTwins], DigitalTwinsClient]
) -> None:
    """Ten writes a second to one twin: of many at once, some are refused."""
    client = connect(start(keep_rates=True))
    client.create_models([ROOM])
    client.upsert_digital_twin("r1", of(ROOM))

    def write_often() -> None:
        for _ in range(1000):
            client.update_digital_twin("r1", _RENAME)

    with pytest.raises(HttpResponseError) as caught:
        write_often()
    assert caught.value.response is not None
    assert (caught.value.status_code, caught.value.response.headers["Retry-After"]) == (429, "1")


def test_a_twin_may_be_written_ten_times_a_second() -> None:
    """Another twin may too; a second later both may again."""
    now = 100.0
    throttle = Throttle(is_on=True, clock=lambda: now)

    def admitted(twin: str) -> int:
        count = 0
        try:
            while count < 50:
                throttle.admit("PATCH", f"/digitaltwins/{twin}")
                count += 1
        except ServiceError:
            return count
        return count

    assert [admitted("a"), admitted("a"), admitted("b")] == [10, 0, 10]
    now += 0.5
    assert [admitted("a"), admitted("b")] == [5, 5]
    now += 60
    assert admitted("a") == 10
