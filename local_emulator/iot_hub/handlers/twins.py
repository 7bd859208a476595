"""Operations on twins, from back ends and from devices."""

import msgspec

from local_emulator.iot_hub.errors import ErrorCode, HubError
from local_emulator.iot_hub.handlers.preconditions import check_etag
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.topics import DESIRED
from local_emulator.iot_hub.twin import (
    JsonObject,
    Twin,
    TwinChange,
    changed_by_back_end,
    changed_by_device,
    replacement_of,
    twin_document,
    without_reserved,
)


def get(hub: Hub, device_id: str) -> JsonObject:
    """The whole twin."""
    return twin_document(_stored(hub, device_id), hub.device(device_id))


def change(hub: Hub, device_id: str, asked: TwinChange, if_match: str | None, *, is_replacement: bool) -> JsonObject:
    """Merge into tags and desired properties, or replace them; a listening device is told."""
    twin = _stored(hub, device_id)
    check_etag(if_match, twin.etag)
    patch = replacement_of(twin, asked) if is_replacement else asked
    changed = changed_by_back_end(twin, patch, hub.now())
    hub.state.save_twin(device_id, changed)
    if patch.desired is not None:
        notice = {**without_reserved(patch.desired), "$version": changed.desired.version}
        hub.session(device_id).deliver(
            DESIRED,
            f"$iothub/twin/PATCH/properties/desired/?$version={changed.desired.version}",
            msgspec.json.encode(notice),
        )
    return get(hub, device_id)


def get_for_device(hub: Hub, device_id: str) -> bytes:
    """Both sides of the properties, without metadata."""
    twin = _stored(hub, device_id)
    return msgspec.json.encode(
        {
            "desired": twin.desired.document(with_metadata=False),
            "reported": twin.reported.document(with_metadata=False),
        }
    )


def report(hub: Hub, device_id: str, body: bytes) -> int:
    """Merge a device's patch into its reported properties; their new version."""
    try:
        patch = msgspec.json.decode(body, type=JsonObject)
    except msgspec.DecodeError:
        raise HubError(ErrorCode.IotHubFormatError, "the patch is no JSON object") from None
    changed = changed_by_device(_stored(hub, device_id), patch, hub.now())
    hub.state.save_twin(device_id, changed)
    return changed.reported.version


def _stored(hub: Hub, device_id: str) -> Twin:
    twin = hub.state.twin(device_id)
    if twin is None:
        raise HubError(ErrorCode.DeviceNotFound, f"there is no device {device_id!r}")
    return twin
