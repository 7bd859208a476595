"""A credential for clients that tests make in their own process."""

import base64
import json
import time
from types import TracebackType
from typing import Self

from azure.core.credentials import AccessToken


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


class TestCredential:
    """Gives tokens of the form that the emulators expect, for any audience."""

    __test__ = False

    async def get_token(self, *scopes: str, **_options: object) -> AccessToken:
        """Return a token."""
        expires = int(time.time()) + 3600
        claims = {"aud": scopes[0].removesuffix("/.default"), "exp": expires}
        return AccessToken(f"{_part({'alg': 'none'})}.{_part(claims)}.none", expires)

    async def close(self) -> None:
        """Close nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close nothing."""
