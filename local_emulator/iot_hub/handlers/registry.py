"""The identity registry: devices come, change and go."""

import msgspec

from local_emulator.iot_hub.device import (
    Authentication,
    Capabilities,
    Device,
    check_device_id,
    complete_authentication,
    new_etag,
)
from local_emulator.iot_hub.errors import ErrorCode, HubError
from local_emulator.iot_hub.handlers.preconditions import check_etag
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.twin import Twin, TwinChange, changed_by_back_end

MAX_LISTED = 1000
# 100 ns since the year 1, as the service's generation ids.
_TICKS_AT_1970 = 621_355_968_000_000_000


class RegistryStatistics(msgspec.Struct, frozen=True, rename="camel"):
    """How many devices there are."""

    total_device_count: int
    enabled_device_count: int
    disabled_device_count: int


class ServiceStatistics(msgspec.Struct, frozen=True, rename="camel"):
    """How many devices are connected."""

    connected_device_count: int


def put(hub: Hub, asked: Device, if_match: str | None) -> Device:
    """Create a device; with If-Match, update it."""
    if if_match is None:
        return create(hub, asked, TwinChange())
    return update(hub, asked, if_match)


def create(hub: Hub, asked: Device, content: TwinChange) -> Device:
    """Register a device with a new twin."""
    check_device_id(asked.device_id)
    _check_status(asked.status)
    if hub.state.device(asked.device_id) is not None:
        raise HubError(ErrorCode.DeviceAlreadyExists, f"the device {asked.device_id!r} is registered already")
    device = Device(
        device_id=asked.device_id,
        generation_id=str(_TICKS_AT_1970 + int(hub.clock() * 10_000_000)),
        etag=new_etag(),
        status=asked.status,
        status_reason=asked.status_reason,
        authentication=complete_authentication(asked.authentication, None),
        capabilities=asked.capabilities,
    )
    twin = Twin()
    if content.tags or content.desired:
        twin = changed_by_back_end(twin, content, hub.now())
    hub.state.add_device(device, twin)
    return device


def update(hub: Hub, asked: Device, if_match: str) -> Device:
    """Change a device; one that is disabled loses its connection."""
    kept = hub.device(asked.device_id)
    check_etag(if_match, kept.etag)
    _check_status(asked.status)
    changed = msgspec.structs.replace(
        kept,
        etag=new_etag(),
        status=asked.status,
        status_reason=asked.status_reason,
        status_updated_time=hub.now() if asked.status != kept.status else kept.status_updated_time,
        authentication=complete_authentication(asked.authentication, kept.authentication),
        capabilities=asked.capabilities,
    )
    hub.state.save_device(changed)
    if changed.status != "enabled":
        _kick(hub, changed.device_id, "the device has been disabled")
    return changed


def _check_status(status: str) -> None:
    if status not in {"enabled", "disabled"}:
        raise HubError(ErrorCode.ArgumentInvalid, f"{status!r} is no status, only 'enabled' and 'disabled' are")


def delete(hub: Hub, device_id: str, if_match: str | None) -> None:
    """Remove a device with all that belongs to it, and close its connection."""
    check_etag(if_match, hub.device(device_id).etag)
    with hub.state.transaction():
        hub.state.delete_device(device_id)
    _kick(hub, device_id, "the device has been deleted")
    hub.sessions.pop(device_id, None)


def _kick(hub: Hub, device_id: str, reason: str) -> None:
    session = hub.sessions.get(device_id)
    if session is not None and session.link is not None:
        session.link.kick(reason)


def get(hub: Hub, device_id: str) -> Device:
    """One device."""
    return hub.device(device_id)


def list_devices(hub: Hub, top: int) -> list[Device]:
    """The first devices, by id."""
    return [hub.as_seen_now(device) for device in hub.state.devices(limit=min(top, MAX_LISTED))]


def registry_statistics(hub: Hub) -> RegistryStatistics:
    """Count the devices."""
    devices = hub.state.devices()
    enabled = sum(device.status == "enabled" for device in devices)
    return RegistryStatistics(len(devices), enabled, len(devices) - enabled)


def service_statistics(hub: Hub) -> ServiceStatistics:
    """Count the connections."""
    return ServiceStatistics(sum(session.link is not None for session in hub.sessions.values()))


class DesiredOnly(msgspec.Struct, frozen=True):
    """The properties that a bulk import may set."""

    desired: dict[str, object] | None = None


class ImportDevice(msgspec.Struct, frozen=True, rename="camel"):
    """One line of a bulk operation."""

    id: str
    import_mode: str = "createOrUpdate"
    e_tag: str | None = None
    status: str = "enabled"
    status_reason: str | None = None
    authentication: Authentication = Authentication()
    capabilities: Capabilities = Capabilities()
    tags: dict[str, object] | None = None
    properties: DesiredOnly = DesiredOnly()

    def device(self) -> Device:
        """The identity it asks for."""
        return Device(
            device_id=self.id,
            status=self.status,
            status_reason=self.status_reason,
            authentication=self.authentication,
            capabilities=self.capabilities,
        )


class BulkError(msgspec.Struct, frozen=True, rename="camel"):
    """Why one line failed."""

    device_id: str
    error_code: str
    error_status: str


class BulkResult(msgspec.Struct, frozen=True, rename="camel"):
    """What became of all lines."""

    is_successful: bool
    errors: list[BulkError]
    warnings: list[BulkError] = []


def apply_in_bulk(hub: Hub, lines: list[ImportDevice]) -> BulkResult:
    """Apply each line by itself and tell which ones failed."""
    if len(lines) > 100:
        raise HubError(ErrorCode.TooManyDevices, f"{len(lines)} devices in one request, at most 100 are taken")
    errors = []
    for line in lines:
        try:
            _apply(hub, line)
        except HubError as error:
            errors.append(BulkError(line.id, error.code.name, error.detail))
    return BulkResult(not errors, errors)


def _apply(hub: Hub, line: ImportDevice) -> None:
    match line.import_mode:
        case "create":
            create(hub, line.device(), TwinChange(line.tags, line.properties.desired))
        case "update":
            update(hub, line.device(), "*")
        case "updateIfMatchETag":
            update(hub, line.device(), line.e_tag or "")
        case "delete":
            delete(hub, line.id, None)
        case "deleteIfMatchETag":
            delete(hub, line.id, line.e_tag or "")
        case mode:
            raise HubError(ErrorCode.NotImplemented, f"the import mode {mode!r} is not implemented by this emulator")
