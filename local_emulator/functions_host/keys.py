"""The keys that callers show: made once, kept in a file that only its owner reads."""

import hmac
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

__all__ = ["Keys", "ensure_keys"]


class Keys(msgspec.Struct, frozen=True):
    """The app's keys; ``functions`` has the default key of each HTTP function."""

    master: str
    default: str
    functions: dict[str, str]

    def open_function(self, name: str, auth_level: str, shown: str | None) -> bool:
        """Say whether the key that was shown opens the function."""
        if auth_level == "anonymous":
            return True
        if auth_level == "admin":
            return self.is_master(shown)
        accepted = (self.functions[name], self.default, self.master)
        return shown is not None and any(_equal(shown, key) for key in accepted)

    def is_master(self, shown: str | None) -> bool:
        """Say whether this is the master key."""
        return shown is not None and _equal(shown, self.master)


def _equal(shown: str, key: str) -> bool:
    return hmac.compare_digest(shown.encode(), key.encode())


def ensure_keys(path: Path, functions: Iterable[str]) -> Keys:
    """Read the keys of the file, make those that are missing, and keep them."""
    stored = json.loads(path.read_text("utf-8")) if path.exists() else {}
    kept = stored.get("functions", {})
    keys = Keys(
        master=stored.get("master") or _new_key(),
        default=stored.get("default") or _new_key(),
        functions=kept | {name: _new_key() for name in functions if name not in kept},
    )
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    # Created private: a mode set afterwards would leave a moment in which others can read it.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(keys)))
    draft.replace(path)
    return keys


def _new_key() -> str:
    return secrets.token_urlsafe(40)
