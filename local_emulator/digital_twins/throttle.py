"""How often the service lets itself be asked: off unless wanted."""

import re
import time
from collections.abc import Callable

from . import errors

_WRITES = frozenset({"PUT", "PATCH", "DELETE"})
_TWIN = re.compile(r"/digitaltwins/([^/]+)")
_WRITES_PER_TWIN = 10
_RATES = {"models": 100, "reads": 1_000, "patches": 1_000, "creates": 500, "queries": 500, "telemetry": 1_000}
_RETRY_AFTER_SECONDS = 1
_TWINS_REMEMBERED = 10_000


class _Allowance:
    """A bucket that holds one second's requests and fills as time passes."""

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._left = float(rate)
        self._filled = now

    def take(self, now: float) -> bool:
        """Take one request out, if there is one."""
        self._left = min(self._rate, self._left + (now - self._filled) * self._rate)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def is_idle(self, now: float) -> bool:
        """Whether nothing has been taken for a second."""
        return now - self._filled > 1


class Throttle:
    """The documented rates of the service.

    Parameters
    ----------
    is_on
        Whether they are kept.
    clock
        What tells the time, in seconds.
    """

    def __init__(self, *, is_on: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._is_on = is_on
        self._clock = clock
        self._kinds: dict[str, _Allowance] = {}
        self._twins: dict[str, _Allowance] = {}

    def admit(self, method: str, path: str) -> None:
        """Let a request through, or refuse it with 429."""
        if not self._is_on:
            return
        now = self._clock()
        kind = _kind(method, path)
        allowed = self._kinds.setdefault(kind, _Allowance(_RATES[kind], now)).take(now)
        if len(self._twins) > _TWINS_REMEMBERED:
            self._twins = {name: own for name, own in self._twins.items() if not own.is_idle(now)}
        twin = _TWIN.match(path)
        if allowed and twin and method in _WRITES:
            allowed = self._twins.setdefault(twin[1], _Allowance(_WRITES_PER_TWIN, now)).take(now)
        if not allowed:
            raise errors.throttled(_RETRY_AFTER_SECONDS)


def _kind(method: str, path: str) -> str:
    if path.startswith("/models"):
        return "models"
    if path.startswith("/query"):
        return "queries"
    if method == "GET":
        return "reads"
    if method == "POST":
        return "telemetry"
    return "patches" if method == "PATCH" else "creates"
