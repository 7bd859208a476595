"""Who may do what: shared access signatures, and what a connection has shown of them."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from urllib.parse import unquote_plus, urlsplit

KEY_NAME = "RootManageSharedAccessKey"
KEY = "SAS_KEY_VALUE"  # the literal of Microsoft's own emulator


class TokenError(Exception):
    """A token that is not accepted: the status code and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def path_of(audience: str) -> str:
    """Return the path of an audience or address in lower case: ``sb://host/Hub/x`` is ``hub/x``."""
    path = urlsplit(audience).path if "://" in audience else audience
    return path.strip("/").lower()


def check_signature(token: str, now: float) -> tuple[str, float]:
    """Return the path that a token is valid for, and when it expires."""
    kind, _, fields = token.partition(" ")
    values = dict(part.partition("=")[::2] for part in fields.split("&"))
    if kind != "SharedAccessSignature" or not {"sr", "sig", "se"} <= set(values) or not values["se"].isdigit():
        raise TokenError(400, "MalformedToken: The token is not a shared access signature.")
    signed = f"{values['sr']}\n{values['se']}".encode()
    signature = base64.b64encode(hmac.digest(KEY.encode(), signed, hashlib.sha256))
    if not hmac.compare_digest(signature, unquote_plus(values["sig"]).replace(" ", "+").encode()):
        raise TokenError(401, "InvalidSignature: The token has an invalid signature.")
    if values.get("skn") not in {None, KEY_NAME}:
        raise TokenError(401, f"InvalidSignature: There is no key of the name '{values['skn']}'.")
    expires = float(values["se"])
    if expires <= now:
        raise TokenError(401, "ExpiredToken: The token is expired.")
    return path_of(unquote_plus(values["sr"])), expires


def covers(path: str, resource: str) -> bool:
    """Whether a claim on a path is one on the resource as well."""
    return not path or resource == path or resource.startswith(path + "/")


class Claims:
    """What a connection may use, and until when."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._expiry: dict[str, float] = {}

    def put(self, token: str, kind: str, audience: str) -> None:
        """Take a token for an audience, or raise why not."""
        if kind != "servicebus.windows.net:sastoken":
            raise TokenError(401, f"InvalidTokenType: This emulator takes shared access signatures, not '{kind}'.")
        path, expires = check_signature(token, self._clock())
        wanted = path_of(audience)
        if not covers(path, wanted):
            raise TokenError(401, f"InvalidAudience: The token is for '{path}', not for '{wanted}'.")
        self._expiry[wanted] = expires

    def grant_all(self) -> None:
        """Take a client that has shown the key itself."""
        self._expiry[""] = float("inf")

    def allow(self, resource: str) -> bool:
        """Whether a resource may be used now."""
        now, resource = self._clock(), resource.lower()
        return any(expires > now and covers(path, resource) for path, expires in self._expiry.items())

    def next_expiry(self) -> float | None:
        """Return the seconds until the next token ends; forgets those that have."""
        now = self._clock()
        self._expiry = {path: expires for path, expires in self._expiry.items() if expires > now}
        finite = [expires - now for expires in self._expiry.values() if expires != float("inf")]
        return min(finite, default=None)
