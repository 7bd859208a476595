"""The public port: finds the function of a request, checks keys, forwards; and the admin API."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from aiohttp import web
from multidict import CIMultiDict, MultiMapping

from local_emulator.functions_host.bindings import FunctionSpec, TimerTrigger
from local_emulator.functions_host.errors import WorkerError
from local_emulator.functions_host.keys import Keys
from local_emulator.functions_host.messages import HttpCall
from local_emulator.functions_host.routes import RouteTable
from local_emulator.functions_host.supervisor import GroupSupervisor, NotRunningError

__all__ = ["Front"]

# Production's default for a request body.
_LARGEST_BODY = 100 * 1024 * 1024
# The server frames the answer itself.
_FRAMING = {"content-length", "transfer-encoding", "connection"}


class Front:
    """The web application that answers for the app."""

    def __init__(
        self,
        functions: Sequence[FunctionSpec],
        routes: RouteTable,
        keys: Keys,
        groups: Mapping[str, GroupSupervisor],
        host_id: str,
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._routes = routes
        self._keys = keys
        self._groups = groups
        self._host_id = host_id
        self.application = web.Application(client_max_size=_LARGEST_BODY)
        self.application.router.add_get("/admin/host/status", self._status)
        self.application.router.add_get("/admin/host/ping", self._ping)
        self.application.router.add_get("/admin/functions", self._list)
        self.application.router.add_post("/admin/functions/{name}", self._fire)
        self.application.router.add_route("*", "/admin/{rest:.*}", self._unknown_admin)
        self.application.router.add_route("*", "/{path:.*}", self._call)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        found = self._routes.find(request.method, request.rel_url.raw_path)
        if found is None:
            raise web.HTTPNotFound(text="")
        route, parameters = found
        name = route.function.name
        if not self._keys.open_function(name, route.trigger.auth_level, _shown_key(request)):
            raise web.HTTPUnauthorized(text="")
        call = HttpCall(
            call=0,
            function=name,
            method=request.method,
            url=f"{request.scheme}://{request.host}{request.rel_url.raw_path_qs}",
            headers=_joined(request.headers, lower=True),
            query={key: value for key, value in _joined(request.query).items() if value},
            route=parameters,
            body=await request.read(),
        )
        try:
            reply = await self._groups[route.function.group].call(call)
        except NotRunningError:
            raise web.HTTPServiceUnavailable(text="The function host is not running.") from None
        except WorkerError:
            raise web.HTTPInternalServerError(text="") from None
        headers = CIMultiDict((key, value) for key, value in reply.headers if key.lower() not in _FRAMING)
        return web.Response(status=reply.status, headers=headers, body=reply.body)

    async def _status(self, request: web.Request) -> web.Response:
        del request
        library = version("azure-functions-runtime")
        return web.json_response(
            {"id": self._host_id, "state": "Running", "version": f"4.0-local+runtime.{library}", "errors": []}
        )

    async def _ping(self, request: web.Request) -> web.Response:
        del request
        return web.Response()

    async def _list(self, request: web.Request) -> web.Response:
        self._require_master(request)
        return web.json_response(
            [{"name": item.name, "language": "python", "isDisabled": False} for item in self._functions.values()]
        )

    async def _fire(self, request: web.Request) -> web.Response:
        self._require_master(request)
        function = self._functions.get(request.match_info["name"].lower())
        if function is None:
            raise web.HTTPNotFound(text="")
        if not isinstance(function.trigger, TimerTrigger):
            raise web.HTTPNotImplemented(text="Only timer functions can be started here: call or feed the others.")
        try:
            document = json.loads(await request.read())
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise web.HTTPBadRequest(text='The body must be JSON: {"input": ""}')
        try:
            await self._groups[function.group].fire(function.name)
        except NotRunningError:
            raise web.HTTPServiceUnavailable(text="The function host is not running.") from None
        return web.Response(status=202)

    async def _unknown_admin(self, request: web.Request) -> web.Response:
        self._require_master(request)
        raise web.HTTPNotImplemented(text="This admin operation is not implemented by the local host.")

    def _require_master(self, request: web.Request) -> None:
        if not self._keys.is_master(_shown_key(request)):
            raise web.HTTPUnauthorized(text="")


def _shown_key(request: web.Request) -> str | None:
    return request.headers.get("x-functions-key") or request.query.get("code")


def _joined(values: MultiMapping[str], *, lower: bool = False) -> dict[str, str]:
    """Join repeated values by commas, as the production host does."""
    joined: dict[str, str] = {}
    for key, value in values.items():
        name = key.lower() if lower else key
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined
