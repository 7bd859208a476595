"""What a command reaches: the sides of the twins' world, each opened at its first use."""

import dataclasses
from collections.abc import Callable

from twin_actors.clock import Clock
from twin_actors.commands.graph import OperatorsGraph
from twin_actors.gaps import GapReader
from twin_actors.journals import Journal
from twin_actors.registry import Registry
from twin_actors.sinks import Documents, MailboxSender


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ports:
    """What commands reach.

    Attributes
    ----------
    journal, reader, sender, documents, graph : Callable
        Open a side, or return it where it is open.
    registry : Registry
        The twin types of this app.
    clock : Clock
    caller : str
        Who runs the command.
    say : Callable
        Prints a line at once, for commands that take long.
    note : Callable
        Prints a line that is not the result.
    """

    journal: Callable[[], Journal]
    reader: Callable[[], GapReader]
    sender: Callable[[], MailboxSender]
    documents: Callable[[], Documents]
    graph: Callable[[], OperatorsGraph]
    registry: Registry
    clock: Clock
    caller: str
    say: Callable[[str], None]
    note: Callable[[str], None]
