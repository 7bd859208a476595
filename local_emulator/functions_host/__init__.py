"""A local Azure Functions host that drives the genuine Python worker library."""

from local_emulator.functions_host.errors import (
    AppError,
    HostError,
    SettingsError,
    UnsupportedError,
    WorkerError,
)
from local_emulator.functions_host.host import FunctionsHost

__all__ = ["AppError", "FunctionsHost", "HostError", "SettingsError", "UnsupportedError", "WorkerError"]
