"""The device twin: a document of tags, desired and reported properties, and how it changes."""

import base64
from typing import Any, Literal

import msgspec

from local_emulator.iot_hub.device import NEVER, Device
from local_emulator.iot_hub.errors import ErrorCode, HubError

# What users put into a twin is free-form JSON.
type JsonObject = dict[str, Any]
type Side = Literal["desired", "reported"]

MAX_TAGS_BYTES = 8 * 1024
MAX_PROPERTIES_BYTES = 32 * 1024
MAX_DEPTH = 10
MAX_TEXT_BYTES = 4096
MAX_KEY_BYTES = 1024
MAX_INTEGER = 4503599627370496
_RESERVED = ("$metadata", "$version")


class Properties(msgspec.Struct, frozen=True):
    """One side of the properties with its own version and a mark of last change for each of its parts."""

    values: JsonObject = {}
    metadata: JsonObject = msgspec.field(default_factory=lambda: {"$lastUpdated": NEVER})
    version: int = 1

    def document(self, *, with_metadata: bool) -> JsonObject:
        """The properties as clients see them."""
        metadata = {"$metadata": self.metadata} if with_metadata else {}
        return {**self.values, **metadata, "$version": self.version}


class Twin(msgspec.Struct, frozen=True):
    """What the hub stores of a twin; the rest of the document comes from the device's identity."""

    model_id: str = ""
    version: int = 1
    etag_number: int = 1
    tags: JsonObject = {}
    desired: Properties = Properties()
    reported: Properties = Properties()

    @property
    def etag(self) -> str:
        """A counter in base64: it moves with tags and desired properties."""
        return base64.b64encode(self.etag_number.to_bytes(8)).decode()


class TwinChange(msgspec.Struct, frozen=True):
    """What a back end asks for."""

    tags: JsonObject | None = None
    desired: JsonObject | None = None


def changed_by_back_end(twin: Twin, change: TwinChange, now: str) -> Twin:
    """Merge a patch into tags and desired properties; null removes."""
    tags = twin.tags
    if change.tags is not None:
        tags, _ = _merge(twin.tags, {}, _checked(change.tags), {})
    desired = twin.desired
    if change.desired is not None:
        desired = _patched(twin.desired, "desired", change.desired, now)
    return _checked_size(
        msgspec.structs.replace(
            twin, tags=tags, desired=desired, version=twin.version + 1, etag_number=twin.etag_number + 1
        )
    )


def replacement_of(twin: Twin, change: TwinChange) -> TwinChange:
    """The patch that makes tags and desired properties equal to those given, and removes all others."""
    return TwinChange(
        tags=_removing(twin.tags, change.tags or {}), desired=_removing(twin.desired.values, change.desired or {})
    )


def _removing(old: JsonObject, new: JsonObject) -> JsonObject:
    patch: JsonObject = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        before = old.get(key)
        patch[key] = _removing(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return patch


def changed_by_device(twin: Twin, reported: JsonObject, now: str) -> Twin:
    """Merge a patch of the device into its reported properties."""
    return _checked_size(
        msgspec.structs.replace(
            twin, reported=_patched(twin.reported, "reported", reported, now), version=twin.version + 1
        )
    )


def _patched(properties: Properties, side: Side, patch: JsonObject, now: str) -> Properties:
    version = properties.version + 1
    # The service stamps the version of the change on desired properties only.
    stamp: JsonObject = {"$lastUpdated": now}
    if side == "desired":
        stamp["$lastUpdatedVersion"] = version
    values, metadata = _merge(properties.values, properties.metadata, _checked(without_reserved(patch)), stamp)
    return Properties(values=values, metadata=metadata, version=version)


def without_reserved(patch: JsonObject) -> JsonObject:
    """Leave out what clients send back although only the service sets it."""
    return {key: value for key, value in patch.items() if key not in _RESERVED}


def _merge(
    values: JsonObject, metadata: JsonObject, patch: JsonObject, stamp: JsonObject
) -> tuple[JsonObject, JsonObject]:
    merged, marks = dict(values), {**metadata, **stamp}
    for key, change in patch.items():
        if change is None:
            merged.pop(key, None)
            marks.pop(key, None)
        elif isinstance(change, dict):
            before = merged.get(key)
            inner, inner_marks = (before, marks.get(key, {})) if isinstance(before, dict) else ({}, {})
            merged[key], marks[key] = _merge(inner, inner_marks, change, stamp)
        else:
            merged[key], marks[key] = change, dict(stamp)
    return merged, marks


def _checked(content: JsonObject, depth: int = 1) -> JsonObject:
    """Raise unless keys, texts, numbers and depth are within the service's limits."""
    if depth > MAX_DEPTH:
        raise HubError(ErrorCode.ArgumentInvalid, f"twin content nests deeper than {MAX_DEPTH} levels")
    for key, value in content.items():
        if len(key.encode()) > MAX_KEY_BYTES or any(sign in ".$ " or not sign.isprintable() for sign in key):
            raise HubError(ErrorCode.ArgumentInvalid, f"{key!r} is not allowed as a name in a twin")
        _check_value(key, value, depth)
    return content


def _check_value(key: str, value: object, depth: int) -> None:
    match value:
        case dict():
            _checked(value, depth + 1)
        case list():
            for item in value:
                _check_value(key, item, depth + 1)
        case str() if len(value.encode()) > MAX_TEXT_BYTES:
            raise HubError(ErrorCode.ArgumentInvalid, f"the text of {key!r} is longer than {MAX_TEXT_BYTES} bytes")
        case int() if abs(value) > MAX_INTEGER:
            raise HubError(ErrorCode.ArgumentInvalid, f"the number of {key!r} is beyond ±{MAX_INTEGER}")
        case _:
            pass


def _checked_size(twin: Twin) -> Twin:
    for name, content, limit in (
        ("tags", twin.tags, MAX_TAGS_BYTES),
        ("desired properties", twin.desired.values, MAX_PROPERTIES_BYTES),
        ("reported properties", twin.reported.values, MAX_PROPERTIES_BYTES),
    ):
        if len(msgspec.json.encode(content)) > limit:
            raise HubError(ErrorCode.ArgumentInvalid, f"the {name} are larger than {limit} bytes")
    return twin


def twin_document(twin: Twin, device: Device) -> JsonObject:
    """The whole twin as back ends see it."""
    return {
        "deviceId": device.device_id,
        "etag": twin.etag,
        "deviceEtag": device.etag,
        "status": device.status,
        **({"statusReason": device.status_reason} if device.status_reason else {}),
        "statusUpdateTime": device.status_updated_time,
        "connectionState": device.connection_state,
        "lastActivityTime": device.last_activity_time,
        "cloudToDeviceMessageCount": device.cloud_to_device_message_count,
        "authenticationType": device.authentication.type,
        "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        "modelId": twin.model_id,
        "version": twin.version,
        **({"tags": twin.tags} if twin.tags else {}),
        "properties": {
            "desired": twin.desired.document(with_metadata=True),
            "reported": twin.reported.document(with_metadata=True),
        },
        "capabilities": {"iotEdge": device.capabilities.iot_edge},
    }
