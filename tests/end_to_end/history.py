"""What is left of a run: the senders' own notes, the hub, the journals, the graph, tables, queue and devices."""

import msgspec

from twin_actors.commit import Record
from twin_actors.documents import Collection, Document
from twin_actors.messages import Event
from twin_actors.shard import Shard


class Sent(msgspec.Struct):
    """A message, as its sender remembers it.

    Attributes
    ----------
    twin_id, message_id : str
        Together unique; a message that is sent again keeps its id.
    lane : str
        Messages of one twin and lane are folded in the order of `serial`.
    serial : int
    is_acknowledged : bool
        Whether any attempt was; otherwise it may have arrived or not.
    """

    twin_id: str
    message_id: str
    lane: str
    serial: int
    is_acknowledged: bool = False


class Written(msgspec.Struct, frozen=True):
    """A twin as a write to the graph left it."""

    twin_id: str
    state_version: int
    reading_count: int


class History(msgspec.Struct, kw_only=True):
    """What is left of a run that has come to rest; the lists of partitions are in their order.

    Attributes
    ----------
    sent : list of Sent
    events : list
        Of each partition of the hub, from its first event.
    records : list
        Of each partition's journal, from its first segment.
    restored : list of Shard
        As the next owner would have them.
    written : list of Written
        Every write to the graph that shows a state, in order.
    documents : list
        What apps find in the tables.
    orders : list of bytes
        What was in the queue.
    commands : list of str
        Operation ids that devices were told.
    letters : list of str
        Dead letters whose bodies are kept.
    """

    sent: list[Sent] = []
    events: list[list[Event]] = []
    records: list[list[Record]] = []
    restored: list[Shard] = []
    written: list[Written] = []
    documents: list[tuple[Collection, Document]] = []
    orders: list[bytes] = []
    commands: list[str] = []
    letters: list[str] = []


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken, and where."""

    promise: str
    text: str
