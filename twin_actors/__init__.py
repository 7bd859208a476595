"""The actor runtime: twins that fold their devices' messages into durable state.

These are the names that a twin type needs, and the errors by who must act. The runtime itself is
in `twin_actors.runtime`; read `Runtime.deliver` for the path of a message.
"""

from twin_actors.errors import Fenced, PartitionStopped, Rejected, SettingsError, TwinfoldError, Unavailable
from twin_actors.messages import Quality, Reading
from twin_actors.twin import Channel, KernelRequest, PropertyValue, Turn, TwinType, Upgrade, ask

__all__ = [
    "Channel",
    "Fenced",
    "KernelRequest",
    "PartitionStopped",
    "PropertyValue",
    "Quality",
    "Reading",
    "Rejected",
    "SettingsError",
    "Turn",
    "TwinType",
    "TwinfoldError",
    "Unavailable",
    "Upgrade",
    "ask",
]
