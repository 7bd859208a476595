"""Committed outputs leave in order, at least once, and stop at the first failure of their lane."""

import msgspec
import pytest

from tests.twin_actors.world import telemetry
from twin_actors.commit import DeadLetter, KeepLetter, OutboxEntry, StrikeLetter
from twin_actors.errors import Unavailable
from twin_actors.journals.memory import MemoryJournal
from twin_actors.messages import KIND, Forward, Kind
from twin_actors.outbox import MAX_SEND_BYTES, Receivers, deliver, letter_path
from twin_actors.outputs import SendForward
from twin_actors.sinks.memory import MemoryDocuments, MemoryGraph, MemoryWorkOrders


class Mailbox:
    """Takes sends, except to partitions that are down or have taken enough."""

    def __init__(self) -> None:
        self.sends: list[tuple[int, list[Forward]]] = []
        self.takes: dict[int, int] = {}

    async def send(self, partition: int, messages: list[tuple[bytes, dict[str, str]]]) -> None:
        """Take one send."""
        if self.takes.get(partition, 1000) <= 0:
            raise Unavailable("down")
        self.takes[partition] = self.takes.get(partition, 1000) - 1
        assert all(properties == {KIND: Kind.FORWARD} for _, properties in messages)
        self.sends.append((partition, [msgspec.msgpack.decode(body, type=Forward) for body, _ in messages]))


def entries(*made: OutboxEntry) -> dict[int, OutboxEntry]:
    """Return an outbox."""
    return {entry.number: entry for entry in made}


async def delivered(
    outbox: dict[int, OutboxEntry], journal: MemoryJournal, mailbox: Mailbox
) -> tuple[list[int], Unavailable | None]:
    """Deliver an outbox of partition 0."""
    to = Receivers(journal, mailbox, MemoryDocuments(), MemoryWorkOrders(), MemoryGraph())
    delivery = await deliver(outbox.values(), 0, to, 0.0)
    return delivery.done, next(iter(delivery.faults.values()), None)


def forward(number: int, destination: int, channel_number: int, size: int = 2) -> SendForward:
    """Return a forward with a body of some size."""
    event = msgspec.structs.replace(telemetry("pump-1", number), body=b"x" * size)
    return SendForward(number, destination, channel_number, event)


def keep(number: int, letter_id: str) -> KeepLetter:
    """Return a dead letter to keep."""
    return KeepLetter(number, DeadLetter(letter_id, "not_json", "no JSON", "pump-1", telemetry("pump-1", number)))


async def test_lanes_are_in_order_and_apart() -> None:
    """One send each, with the numbers of their channels."""
    mailbox = Mailbox()
    outbox = entries(forward(1, 2, 5), forward(2, 3, 1), forward(3, 2, 6))
    done, fault = await delivered(outbox, MemoryJournal(), mailbox)
    assert (sorted(done), fault) == ([1, 2, 3], None)
    assert [(partition, [(one.source, one.number) for one in sent]) for partition, sent in mailbox.sends] == [
        (2, [(0, 5), (0, 6)]),
        (3, [(0, 1)]),
    ]


async def test_a_lane_stops_at_its_first_failure() -> None:
    """What follows waits; other lanes go on."""
    mailbox = Mailbox()
    mailbox.takes = {2: 1}
    large = MAX_SEND_BYTES - 1000
    outbox = entries(forward(1, 2, 1, large), forward(2, 2, 2, large), forward(3, 2, 3), forward(4, 3, 1))
    done, fault = await delivered(outbox, MemoryJournal(), mailbox)
    assert sorted(done) == [1, 4]
    assert isinstance(fault, Unavailable)
    mailbox.takes = {}
    left = {number: entry for number, entry in outbox.items() if number not in done}
    assert sorted((await delivered(left, MemoryJournal(), mailbox))[0]) == [2, 3]
    numbers = [one.number for partition, sent in mailbox.sends if partition == 2 for one in sent]
    assert numbers == [1, 2, 3]


async def test_sends_are_bounded() -> None:
    """Many small ones go together, large ones apart, and none is left out."""
    mailbox = Mailbox()
    outbox = entries(*(forward(number, 2, number, 100_000) for number in range(1, 21)))
    done, _ = await delivered(outbox, MemoryJournal(), mailbox)
    assert done == list(range(1, 21))
    assert [one.number for _, sent in mailbox.sends for one in sent] == list(range(1, 21))
    assert all(sum(len(one.event.body) for one in sent) <= MAX_SEND_BYTES for _, sent in mailbox.sends)


async def test_letters_are_kept_and_struck() -> None:
    """Twice is once."""
    journal = MemoryJournal()
    await delivered(entries(keep(1, "0-5"), keep(2, "0-6")), journal, Mailbox())
    assert await journal.names("dead-letters/") == [letter_path("0-5"), letter_path("0-6")]
    for _ in range(2):
        done, _ = await delivered(entries(StrikeLetter(3, "0-5")), journal, Mailbox())
        assert done == [3]
    assert await journal.names("dead-letters/") == [letter_path("0-6")]


async def test_a_letter_kept_and_struck_together_is_not_there() -> None:
    """Side by side, one might overtake the other."""
    journal = MemoryJournal()
    done, _ = await delivered(entries(keep(1, "0-5"), StrikeLetter(2, "0-5")), journal, Mailbox())
    assert sorted(done) == [1, 2]
    assert await journal.names("dead-letters/") == []


async def test_a_letter_that_cannot_be_stored_waits() -> None:
    """The others are stored."""

    class Full(MemoryJournal):
        async def write(self, path: str, data: bytes, only_if: str | None = None) -> str:
            if path == letter_path("0-5"):
                raise Unavailable("full")
            return await super().write(path, data, only_if)

    done, fault = await delivered(entries(keep(1, "0-5"), keep(2, "0-6")), Full(), Mailbox())
    assert (done, fault) == ([2], None)
    done, fault = await delivered(entries(keep(1, "0-5")), Full(), Mailbox())
    assert done == []
    assert isinstance(fault, Unavailable)


@pytest.mark.parametrize(("letter_id", "path"), [("3-17", "dead-letters/3/00000000000000000017")])
def test_letters_are_listed_in_the_order_of_the_partition(letter_id: str, path: str) -> None:
    """Names sort as numbers do."""
    assert letter_path(letter_id) == path
