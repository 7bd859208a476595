"""The query language: only what registers and dashboards need to find devices."""

import re

import msgspec

from local_emulator.iot_hub.errors import ErrorCode, HubError
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.twin import JsonObject, twin_document

MAX_PAGE = 1000
_QUERY = re.compile(
    r"\s*SELECT\s+\*\s+FROM\s+devices(?:\s+(?:AS\s+)?(?!WHERE\b)(?P<alias>\w+))?"
    r"(?:\s+WHERE\s+(?:\w+\.)?deviceId\s*=\s*(?P<quote>['\"])(?P<id>[^'\"]+)(?P=quote))?\s*;?\s*",
    re.IGNORECASE,
)


class Page(msgspec.Struct, frozen=True):
    """Twins, and where to go on."""

    twins: list[JsonObject]
    continuation: str | None


def run(hub: Hub, text: str, page_size: int, continuation: str | None) -> Page:
    """Answer `SELECT * FROM devices [WHERE deviceId = '..']`, a page at a time."""
    query = _QUERY.fullmatch(text)
    if query is None:
        raise HubError(
            ErrorCode.NotImplemented,
            "this emulator implements no queries but SELECT * FROM devices [WHERE deviceId = '...']",
        )
    size = min(page_size, MAX_PAGE)
    if query["id"]:
        found = hub.state.device(query["id"])
        devices = [found] if found else []
    else:
        devices = hub.state.devices(after=continuation or "", limit=size + 1)
    twins = []
    for device in devices[:size]:
        twin = hub.state.twin(device.device_id)
        if twin is not None:
            twins.append(twin_document(twin, hub.as_seen_now(device)))
    return Page(twins, devices[size - 1].device_id if len(devices) > size else None)
