"""A device of the registry, in the shape of the REST API, which is also the shape it is stored in."""

import base64
import binascii
import re
import secrets
from collections.abc import Sequence

import msgspec

from local_emulator.iot_hub.errors import ErrorCode, HubError

NEVER = "0001-01-01T00:00:00Z"
_ID = re.compile(r"[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}")
_KEY_SIZES = range(16, 65)


class SymmetricKey(msgspec.Struct, frozen=True, rename="camel"):
    """Two keys, so that one can be replaced while devices use the other."""

    primary_key: str | None = None
    secondary_key: str | None = None


class Authentication(msgspec.Struct, frozen=True, rename="camel"):
    """How the device proves who it is."""

    symmetric_key: SymmetricKey = SymmetricKey()
    type: str = "sas"


class Capabilities(msgspec.Struct, frozen=True, rename="camel"):
    """Whether it is an IoT Edge device."""

    iot_edge: bool = False


class Device(msgspec.Struct, frozen=True, rename="camel"):
    """An identity of the registry."""

    device_id: str
    generation_id: str = ""
    etag: str = ""
    connection_state: str = "Disconnected"
    status: str = "enabled"
    status_reason: str | None = None
    connection_state_updated_time: str = NEVER
    status_updated_time: str = NEVER
    last_activity_time: str = NEVER
    cloud_to_device_message_count: int = 0
    authentication: Authentication = Authentication()
    capabilities: Capabilities = Capabilities()

    @property
    def keys(self) -> Sequence[str]:
        """Both keys."""
        pair = self.authentication.symmetric_key
        return [key for key in (pair.primary_key, pair.secondary_key) if key]


def check_device_id(device_id: str) -> None:
    """Raise unless the id has the allowed characters and length."""
    if not _ID.fullmatch(device_id):
        raise HubError(ErrorCode.ArgumentInvalid, f"{device_id!r} is not a valid device id")


def complete_authentication(asked: Authentication, kept: Authentication | None) -> Authentication:
    """Fill in the keys that a request leaves out: those the device has, or new ones."""
    if asked.type != "sas":
        raise HubError(
            ErrorCode.NotImplemented,
            f"authentication of type {asked.type!r} is not implemented by this emulator, only 'sas' is",
        )
    before = kept.symmetric_key if kept else SymmetricKey()
    keys = asked.symmetric_key
    for key in (keys.primary_key, keys.secondary_key):
        if key:
            _check_key(key)
    return Authentication(
        SymmetricKey(
            primary_key=keys.primary_key or before.primary_key or new_key(),
            secondary_key=keys.secondary_key or before.secondary_key or new_key(),
        )
    )


def _check_key(key: str) -> None:
    try:
        size = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        raise HubError(ErrorCode.ArgumentInvalid, "a symmetric key is not base64") from None
    if size not in _KEY_SIZES:
        raise HubError(ErrorCode.ArgumentInvalid, f"a symmetric key has {size} bytes, not 16 to 64")


def new_key() -> str:
    """A random key of 32 bytes in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def new_etag() -> str:
    """A fresh entity tag."""
    return base64.b64encode(secrets.token_bytes(8)).decode()
