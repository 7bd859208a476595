"""Cloud-to-device messages: a queue for each device, emptied by its acknowledgements."""

import msgspec

from local_emulator.iot_hub.errors import ErrorCode, HubError
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.protocol.packets import Publish
from local_emulator.iot_hub.session import Session
from local_emulator.iot_hub.state import DeviceMessage
from local_emulator.iot_hub.topics import command_topic, commands_filter

MAX_QUEUE_LENGTH = 50
MAX_MESSAGE_BYTES = 65_536
MAX_DELIVERIES = 10
TIME_TO_LIVE_SECONDS = 3600.0


class PurgeResult(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a purge."""

    total_messages_purged: int
    device_id: str
    module_id: str | None = None


def enqueue(hub: Hub, device_id: str, message: DeviceMessage, expires_at: float | None) -> None:
    """Queue a message, and deliver it if the device listens."""
    hub.device(device_id)
    size = len(message.payload) + sum(len(name) + len(value or "") for name, value in message.properties)
    if size > MAX_MESSAGE_BYTES:
        raise HubError(ErrorCode.MessageTooLarge, f"the message has {size} bytes, not {MAX_MESSAGE_BYTES} at most")
    now = hub.clock()
    hub.state.delete_expired_commands(device_id, now)
    if hub.state.count_commands(device_id) >= MAX_QUEUE_LENGTH:
        raise HubError(
            ErrorCode.DeviceMaximumQueueDepthExceeded,
            f"the queue of {device_id!r} holds {MAX_QUEUE_LENGTH} messages already",
        )
    address = ("$.to", f"/devices/{device_id}/messages/deviceBound")
    addressed = DeviceMessage(message.payload, (address, *message.properties))
    hub.state.add_command(device_id, addressed, now + TIME_TO_LIVE_SECONDS if expires_at is None else expires_at)
    deliver(hub, hub.session(device_id))


def deliver(hub: Hub, session: Session) -> None:
    """Send what is queued and not on its way, if the device listens."""
    topic_filter = commands_filter(session.device_id)
    qos = session.subscriptions.get(topic_filter)
    if session.link is None or qos is None:
        return
    hub.state.delete_expired_commands(session.device_id, hub.clock())
    on_the_way = set(session.unacknowledged.values())
    for queued in hub.state.commands(session.device_id):
        if queued.number in on_the_way:
            continue
        if queued.deliveries >= MAX_DELIVERIES:
            hub.state.delete_command(queued.number)
            continue
        packet_id = 0
        if qos:
            hub.state.count_delivery(queued.number)
            packet_id = session.next_packet_id()
            session.unacknowledged[packet_id] = queued.number
        topic = command_topic(session.device_id, queued.message.properties)
        is_duplicate = queued.deliveries > 0
        session.link.send(
            Publish(topic, queued.message.payload, qos, packet_id, is_duplicate=is_duplicate and bool(qos))
        )
        if not qos:
            hub.state.delete_command(queued.number)


def acknowledge(hub: Hub, session: Session, packet_id: int) -> None:
    """The device has taken a message."""
    number = session.unacknowledged.pop(packet_id, None)
    if number is not None:
        hub.state.delete_command(number)


def purge(hub: Hub, device_id: str) -> PurgeResult:
    """Empty the queue."""
    hub.device(device_id)
    return PurgeResult(hub.state.purge_commands(device_id), device_id)
