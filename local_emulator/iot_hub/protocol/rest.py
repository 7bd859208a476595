"""The REST API, version 2021-04-12: routes to handlers, errors to the service's shapes."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from local_emulator.iot_hub.device import Device
from local_emulator.iot_hub.errors import ErrorCode, HubError
from local_emulator.iot_hub.handlers import commands, methods, query, registry, twins
from local_emulator.iot_hub.hub import Hub, timestamp
from local_emulator.iot_hub.protocol.access import check_access
from local_emulator.iot_hub.sas import Permission
from local_emulator.iot_hub.state import DeviceMessage
from local_emulator.iot_hub.twin import JsonObject, TwinChange

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HUB = web.AppKey("hub", Hub)

# Header of the device's own HTTP protocol, and the name in the bag of a cloud-to-device message.
_MESSAGE_HEADERS = (
    ("iothub-messageid", "$.mid"),
    ("iothub-correlationid", "$.cid"),
    ("iothub-userid", "$.uid"),
    ("iothub-contenttype", "$.ct"),
    ("iothub-contentencoding", "$.ce"),
    ("iothub-expiry", "$.exp"),
    ("iothub-ack", "iothub-ack"),
)
_APPLICATION_HEADER = "iothub-app-"
_METHOD_ERRORS = {ErrorCode.DeviceNotOnline, ErrorCode.GatewayTimeout}


class _DesiredPatch(msgspec.Struct, frozen=True):
    desired: JsonObject | None = None


class _TwinBody(msgspec.Struct, frozen=True):
    tags: JsonObject | None = None
    properties: _DesiredPatch | None = None


class _QueryBody(msgspec.Struct, frozen=True):
    query: str


def application(hub: Hub) -> web.Application:
    """All routes; any other request is told that it is not implemented."""
    app = web.Application(middlewares=[_answer_errors])
    app[HUB] = hub
    read, write, serve = Permission.REGISTRY_READ, Permission.REGISTRY_WRITE, Permission.SERVICE_CONNECT
    any_of = read | serve
    for method, path, needed, handler in (
        ("GET", "/devices", read, _list_devices),
        ("POST", "/devices", write, _bulk),
        ("POST", "/devices/query", any_of, _query),
        ("GET", "/devices/{id}", read, _get_device),
        ("PUT", "/devices/{id}", write, _put_device),
        ("DELETE", "/devices/{id}", write, _delete_device),
        ("DELETE", "/devices/{id}/commands", serve, _purge),
        ("POST", "/devices/{id}/messages/devicebound", serve, _send_to_device),
        ("GET", "/twins/{id}", serve, _get_twin),
        ("PATCH", "/twins/{id}", serve, _change_twin),
        ("PUT", "/twins/{id}", serve, _change_twin),
        ("POST", "/twins/{id}/methods", serve, _invoke),
        ("GET", "/statistics/devices", read, _registry_statistics),
        ("GET", "/statistics/service", any_of, _service_statistics),
        ("*", "/{rest:.*}", ~Permission(0), _not_implemented),
    ):
        app.router.add_route(method, path, _guarded(handler, needed))
    return app


def _guarded(handler: Handler, needed: Permission) -> Handler:
    async def checked(request: web.Request) -> web.StreamResponse:
        check_access(request.app[HUB], request, needed)
        if "api-version" not in request.query:
            raise HubError(ErrorCode.InvalidProtocolVersion, "the query parameter api-version is missing")
        return await handler(request)

    return checked


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HubError as error:
        return _error_response(error, request.app[HUB])
    except msgspec.DecodeError as error:
        return _error_response(HubError(ErrorCode.IotHubFormatError, str(error)), request.app[HUB])


def _error_response(error: HubError, hub: Hub) -> web.Response:
    code, tracking_id, now = error.code, secrets.token_hex(16), datetime.fromtimestamp(hub.clock(), UTC)
    message = f"ErrorCode:{code.name};{error.detail}"
    if code in _METHOD_ERRORS:
        # Errors of direct methods come as JSON within JSON.
        details = {
            "errorCode": code.number,
            "trackingId": tracking_id,
            "message": error.detail,
            "info": {},
            "timestampUtc": timestamp(hub.clock()),
        }
        message = msgspec.json.encode(details).decode()
    exception_message = f"Tracking ID:{tracking_id}-TimeStamp:{now:%m/%d/%Y %H:%M:%S}"
    return _json(
        {"Message": message, "ExceptionMessage": exception_message},
        status=code.http_status,
        headers={"iothub-errorcode": code.name},
    )


def _json(content: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content),
        status=status,
        headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
    )


def _if_match(request: web.Request) -> str | None:
    return request.headers.get("If-Match")


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdigit() or int(text) < 1:
        raise HubError(ErrorCode.ArgumentInvalid, f"{text!r} is no count")
    return int(text)


async def _list_devices(request: web.Request) -> web.Response:
    top = _number(request.query.get("top"), registry.MAX_LISTED)
    return _json(registry.list_devices(request.app[HUB], top))


async def _bulk(request: web.Request) -> web.Response:
    lines = msgspec.json.decode(await request.read(), type=list[registry.ImportDevice])
    result = registry.apply_in_bulk(request.app[HUB], lines)
    return _json(result, status=200 if result.is_successful else 400)


async def _get_device(request: web.Request) -> web.Response:
    return _device(registry.get(request.app[HUB], request.match_info["id"]))


async def _put_device(request: web.Request) -> web.Response:
    asked = msgspec.json.decode(await request.read(), type=Device)
    if asked.device_id != request.match_info["id"]:
        raise HubError(ErrorCode.ArgumentInvalid, "the device id of the body is not the one of the address")
    return _device(registry.put(request.app[HUB], asked, _if_match(request)))


def _device(device: Device) -> web.Response:
    return _json(device, headers={"ETag": f'"{device.etag}"'})


async def _delete_device(request: web.Request) -> web.Response:
    registry.delete(request.app[HUB], request.match_info["id"], _if_match(request))
    return web.Response(status=204)


async def _purge(request: web.Request) -> web.Response:
    return _json(commands.purge(request.app[HUB], request.match_info["id"]))


async def _send_to_device(request: web.Request) -> web.Response:
    """Queue a message: the service takes them over AMQP only, this way in is the emulator's own."""
    properties: list[tuple[str, str | None]] = [
        (name, request.headers[header]) for header, name in _MESSAGE_HEADERS if header in request.headers
    ]
    properties += [
        (header[len(_APPLICATION_HEADER) :], value)
        for header, value in request.headers.items()
        if header.lower().startswith(_APPLICATION_HEADER)
    ]
    message = DeviceMessage(await request.read(), tuple(properties))
    expires_at = _seconds(request.headers.get("iothub-expiry"))
    commands.enqueue(request.app[HUB], request.match_info["id"], message, expires_at)
    return web.Response(status=204)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise HubError(ErrorCode.ArgumentInvalid, f"{text!r} is no time of expiry") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


async def _get_twin(request: web.Request) -> web.Response:
    return _twin(twins.get(request.app[HUB], request.match_info["id"]))


async def _change_twin(request: web.Request) -> web.Response:
    body = msgspec.json.decode(await request.read(), type=_TwinBody)
    asked = TwinChange(body.tags, body.properties.desired if body.properties else None)
    is_replacement = request.method == "PUT"
    device_id = request.match_info["id"]
    return _twin(twins.change(request.app[HUB], device_id, asked, _if_match(request), is_replacement=is_replacement))


def _twin(document: JsonObject) -> web.Response:
    return _json(document, headers={"ETag": f'"{document["etag"]}"'})


async def _invoke(request: web.Request) -> web.Response:
    call = msgspec.json.decode(await request.read(), type=methods.MethodCall)
    return _json(await methods.invoke(request.app[HUB], request.match_info["id"], call))


async def _query(request: web.Request) -> web.Response:
    body = msgspec.json.decode(await request.read(), type=_QueryBody)
    size = _number(request.headers.get("x-ms-max-item-count"), query.MAX_PAGE)
    page = query.run(request.app[HUB], body.query, size, request.headers.get("x-ms-continuation"))
    headers = {"x-ms-item-type": "Twin"}
    if page.continuation is not None:
        headers["x-ms-continuation"] = page.continuation
    return _json(page.twins, headers=headers)


async def _registry_statistics(request: web.Request) -> web.Response:
    return _json(registry.registry_statistics(request.app[HUB]))


async def _service_statistics(request: web.Request) -> web.Response:
    return _json(registry.service_statistics(request.app[HUB]))


async def _not_implemented(request: web.Request) -> web.Response:
    raise HubError(ErrorCode.NotImplemented, f"{request.method} {request.path} is not implemented by this emulator")
