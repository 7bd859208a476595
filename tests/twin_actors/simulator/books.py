"""What was committed, and what reached the services: no effect without its record, no word of it without the effect."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from tests.twin_actors.simulator.ledger import Ledger, promise
from tests.twin_actors.simulator.twins import remembered
from tests.twin_actors.world import same
from twin_actors.commit import DeadLetter, KeepLetter, OutboxEntry, StrikeLetter
from twin_actors.documents import Collection, Document, WorkOrder
from twin_actors.identity import home_partition
from twin_actors.journals.memory import MemoryJournal
from twin_actors.messages import KIND, Forward, Kind
from twin_actors.outputs import PlaceOrder, PutDocument, RemoveTwin, SendForward
from twin_actors.ownership import Limits
from twin_actors.sinks import DeviceCommand, GraphTwin
from twin_actors.snapshot import decode_snapshot, restore

if TYPE_CHECKING:
    from tests.twin_actors.simulator.services import Hub


class Books:
    """The ledgers of all partitions, and the receivers' side.

    Attributes
    ----------
    ledgers : list of Ledger
    counts : Counter
        What happened, for people to see what a run covered.
    excused : set
        Work orders that were refused.
    struck : set of str
        Dead letters whose bodies were deleted.
    """

    def __init__(self, partition_count: int, limits: Limits) -> None:
        self.ledgers: list[Ledger] = []
        self.counts: Counter[str] = Counter()
        self.excused: set[str] = set()
        self._partition_count = partition_count
        self._limits = limits
        self._forwarded: set[tuple[int, int, int]] = set()
        self._letters: dict[str, bool] = {}
        self._documents: dict[tuple[Collection, str, str], int] = {}
        self.struck: set[str] = set()
        self._orders: set[str] = set()
        self._removed: set[tuple[str, int]] = set()
        self._snapshots: dict[int, tuple[int, int]] = {}

    def open(self, hub: "Hub") -> None:
        """Begin the ledgers."""
        self.ledgers = [
            Ledger(partition, hub, self._limits, self.counts, self.arrived)
            for partition in range(self._partition_count)
        ]

    def home(self, twin_id: str) -> Ledger:
        """Return the ledger of a twin's shard."""
        return self.ledgers[home_partition(twin_id, self._partition_count)]

    def appended(self, path: str, data: bytes) -> None:
        """Take an append."""
        self.ledgers[int(path.split("/")[1])].appended(path, data)

    async def wrote(self, storage: MemoryJournal, path: str, data: bytes) -> None:
        """Take a write of an object."""
        kind, _, name = path.partition("/")
        if kind == "dead-letters":
            letter = msgspec.msgpack.decode(data, type=DeadLetter)
            promise(
                self.ledgers[int(name.split("/")[0])].effects.get(("keep", letter.letter_id)) == letter,
                f"the body of {letter.letter_id} is stored, and no record gave it up",
            )
            self._letters[letter.letter_id] = True
        elif kind == "manifests":
            await self._published(storage, int(name), data.decode())

    async def _published(self, storage: MemoryJournal, partition: int, name: str) -> None:
        self.counts["snapshots"] += 1
        stored = await storage.read(name)
        promise(stored is not None, f"the manifest names {name}, which is not there")
        assert stored is not None
        tail = decode_snapshot(stored.data, name).tail
        place = (int(tail.segment.rsplit("/", 1)[1].split("-")[0]), tail.position)
        before = self._snapshots.get(partition, (0, 0))
        promise(place >= before, f"the manifest of partition {partition} moves back from {before} to {place}")
        self._snapshots[partition] = place
        await self.check_storage(storage, partition)

    async def deleted(self, storage: MemoryJournal, path: str) -> None:
        """Take a deletion."""
        kind, _, name = path.partition("/")
        partition = int(name.split("/")[0])
        if kind == "dead-letters":
            letter_id = f"{partition}-{int(name.split('/')[1])}"
            promise(
                ("strike", letter_id) in self.ledgers[partition].effects,
                f"the body of {letter_id} is deleted, and no record struck it",
            )
            self._letters[letter_id] = False
            self.struck.add(letter_id)
            return
        await self.check_storage(storage, partition)

    async def check_storage(self, storage: MemoryJournal, partition: int) -> None:
        """Check that a restore would give what all records make."""
        ledger = self.ledgers[partition]
        self.counts["restores checked"] += 1
        if ledger.owner:
            shard, _, _ = await restore(storage, partition)
            promise(same(shard, ledger.shard), f"partition {partition}: snapshot and tail are not the whole journal")

    def sent(self, partition: int, messages: list[tuple[bytes, Mapping[str, str]]]) -> None:
        """Take a send to the hub."""
        for body, properties in messages:
            if properties.get(KIND) == Kind.FORWARD:
                forward = msgspec.msgpack.decode(body, type=Forward)
                place = (forward.source, partition, forward.number)
                committed = self.ledgers[forward.source].effects.get(("forward", partition, forward.number))
                promise(
                    committed == forward.event,
                    f"{forward} is sent, and no record says so",
                )
                self._forwarded.add(place)

    def documented(self, collection: Collection, document: Document) -> None:
        """Take a document of a shard."""
        committed = self.home(document.twin_id).effects.get(("document", document.version))
        promise(
            committed == (collection, document),
            f"{collection} {document} is shown, and no record says so",
        )
        key = (collection, document.twin_id, document.document_id)
        self._documents[key] = max(self._documents.get(key, 0), document.version)

    def ordered(self, order: WorkOrder) -> None:
        """Take a work order."""
        promise(
            self.home(order.twin_id).effects.get(("order", order.idempotency_key)) == order,
            f"{order} is placed, and no record says so",
        )
        self._orders.add(order.idempotency_key)

    def commanded(self, command: DeviceCommand) -> None:
        """Take a command for a device."""
        promise(
            self.home(command.twin_id).effects.get(("command", command.twin_id, command.operation_id)) == command,
            f"{command} is given, and no record says so",
        )

    def showed(self, twin_id: str, before: int, shown: GraphTwin) -> None:
        """Take a change of the graph."""
        version = shown.state_version
        promise(version >= before, f"the graph showed {twin_id} at version {before}, and now at {version}")
        ledger = self.home(twin_id)
        ledger.displayed[twin_id] = max(ledger.displayed.get(twin_id, -1), version)
        twin = ledger.versions.get((twin_id, version))
        promise(twin is not None, f"the graph shows version {version} of {twin_id}, and no record says so")
        assert twin is not None
        state = remembered(twin)
        has = (shown.properties.get("heard"), shown.properties.get("chain"), shown.properties.get("readingCount"))
        promise(
            has == (state.count, state.chain, twin.reading_count), f"the graph shows {has} of {twin_id}, not {state}"
        )

    def removed(self, twin_id: str, state_version: int) -> None:
        """Take a removal from the graph."""
        promise(
            ("remove", twin_id, state_version) in self.home(twin_id).effects,
            f"{twin_id} is taken out of the graph up to version {state_version}, and no record says so",
        )
        self._removed.add((twin_id, state_version))

    def arrived(self, partition: int, entry: OutboxEntry) -> bool:  # noqa: PLR0911  one case for each kind
        """Whether the receiver of an output has it, or has something newer in its place."""
        match entry:
            case SendForward():
                return (partition, entry.destination, entry.channel_number) in self._forwarded
            case KeepLetter():
                letter_id = entry.letter.letter_id
                return letter_id in self._letters or ("strike", letter_id) in self.ledgers[partition].effects
            case StrikeLetter():
                return entry.letter_id in self.struck
            case PutDocument():
                key = (entry.collection, entry.document.twin_id, entry.document.document_id)
                # An older version is not written where a newer one waits as well.
                return self._documents.get(key, 0) >= entry.number or self.ledgers[partition].newest[key] > entry.number
            case PlaceOrder():
                return entry.order.idempotency_key in self._orders or entry.order.idempotency_key in self.excused
            case RemoveTwin():
                return (entry.twin_id, entry.state_version) in self._removed
        return True

    def kept_letters(self, partition: int) -> list[str]:
        """Return the dead letters of a partition whose bodies are stored."""
        return sorted(one for one, is_kept in self._letters.items() if is_kept and one.startswith(f"{partition}-"))
