"""What is on the wire, where the genuine client does not show it."""

import io
import json
from typing import Any

import aiohttp
import pytest

from local_emulator.digital_twins import DigitalTwins

from .models import ROOM, of

_VERSION = {"api-version": "2023-10-31"}


async def _send(
    service: DigitalTwins, method: str, path: str, body: object = None, **options: Any
) -> tuple[aiohttp.ClientResponse, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, service.url + path, json=body, **{"params": _VERSION, **options}) as answer,
    ):
        return answer, await answer.json(content_type=None) if await answer.read() else None


async def test_every_version_of_the_interface_is_served(service: DigitalTwins) -> None:
    """The four that exist, and no other."""
    for version in ("2020-10-31", "2022-05-31", "2023-06-30", "2023-10-31"):
        answer, _ = await _send(service, "GET", "/models", params={"api-version": version})
        assert answer.status == 200
    answer, body = await _send(service, "GET", "/models", params={"api-version": "2021-01-01"})
    assert (answer.status, body["error"]["code"]) == (400, "UnsupportedApiVersion")
    answer, body = await _send(service, "GET", "/models", params={})
    assert (answer.status, body["error"]["code"]) == (400, "MissingApiVersionParameter")


async def test_the_first_version_hides_the_time_of_last_update(service: DigitalTwins) -> None:
    """It came with the second."""
    await _send(service, "POST", "/models", [ROOM])
    _, newer = await _send(service, "PUT", "/digitaltwins/r1", of(ROOM))
    _, older = await _send(service, "GET", "/digitaltwins/r1", params={"api-version": "2020-10-31"})
    assert newer["$metadata"].keys() - older["$metadata"].keys() == {"$lastUpdateTime"}


async def test_a_token_that_is_none_is_refused(service: DigitalTwins) -> None:
    """No token is let pass, a broken one is not."""
    for value in ("Bearer", "Basic YTpi", "Bearer a b", ""):
        answer, body = await _send(service, "GET", "/models", headers={"Authorization": value})
        assert (answer.status, body) == (401, {"statusCode": 401, "message": "Unauthorized"})
    answer, _ = await _send(service, "GET", "/models", headers={"Authorization": "Bearer e30.e30.x-_"})
    assert answer.status == 200


async def test_answers_have_the_headers_of_the_service(service: DigitalTwins) -> None:
    """Tracing, transport security, the error's code; none of an error's code in the first version."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer, _ = await _send(service, "GET", "/models", headers={"traceparent": trace})
    assert answer.headers["traceresponse"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert answer.headers["Strict-Transport-Security"] == "max-age=2592000"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    answer, _ = await _send(service, "GET", "/digitaltwins/r1")
    assert answer.headers["x-ms-error-code"] == "DigitalTwinNotFound"
    answer, _ = await _send(service, "GET", "/digitaltwins/r1", params={"api-version": "2020-10-31"})
    assert "x-ms-error-code" not in answer.headers
    await _send(service, "POST", "/models", [ROOM])
    await _send(service, "PUT", "/digitaltwins/r1", of(ROOM))
    answer, body = await _send(service, "DELETE", "/digitaltwins/r1")
    assert (answer.status, body, answer.headers.get("Content-Type")) == (204, None, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/eventroutes"),
        ("PUT", "/eventroutes/r"),
        ("GET", "/jobs/imports"),
        ("PUT", "/jobs/imports/j"),
        ("POST", "/jobs/imports/j/cancel"),
        ("POST", "/jobs/deletions"),
    ],
)
async def test_what_is_missing_says_so(service: DigitalTwins, method: str, path: str) -> None:
    """An operation of the service that the emulator lacks is no 404."""
    answer, body = await _send(service, method, path)
    assert (answer.status, body["error"]["code"]) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/twins"), ("PUT", "/models/x"), ("GET", "/digitaltwins/a/b/c/d/e")]
)
async def test_other_paths_do_not_exist(service: DigitalTwins, method: str, path: str) -> None:
    """Nothing is there."""
    answer, body = await _send(service, method, path)
    assert (answer.status, body["error"]["code"]) == (404, "NotFound")


async def test_bodies_have_to_be_json(service: DigitalTwins) -> None:
    """A broken or missing body is named."""
    answer, body = await _send(service, "POST", "/models", data=b"[{")
    assert (answer.status, body["error"]["code"]) == (400, "InvalidArgument")
    answer, body = await _send(service, "POST", "/models", data=b"")
    assert (answer.status, body["error"]["message"]) == (400, "A non-empty request body is required.")


async def test_links_name_the_host_that_the_caller_knows(service: DigitalTwins) -> None:
    """As behind a name of one's own."""
    models = [{**ROOM, "@id": f"dtmi:test:R{n};1"} for n in range(3)]
    await _send(service, "POST", "/models", models)
    headers = {"Host": "twins.test:1", "max-items-per-page": "2"}
    _, body = await _send(service, "GET", "/models", headers=headers)
    assert body["nextLink"].startswith("http://twins.test:1/models?continuationToken=")
    for size in ("0", "x"):
        answer, _ = await _send(service, "GET", "/models", headers={"max-items-per-page": size})
        assert answer.status == 400
    answer, _ = await _send(service, "GET", "/models", params={**_VERSION, "continuationToken": "!"})
    assert answer.status == 400


async def test_telemetry_needs_an_identifier_and_a_readable_time(service: DigitalTwins) -> None:
    """The clients' older form of the time is read too."""
    await _send(service, "POST", "/models", [ROOM])
    await _send(service, "PUT", "/digitaltwins/r1", of(ROOM))
    path = "/digitaltwins/r1/telemetry"
    answer, body = await _send(service, "POST", path, {})
    assert (answer.status, "Message-Id" in body["error"]["message"]) == (400, True)
    for when, status in (("2020-11-25 10:06:20.243959", 204), ("2024-01-01T00:00:00.5Z", 204), ("now", 400)):
        headers = {"Message-Id": "m", "Telemetry-Source-Time": when}
        answer, _ = await _send(service, "POST", path, {}, headers=headers)
        assert answer.status == status


async def test_models_have_a_largest_size(service: DigitalTwins) -> None:
    """One megabyte each."""
    large = io.BytesIO(json.dumps([{**ROOM, "comment": "x" * 1024 * 1024}]).encode())
    answer, body = await _send(service, "POST", "/models", data=large)
    assert (answer.status, body["error"]["code"]) == (400, "LimitExceeded")
