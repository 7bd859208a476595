"""HTTP through the host and the genuine worker: keys, paths as they arrive, the first request."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from tests.end_to_end.stack import eventually, running

ODD = "pump#1?x=100%"


async def test_one_function_answers_every_path(tmp_path: Path) -> None:
    """Only with a key; all that the app stands on is the emulators', reached by the settings of the app."""
    async with running(tmp_path) as stack, stack.host("functions") as host, aiohttp.ClientSession() as http:
        url = f"{host.url}/api"
        for path in ("live", "twins", "openapi.json", "nothing"):
            async with http.get(f"{url}/{path}") as answer:
                assert answer.status == 401
        http.headers["x-functions-key"] = host.keys.functions["api"]
        async with http.get(f"{url}/live") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "live"})
        async with http.get(f"{url}/ready") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ready"})
        for path, method, status in (
            ("nothing", "GET", 404),
            ("live", "PUT", 405),
            ("twins/%ff", "GET", 400),
            ("twins/a%2Fb", "GET", 404),
        ):
            async with http.request(method, URL(f"{url}/{path}", encoded=True)) as answer:
                assert (answer.status, answer.content_type) == (status, "application/problem+json")
        async with stack.graph() as graph:
            await graph.upsert_digital_twin(ODD, {"$metadata": {"$model": "dtmi:twinfold:Pump;1"}})
        async with http.get(URL(f"{url}/twins/{quote(ODD, safe='')}", encoded=True)) as answer:
            assert (await answer.json())["twinId"] == ODD
        async with http.get(f"{url}/twins", params={"type": "pump", "search": "#1?"}) as answer:
            assert [twin["twinId"] for twin in (await answer.json())["items"]] == [ODD]

        async def edited() -> int:
            body = {"automaticControl": False}
            path = URL(f"{url}/twins/{quote(ODD, safe='')}?operationId=edit-1", encoded=True)
            async with http.patch(path, json=body) as answer:
                return answer.status

        assert await edited() == 503  # no worker has started: nobody has counted the partitions

        async def accepted() -> bool:
            return await edited() == 202

        sweep, master = f"{host.url}/admin/functions/sweep", {"x-functions-key": host.keys.master}
        async with http.post(sweep, json={"input": ""}, headers=master) as answer:
            assert answer.status == 202
        await eventually(accepted, 60)

        async def taken() -> dict[str, Any] | None:
            async with http.get(f"{url}/operations") as answer:
                (operation,) = (await answer.json())["items"]
            return operation if operation["status"] != "accepted" else None

        operation = await eventually(taken, 60)
        assert (operation["twinId"], operation["kind"], operation["status"]) == (ODD, "edit", "persisted")

        async def shown() -> dict[str, Any] | None:
            async with http.get(URL(f"{url}/twins/{quote(ODD, safe='')}", encoded=True)) as answer:
                found: dict[str, Any] = (await answer.json())["properties"].get("automaticControl", {})
            return found if found.get("source") == "manual" else None

        edit = (await eventually(shown, 60))["edit"]
        assert (edit["value"], edit["author"], edit["isShown"]) == (False, "function key", True)
