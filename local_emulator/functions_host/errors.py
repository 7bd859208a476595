"""What can be wrong with an app, its settings or its start.

HostError
├── AppError          the author of the app: import errors, zero functions
├── SettingsError     whoever runs it: a setting is missing or cannot be read
├── UnsupportedError  the app asks for what this host does not have
└── WorkerError       a worker died or did not become ready
"""

__all__ = ["AppError", "HostError", "SettingsError", "UnsupportedError", "WorkerError"]


class HostError(Exception):
    """The host cannot run the app."""


class AppError(HostError):
    """The app could not be loaded, or has no functions."""


class SettingsError(HostError):
    """A setting is missing or cannot be read."""


class UnsupportedError(HostError):
    """The app uses a trigger, binding or option that this host does not have."""


class WorkerError(HostError):
    """A worker process died or was not ready in time."""
