"""What the routes stand on."""

import dataclasses

from azure.digitaltwins.core.aio import DigitalTwinsClient

from twin_actors.clock import Clock
from twin_actors.gaps import GapReader
from twin_actors.journals import Journal
from twin_actors.registry import Registry
from twin_actors.sinks import Documents, MailboxSender


@dataclasses.dataclass(frozen=True)
class Sides:
    """The services behind HTTP; none of them is a shard.

    Attributes
    ----------
    graph
        Twins and relationships.
    documents
        Alerts, work orders, operations, edits.
    sender, reader
        The mailbox: what is asked of twins goes there; whether it answers.
    journal
        The bodies of dead letters, and the number of partitions.
    registry
        The twin types of this app.
    clock
    has_sign_in
        Whether the platform signs people in before the app is called. Where it does not, anybody could have written
        the headers that say who asks.
    """

    graph: DigitalTwinsClient
    documents: Documents
    sender: MailboxSender
    reader: GapReader
    journal: Journal
    registry: Registry
    clock: Clock
    has_sign_in: bool = False
