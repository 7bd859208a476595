"""A mailbox in memory: partitions, their events, and expiry."""

from collections.abc import Mapping

import msgspec

from twin_actors.gaps import HubState
from twin_actors.messages import Event

CHUNK = 500


class MemoryMailbox:
    """An Event Hub in memory: `append` sends, and it is a `GapReader` and a `MailboxSender`.

    Parameters
    ----------
    partition_count
    hub
        Its identity.
    """

    def __init__(self, partition_count: int = 4, hub: str = "mailbox@memory") -> None:
        self.partitions: list[list[Event]] = [[] for _ in range(partition_count)]
        self.expired = [0] * partition_count
        self.time = 1_700_000_000.0
        self._hub = hub

    def append(self, partition: int, event: Event) -> Event:
        """Append an event, and return it with its sequence number and time."""
        self.time += 0.001
        numbered = msgspec.structs.replace(
            event, sequence_number=len(self.partitions[partition]), enqueued_time=self.time
        )
        self.partitions[partition].append(numbered)
        return numbered

    def expire(self, partition: int, before: int) -> None:
        """Forget the events below a sequence number."""
        self.expired[partition] = before

    async def send(self, partition: int, messages: list[tuple[bytes, Mapping[str, str]]]) -> None:
        """Append messages of our own, in order."""
        for body, properties in messages:
            self.append(partition, Event(sequence_number=0, enqueued_time=0.0, body=body, properties=dict(properties)))

    async def describe(self, partition: int) -> HubState:
        """Return the state of the hub and of one partition."""
        count = len(self.partitions[partition])
        return HubState(self._hub, len(self.partitions), self.expired[partition], count - 1)

    async def read(self, partition: int, first: int, last: int) -> list[Event]:
        """Return events from `first` to `last`, at most a chunk."""
        start = max(first, self.expired[partition])
        return self.partitions[partition][start : last + 1][:CHUNK]

    async def close(self) -> None:
        """Let go of nothing."""
