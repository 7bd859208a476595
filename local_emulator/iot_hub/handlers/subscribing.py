"""SUBSCRIBE and UNSUBSCRIBE: remembered with the device, because its SDK subscribes only once."""

from collections.abc import Sequence

from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.session import Session
from local_emulator.iot_hub.topics import allowed_filters

REFUSED = 0x80


def subscribe(hub: Hub, session: Session, filters: Sequence[tuple[str, int]]) -> list[int]:
    """Grant the hub's own filters at QoS 1 at most, refuse all others."""
    allowed = allowed_filters(session.device_id)
    granted = []
    for topic_filter, asked in filters:
        if topic_filter not in allowed:
            granted.append(REFUSED)
            continue
        qos = min(asked, 1)
        hub.state.save_subscription(session.device_id, topic_filter, qos)
        session.subscriptions[topic_filter] = qos
        granted.append(qos)
    session.note_listening()
    return granted


def unsubscribe(hub: Hub, session: Session, filters: Sequence[str]) -> None:
    """Forget subscriptions."""
    for topic_filter in filters:
        hub.state.delete_subscription(session.device_id, topic_filter)
        session.subscriptions.pop(topic_filter, None)
    session.note_listening()
