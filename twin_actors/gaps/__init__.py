"""Reading the mailbox itself, beside the trigger: what it skipped, and which hub it is."""

from typing import Protocol

import msgspec

from twin_actors.messages import Event


class HubState(msgspec.Struct, frozen=True):
    """What the Event Hub says of itself and of one partition.

    Attributes
    ----------
    hub : str
        Its identity: a hub that is deleted and made again has another one.
    partition_count : int
    first_sequence_number : int
        The oldest event that is still there, or the next one where the partition is empty.
    last_sequence_number : int
        The newest event, -1 before the first.
    """

    hub: str
    partition_count: int
    first_sequence_number: int
    last_sequence_number: int


class GapReader(Protocol):
    """Reads events of a partition by sequence number, apart from the trigger's own consumer."""

    async def describe(self, partition: int) -> HubState:
        """Return the state of the hub and of one partition.

        Raises
        ------
        Unavailable
        """

    async def read(self, partition: int, first: int, last: int) -> list[Event]:
        """Return events from `first` to `last`, ascending: at least one, at most a bounded chunk.

        An empty list means that none of them exists any more.

        Raises
        ------
        Unavailable
        """

    async def close(self) -> None:
        """Let go of connections."""
