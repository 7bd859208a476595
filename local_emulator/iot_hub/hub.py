"""What all operations of the hub work on: its state, its sessions, its way out to the stream."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import msgspec

from local_emulator.iot_hub.device import Device
from local_emulator.iot_hub.errors import ErrorCode, HubError
from local_emulator.iot_hub.session import Session
from local_emulator.iot_hub.state import State


class RoutedEvent(msgspec.Struct, frozen=True):
    """A device message on its way to the stream."""

    device_id: str
    body: bytes
    annotations: Mapping[str, str | int | datetime]
    properties: Mapping[str, str | datetime]
    application_properties: Mapping[str, str]
    # How the service keys a stream by device is not documented; None lets the stream choose any partition.
    partition_key: str | None


type Publisher = Callable[[RoutedEvent], Awaitable[None]]
type Partitioning = Literal["device-id", "scattered"]


@dataclass(frozen=True)
class Hub:
    """The hub behind both of its doors, MQTT and REST."""

    state: State
    publish: Publisher
    clock: Callable[[], float]
    partitioning: Partitioning
    policy_keys: Mapping[str, str]
    sessions: dict[str, Session] = field(default_factory=dict)

    def session(self, device_id: str) -> Session:
        """The session of a registered device."""
        if device_id not in self.sessions:
            self.sessions[device_id] = Session(device_id, self.state.subscriptions(device_id))
        return self.sessions[device_id]

    def device(self, device_id: str) -> Device:
        """A registered device with what only the running hub knows of it."""
        device = self.state.device(device_id)
        if device is None:
            raise HubError(ErrorCode.DeviceNotFound, f"there is no device {device_id!r}")
        return self.as_seen_now(device)

    def as_seen_now(self, device: Device) -> Device:
        """Complete a stored device with its queue length, connection and last activity."""
        count = self.state.count_commands(device.device_id)
        session = self.sessions.get(device.device_id)
        if session is None:
            return msgspec.structs.replace(device, cloud_to_device_message_count=count)
        return msgspec.structs.replace(
            device,
            cloud_to_device_message_count=count,
            connection_state="Connected" if session.link else "Disconnected",
            last_activity_time=max(device.last_activity_time, timestamp(session.last_activity)),
        )

    def now(self) -> str:
        """The present time as the service writes it."""
        return timestamp(self.clock())


def timestamp(seconds: float) -> str:
    """ISO 8601 with seven digits of a second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
