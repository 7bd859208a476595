"""Shared access signatures and bearer tokens: who may do what."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from enum import Flag, auto
from urllib.parse import quote_plus, unquote

import msgspec

BEARER_AUDIENCE = "https://iothubs.azure.net"


class Permission(Flag):
    """What a shared access policy allows."""

    REGISTRY_READ = auto()
    REGISTRY_WRITE = auto()
    SERVICE_CONNECT = auto()
    DEVICE_CONNECT = auto()


# The policies that every hub is created with.
POLICIES: Mapping[str, Permission] = {
    "iothubowner": ~Permission(0),
    "service": Permission.SERVICE_CONNECT,
    "device": Permission.DEVICE_CONNECT,
    "registryRead": Permission.REGISTRY_READ,
    "registryReadWrite": Permission.REGISTRY_READ | Permission.REGISTRY_WRITE,
}


class InvalidToken(Exception):
    """A token that cannot be read."""


class SharedAccessSignature(msgspec.Struct, frozen=True):
    """The fields of a signature; `resource` and `expiry` stay as sent, because they are what is signed."""

    resource: str
    signature: bytes
    expiry: str
    policy: str | None

    @property
    def expires_at(self) -> int:
        """Seconds since 1970."""
        return int(self.expiry)

    def is_signed_with(self, key: str) -> bool:
        """Whether a base64 key made the signature."""
        # Some clients sign the resource before they encode it, or encode it differently when they send it.
        decoded = unquote(self.resource)
        for signed in (self.resource, decoded, quote_plus(decoded)):
            content = f"{signed}\n{self.expiry}".encode()
            expected = hmac.new(base64.b64decode(key), content, hashlib.sha256).digest()
            if hmac.compare_digest(expected, self.signature):
                return True
        return False

    def is_for(self, resource: str) -> bool:
        """Whether it names exactly this resource."""
        return unquote(self.resource).rstrip("/").lower() == resource.lower()

    def covers(self, resource: str) -> bool:
        """Whether it names this resource or one above it."""
        own = unquote(self.resource).rstrip("/").lower()
        return resource.lower() == own or resource.lower().startswith(own + "/")


def parse_signature(text: str) -> SharedAccessSignature:
    """Read `SharedAccessSignature sr=..&sig=..&se=..[&skn=..]`, fields in any order."""
    scheme, _, rest = text.partition(" ")
    if scheme != "SharedAccessSignature":
        raise InvalidToken("the token does not begin with SharedAccessSignature")
    fields = {name.strip(): value for name, _, value in (part.partition("=") for part in rest.split("&"))}
    try:
        signature = SharedAccessSignature(
            resource=fields["sr"],
            signature=base64.b64decode(unquote(fields["sig"]), validate=True),
            expiry=fields["se"],
            policy=unquote(fields["skn"]) if fields.get("skn") else None,
        )
        _ = signature.expires_at
    except KeyError as missing:
        raise InvalidToken(f"the token lacks the field {missing}") from None
    except (binascii.Error, ValueError):
        raise InvalidToken("the token's signature is not base64 or its expiry is no number") from None
    return signature


class _Claims(msgspec.Struct):
    aud: str
    exp: float


def check_bearer(token: str, now: float) -> None:
    """Accept a token of the right audience that has not expired; who signed it is not looked at."""
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("the bearer token is no JSON web token")
    try:
        msgspec.json.decode(_decode_segment(parts[0]), type=dict)
        claims = msgspec.json.decode(_decode_segment(parts[1]), type=_Claims)
    except (binascii.Error, msgspec.DecodeError):
        raise InvalidToken("the bearer token's header or claims cannot be read") from None
    if claims.aud.rstrip("/") != BEARER_AUDIENCE:
        raise InvalidToken(f"the bearer token is for {claims.aud}, not for {BEARER_AUDIENCE}")
    if claims.exp <= now:
        raise InvalidToken("the bearer token has expired")


def _decode_segment(segment: str) -> bytes:
    return base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
