"""The actor runtime: twins that fold their devices' messages into durable state.

These are the names that a twin type needs, and the errors by who must act. The runtime itself is
in `twin_actors.runtime`; read `Runtime.deliver` for the path of a message.
"""

from twin_actors.errors import Fenced, PartitionStopped, Rejected, SettingsError, TwinfoldError, Unavailable
from twin_actors.messages import Quality, Reading, TimerDue, Told
from twin_actors.twin import (
    WHOLE,
    CancelTimer,
    Channel,
    KernelRequest,
    PropertyValue,
    SetTimer,
    Tell,
    Turn,
    TwinType,
    Upgrade,
    ask,
)

__all__ = [
    "WHOLE",
    "CancelTimer",
    "Channel",
    "Fenced",
    "KernelRequest",
    "PartitionStopped",
    "PropertyValue",
    "Quality",
    "Reading",
    "Rejected",
    "SetTimer",
    "SettingsError",
    "Tell",
    "TimerDue",
    "Told",
    "Turn",
    "TwinType",
    "TwinfoldError",
    "Unavailable",
    "Upgrade",
    "ask",
]
