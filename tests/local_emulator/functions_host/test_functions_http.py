"""HTTP functions behind the local host, called as clients call them."""

import asyncio
import json
import os
import re
import signal
import stat

import aiohttp
import pytest

from local_emulator.functions_host import AppError, FunctionsHost, SettingsError, UnsupportedError

from .conftest import App, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

ECHO = """
@app.route(route="echo/{name:alpha}/{n:int?}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    seen = {"method": req.method, "url": req.url, "route": dict(req.route_params), "query": dict(req.params),
            "headers": dict(req.headers), "body": list(req.get_body()), "setting": os.environ["GREETING"],
            "home": os.environ.get("SECRET_OF_THE_CALLER"), "trace": context.trace_context.Traceparent,
            "pid": os.getpid()}
    response = func.HttpResponse(json.dumps(seen), status_code=201, headers={"x-own": "yes"})
    response.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=5; Domain=example.org")
    response.headers.add("Set-Cookie", "b=2; expires=Wed, 21 Oct 2026 07:28:00 GMT")
    return response

@app.route(route="files/{*path}")
def files(req: func.HttpRequest) -> str:
    return "path=" + req.route_params["path"]

@app.route(route="files/special", auth_level=func.AuthLevel.ADMIN)
def special(req: func.HttpRequest) -> str:
    return "special"

@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def fails(req: func.HttpRequest) -> str:
    raise ValueError("the reason why")

@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def dies(req: func.HttpRequest) -> str:
    os._exit(3)

@app.route(route="stuck/{how}", auth_level=func.AuthLevel.ANONYMOUS)
async def stuck(req: func.HttpRequest) -> str:
    record(stuck=True)
    if req.route_params["how"] == "blocking":
        time.sleep(60)
    await asyncio.sleep(60)

@app.route(auth_level=func.AuthLevel.ANONYMOUS)
async def slow(req: func.HttpRequest) -> str:
    record(slow="began")
    await asyncio.sleep(0.5)
    record(slow="ended")
    return "done"
"""


def host_of(app: App, **settings: str) -> FunctionsHost:
    """The host for an app."""
    return FunctionsHost(app.folder, settings=app.settings | settings, data_dir=app.data, log=app.log)


async def get(http: aiohttp.ClientSession, url: str, **kwargs: object) -> tuple[int, str]:
    """Status and text of a request."""
    async with http.request("GET", url, **kwargs) as response:
        return response.status, await response.text()


async def test_requests_and_responses_pass_unchanged(
    app: App, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Route, query, headers, body, status, headers and cookies; the caller's environment stays out."""
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "hidden")
    app.write(ECHO)
    async with host_of(app, GREETING="hello") as host:
        url = f"{host.url}/api/ECHO/Bob/4?x=1&y=2&x=3&empty="
        trace = f"00-{'a' * 32}-{'b' * 16}-00"
        async with http.post(url, data=b"\x00\xff", headers={"X-Mixed": "Case", "traceparent": trace}) as response:
            seen = json.loads(await response.text())
            assert response.status == 201
            assert response.headers["x-own"] == "yes"
            assert response.headers.getall("set-cookie") == [
                "a=1; Domain=example.org; Path=/; Max-Age=5; Secure; HttpOnly; SameSite=Lax",
                "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
            ]
        assert seen["method"] == "POST"
        assert seen["url"] == url
        assert seen["route"] == {"name": "Bob", "n": "4"}
        assert seen["query"] == {"x": "1,3", "y": "2"}
        assert seen["headers"]["x-mixed"] == "Case"
        assert seen["body"] == [0, 255]
        assert seen["setting"] == "hello"
        assert seen["home"] is None
        assert seen["trace"] == trace
        assert seen["pid"] == host.pids["http"]
        assert (await get(http, f"{host.url}/api/echo/Bob"))[0] == 201
        assert (await get(http, f"{host.url}/api/echo/B0b"))[0] == 404
        assert (await get(http, f"{host.url}/api/echo/Bob/x"))[0] == 404
        async with http.put(f"{host.url}/api/echo/Bob") as response:
            assert response.status == 404
        assert host.route_urls()["echo"] == f"{host.url}/api/echo/{{name:alpha}}/{{n:int?}}"


async def test_keys_open_what_they_should(app: App, http: aiohttp.ClientSession) -> None:
    """Function, host and master keys by header or query; they survive a restart in a private file."""
    app.write(ECHO)
    async with host_of(app) as host:
        keys = host.keys
        url = f"{host.url}/api/files/a/b%20c"
        assert (await get(http, url))[0] == 401
        assert (await get(http, url, headers={"x-functions-key": "wrong"}))[0] == 401
        assert (await get(http, url, headers={"x-functions-key": keys.functions["special"]}))[0] == 401
        assert await get(http, f"{url}?code={keys.functions['files']}") == (200, "path=a/b c")
        assert (await get(http, url, headers={"x-functions-key": keys.default}))[0] == 200
        assert (await get(http, url, headers={"x-functions-key": keys.master}))[0] == 200
        special = f"{host.url}/api/files/special"
        assert (await get(http, special, headers={"x-functions-key": keys.default}))[0] == 401
        assert await get(http, special, headers={"x-functions-key": keys.master}) == (200, "special")
        assert stat.S_IMODE(host.key_file.stat().st_mode) == 0o600
        assert (await get(http, f"{host.url}/admin/functions"))[0] == 401
        listed = await get(http, f"{host.url}/admin/functions", headers={"x-functions-key": keys.master})
        assert '"files"' in listed[1]
    async with host_of(app) as host:
        assert host.keys == keys
    assert keys.master not in app.log.getvalue()


async def test_failures_and_crashes_are_seen(app: App, http: aiohttp.ClientSession) -> None:
    """An exception is a 500 with its trace in the log; a dead worker is replaced and is 503 until then."""
    app.write(ECHO)
    async with host_of(app, GREETING="") as host:
        assert await get(http, f"{host.url}/api/fails") == (500, "")
        await wait_for(lambda: 'raise ValueError("the reason why")' in app.log.getvalue())
        assert re.search(r"\[http\] \S+ ERROR host: Executed fails \(failed", app.log.getvalue())
        first = host.pids["http"]
        assert (await get(http, f"{host.url}/api/dies"))[0] == 500
        assert (await get(http, f"{host.url}/api/echo/x"))[0] == 503
        async with asyncio.timeout(20):
            while (await get(http, f"{host.url}/api/echo/x"))[0] != 201:
                await asyncio.sleep(0.05)
        assert host.pids["http"] != first
        assert "worker exited with code 3: restart in 0.5 s" in app.log.getvalue()
        os.kill(host.pids["http"], signal.SIGKILL)
        await wait_for(lambda: "worker was ended by SIGKILL" in app.log.getvalue())
        status, text = await get(http, f"{host.url}/admin/host/status")
        assert status == 200
        assert '"state": "Running"' in text


async def test_an_endless_invocation_ends_the_worker(app: App, http: aiohttp.ClientSession) -> None:
    """FunctionTimeout kills the worker, also when the function holds up the event loop."""
    app.write(ECHO)
    app.write_host_json({"functionTimeout": "00:00:00.5"})
    async with host_of(app) as host:
        assert (await get(http, f"{host.url}/api/stuck/waiting"))[0] == 500
        await wait_for(lambda: "stuck ran longer than functionTimeout" in app.log.getvalue())
        first = host.pids.get("http")
        await wait_for(lambda: host.pids.get("http", first) != first)
        async with asyncio.timeout(20):
            while (await get(http, f"{host.url}/api/stuck/blocking"))[0] == 503:
                await asyncio.sleep(0.05)
        await wait_for(lambda: app.log.getvalue().count("restart in") == 2)
    assert re.search(r"Timeout \(0:00:0.*in stuck", app.log.getvalue(), re.DOTALL)


async def test_stopping_lets_invocations_finish(app: App, http: aiohttp.ClientSession) -> None:
    """What runs when the host stops is finished and answered."""
    app.write(ECHO)
    async with host_of(app) as host:
        call = asyncio.create_task(get(http, f"{host.url}/api/slow"))
        await app.until(lambda records: records)
        pid = host.pids["http"]
    assert await call == (200, "done")
    assert [entry["slow"] for entry in app.records()] == ["began", "ended"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_the_route_prefix_can_be_empty(app: App, http: aiohttp.ClientSession) -> None:
    """One catch-all function can answer everything but the admin API."""
    app.write("""
@app.route(route="{*path}", auth_level=func.AuthLevel.ANONYMOUS)
def everything(req: func.HttpRequest) -> str:
    return req.route_params.get("path", "root")
""")
    app.write_host_json({"extensions": {"http": {"routePrefix": ""}}})
    async with host_of(app) as host:
        assert await get(http, f"{host.url}/a/b") == (200, "a/b")
        assert await get(http, f"{host.url}/") == (200, "root")
        assert (await get(http, f"{host.url}/admin/host/ping"))[0] == 200


async def test_an_app_that_cannot_be_loaded_says_why(app: App) -> None:
    """A broken import shows the app's own traceback."""
    app.write("import a_module_that_is_not_there\n")
    with pytest.raises(AppError, match=r"(?s)a_module_that_is_not_there.*function_app\.py"):
        async with host_of(app):
            pass


async def test_an_app_without_functions_is_an_error(app: App) -> None:
    """The worker library itself would say nothing."""
    with pytest.raises(AppError, match=r"no functions found: .*function_app\.py does not exist"):
        async with host_of(app):
            pass
    app.write("")
    with pytest.raises(AppError, match=r"no functions found: .* registers none"):
        async with host_of(app):
            pass


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (
            '@app.queue_trigger(arg_name="m", queue_name="q", connection="C")\ndef f(m: func.QueueMessage): ...',
            UnsupportedError,
            "queueTrigger",
        ),
        (
            '@app.event_hub_message_trigger("e", "C", "h")\ndef f(e: func.EventHubEvent): ...',
            UnsupportedError,
            "cardinality ONE",
        ),
        (
            '@app.timer_trigger(arg_name="t", schedule="%NOT_SET%")\ndef f(t: func.TimerRequest): ...',
            SettingsError,
            "NOT_SET",
        ),
        (
            '@app.timer_trigger(arg_name="t", schedule="0 0 * * * *")\ndef f(t: func.TimerRequest): ...',
            SettingsError,
            "AzureWebJobsStorage",
        ),
        ('@app.route(route="{x:weird}")\ndef f(req: func.HttpRequest) -> str: ...', UnsupportedError, "weird"),
    ],
)
async def test_what_is_not_there_is_refused_at_start(app: App, source: str, error: type[Exception], words: str) -> None:
    """Nothing is accepted and then silently left undone."""
    app.write(source)
    with pytest.raises(error, match=words):
        async with host_of(app):
            pass


async def test_only_loopback_is_listened_on(app: App) -> None:
    """Function keys are no protection fit for a network."""
    with pytest.raises(SettingsError, match="loopback"):
        FunctionsHost(app.folder, settings={}, data_dir=app.data, host="0.0.0.0")
