"""CONNECT: who is it, may it come in, and what follows from coming and going."""

from urllib.parse import unquote

import msgspec

from local_emulator.iot_hub.device import Device
from local_emulator.iot_hub.errors import ConnectionRefused, ConnectReturnCode
from local_emulator.iot_hub.hub import Hub
from local_emulator.iot_hub.protocol.packets import Connect
from local_emulator.iot_hub.sas import (
    POLICIES,
    InvalidToken,
    Permission,
    SharedAccessSignature,
    parse_signature,
)
from local_emulator.iot_hub.session import Link, Session

MQTT_3_1_1 = 4


class Visitor(msgspec.Struct, frozen=True):
    """An admitted device, as its events describe it."""

    session: Session
    generation_id: str
    scope: str
    model_id: str
    expires_at: int


class Username(msgspec.Struct, frozen=True):
    """The parts of `{host}/{client id}/?api-version=..&model-id=..`; old clients leave out parts of it."""

    host: str
    client_id: str
    model_id: str


def parse_username(text: str) -> Username:
    """Read all forms of the username that clients are known to send."""
    host, _, rest = text.partition("/")
    client_id, _, query = rest.partition("/")
    model_id = ""
    for part in query.removeprefix("?").split("&"):
        name, _, value = part.partition("=")
        if name == "model-id":
            model_id = unquote(value)
    return Username(host, client_id, model_id)


def admit(hub: Hub, packet: Connect) -> Visitor:
    """Check a CONNECT; raise ConnectionRefused unless the device may come in."""
    if (packet.protocol_name, packet.protocol_level) != ("MQTT", MQTT_3_1_1):
        raise ConnectionRefused(ConnectReturnCode.UNACCEPTABLE_PROTOCOL_VERSION, "only MQTT 3.1.1 is spoken")
    if not packet.client_id:
        raise ConnectionRefused(ConnectReturnCode.IDENTIFIER_REJECTED, "the client id is empty")
    username = parse_username(packet.username or "")
    if packet.client_id.partition("/")[0] != username.client_id:
        raise _not_authorized("the client id is not the one in the username")
    device = hub.state.device(packet.client_id)
    if device is None:
        raise _not_authorized(f"there is no device or module {packet.client_id!r}")
    if device.status != "enabled":
        raise _not_authorized(f"the device {device.device_id!r} is disabled")
    if packet.password is None:
        raise _not_authorized("there is no token, and X.509 is not implemented by this emulator")
    token = _checked_token(hub, device, username.host, packet.password)
    return Visitor(
        session=hub.session(device.device_id),
        generation_id=device.generation_id,
        scope="hub" if token.policy else "device",
        model_id=username.model_id,
        expires_at=token.expires_at,
    )


def _checked_token(hub: Hub, device: Device, host: str, password: bytes) -> SharedAccessSignature:
    try:
        token = parse_signature(password.decode())
    except (InvalidToken, UnicodeDecodeError) as error:
        raise _not_authorized(str(error)) from None
    resource = f"{host}/devices/{device.device_id}"
    if token.policy is None:
        is_valid = token.is_for(resource) and any(token.is_signed_with(key) for key in device.keys)
    else:
        is_valid = (
            Permission.DEVICE_CONNECT in POLICIES.get(token.policy, Permission(0))
            and token.covers(resource)
            and token.is_signed_with(hub.policy_keys[token.policy])
        )
    if not is_valid:
        raise _not_authorized(f"the token does not admit {device.device_id!r}")
    if token.expires_at <= hub.clock():
        raise _not_authorized("the token has expired")
    return token


def _not_authorized(reason: str) -> ConnectionRefused:
    return ConnectionRefused(ConnectReturnCode.NOT_AUTHORIZED, reason)


def enter(hub: Hub, visitor: Visitor, link: Link, *, is_clean: bool) -> bool:
    """Make a connection the device's only one; whether the hub remembers subscriptions of it."""
    session = visitor.session
    if is_clean:
        for topic_filter in session.subscriptions:
            hub.state.delete_subscription(session.device_id, topic_filter)
        session.subscriptions.clear()
    session.attach(link)
    _remember_model(hub, visitor)
    _note_connection(hub, session)
    return bool(session.subscriptions)


def leave(hub: Hub, visitor: Visitor, link: Link) -> None:
    """A connection has ended."""
    if visitor.session.detach(link):
        _note_connection(hub, visitor.session)


def _remember_model(hub: Hub, visitor: Visitor) -> None:
    twin = hub.state.twin(visitor.session.device_id)
    if twin is not None and visitor.model_id and twin.model_id != visitor.model_id:
        hub.state.save_twin(visitor.session.device_id, msgspec.structs.replace(twin, model_id=visitor.model_id))


def _note_connection(hub: Hub, session: Session) -> None:
    session.last_activity = hub.clock()
    device = hub.state.device(session.device_id)
    if device is not None:
        now = hub.now()
        hub.state.save_device(
            msgspec.structs.replace(device, connection_state_updated_time=now, last_activity_time=now)
        )
