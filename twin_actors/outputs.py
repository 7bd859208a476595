"""What a twin's turn or a sweep leaves for the world, beside the state: entries of the outbox, not yet numbered.

Each can be delivered twice, and the receiver can tell: a document carries its version, an order its idempotency key,
a command its operation id, what goes to another shard its number on the channel there.
"""

import msgspec

from twin_actors.documents import Collection, Document, Operation, WorkOrder
from twin_actors.messages import Event
from twin_actors.sinks import DeviceCommand


class PutDocument(msgspec.Struct, frozen=True, tag="document"):
    """Let apps look something up."""

    number: int
    collection: Collection
    document: Document


class PlaceOrder(msgspec.Struct, frozen=True, tag="order"):
    """Hand a work order to the system that plans maintenance."""

    number: int
    document_id: str
    order: WorkOrder


class SendCommand(msgspec.Struct, frozen=True, tag="command"):
    """Let a device do something, and let apps see how that goes."""

    number: int
    command: DeviceCommand
    operation: Operation


class SendForward(msgspec.Struct, frozen=True, tag="forward"):
    """Send an event to the home of its twin: a misplaced one, or what another twin tells it."""

    number: int
    destination: int
    channel_number: int
    event: Event


class RemoveTwin(msgspec.Struct, frozen=True, tag="remove"):
    """Take a deleted twin out of the graph, unless it shows a version that came later, or is none of this model.

    An empty model is any: the graph has shown the twin.
    """

    number: int
    twin_id: str
    state_version: int
    model: str = ""


type Output = PutDocument | PlaceOrder | SendCommand | SendForward | RemoveTwin
"""An output; its number, and what a forward has besides, is 0 until a record gives it one."""
