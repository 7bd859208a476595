"""A local Azure Functions host that drives the genuine Python worker library."""

from typing import TYPE_CHECKING

from local_emulator.functions_host.errors import (
    AppError,
    HostError,
    SettingsError,
    UnsupportedError,
    WorkerError,
)

if TYPE_CHECKING:
    from local_emulator.functions_host.host import FunctionsHost, Pace

__all__ = ["AppError", "FunctionsHost", "HostError", "Pace", "SettingsError", "UnsupportedError", "WorkerError"]


def __getattr__(name: str) -> object:
    """Load the host when it is asked for: the workers come by here too, and do without its web server."""
    if name in {"FunctionsHost", "Pace"}:
        from local_emulator.functions_host import host  # noqa: PLC0415 - see above

        return getattr(host, name)
    raise AttributeError(name)
