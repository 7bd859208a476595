"""What can be wrong with what a user gives to a device; the text says what to do."""


class DeviceError(Exception):
    """A device cannot run with what it was given."""


class ConnectionsError(DeviceError):
    """A file of connections cannot be used."""


class MappingError(DeviceError):
    """A mapping cannot be used."""


class RecordingError(DeviceError):
    """A recording cannot be read, or does not fit its mapping."""
