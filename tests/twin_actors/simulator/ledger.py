"""Every record, held against what is promised, the moment it stands in the journal."""

import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.twin_actors.simulator.reference import STRANGER, Expected, Reference
from tests.twin_actors.simulator.twins import remembered
from tests.twin_actors.world import balance, same
from twin_actors.commit import (
    Claim,
    Commit,
    Intent,
    KeepLetter,
    OutboxEntry,
    Rebase,
    Record,
    Seal,
    StrikeLetter,
    Twin,
    decode,
)
from twin_actors.messages import KIND, TWIN, Kind
from twin_actors.outputs import PlaceOrder, PutDocument, RemoveTwin, SendCommand, SendForward
from twin_actors.ownership import Limits
from twin_actors.requests import AUTOMATIC
from twin_actors.shard import Shard
from twin_actors.snapshot import segment_path

if TYPE_CHECKING:
    from tests.twin_actors.simulator.services import Hub
    from twin_actors.documents import Collection

CHECKED = (
    *("messages", "readings", "resent", "dead_letters", "forwarded", "forwards_repeated", "ticks", "replayed"),
    "forwards_lost",
    *("replays_ignored", "requests", "requests_repeated"),
    *("told", "tells", "timers", "timers_failed", "deleted"),
)
"""What the reference counts as well."""


COLD_AFTER = 900.0
"""Seconds of silence after which a twin may be put away as bytes."""


class Broken(AssertionError):
    """A promise is broken."""


def promise(holds: object, text: str) -> None:
    """Insist on a promise."""
    if not holds:
        raise Broken(text)


class Ledger:
    """All records of one partition.

    Attributes
    ----------
    shard : Shard
        What the records make, applied one after the other since the first.
    owner : str
        Of the newest claim.
    outputs : dict
        Number → every output ever committed.
    effects : dict
        What identifies an effect to its receiver → what was committed of it.
    newest : dict
        (collection, twin id, document id) → the newest version committed.
    versions : dict
        (twin id, state version) → the twin as committed.
    displayed : dict
        Twin id → the newest version that the graph has ever shown.
    gone : dict
        Twin id → the version at which it was last deleted.
    first : int or None
        The first event ever folded, of the hub that is folded now.
    before : int
        How many events of earlier hubs were folded.
    """

    def __init__(
        self,
        partition: int,
        hub: "Hub",
        limits: Limits,
        counts: Counter[str],
        arrived: Callable[[int, OutboxEntry], bool],
    ) -> None:
        self.shard = Shard(partition=partition)
        self.reference = Reference(partition, len(hub.partitions))
        self.owner = ""
        self.displayed: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self.first: int | None = None
        self.before = 0
        self.outputs: dict[int, OutboxEntry] = {}
        self.effects: dict[tuple[object, ...], object] = {}
        self.newest: dict[tuple[Collection, str, str], int] = {}
        self.versions: dict[tuple[str, int], Twin] = {}
        self._hub = hub
        self._limits = limits
        self._counts = counts
        self._arrived = arrived
        self._segment = segment_path(partition, 0, 0)
        self._tried: dict[str, int] = {}
        self._checksum = 0
        self._records = 0

    @property
    def watermark(self) -> int:
        """The last event folded, -1 for none."""
        return -1 if self.shard.watermark is None else self.shard.watermark.sequence_number

    def appended(self, path: str, data: bytes) -> None:
        """Take bytes that have just become part of a segment."""
        promise(path == self._segment, f"a record follows the seal: in {path}, while {self._segment} is open")
        for record, _, checksum in decode(data, self._checksum, path):
            self._take(record)
            # What operators do is written to the segment that is open, however many records it has.
            self._records += not (isinstance(record, Seal) or self.owner.startswith("operator"))
            self._checksum = checksum
        promise(self._records <= self._limits.segment_records + 1, f"{path} has {self._records} records")

    def _take(self, record: Record) -> None:
        before, name = self.shard.epoch, type(record).__name__.lower()
        self._counts[f"{name}s"] += 1
        if isinstance(record, Claim):
            promise(record.epoch == before + 1, f"a claim of epoch {record.epoch} follows epoch {before}")
            self._counts["takeovers"] += bool(self.owner)
            self.owner = record.owner
        elif isinstance(record, Seal) and record.epoch == before + 1:
            self.owner = record.append_id.rpartition("-")[0]  # who is about to claim needed a new segment for that
        else:
            promise(record.epoch == before, f"a {name} of epoch {record.epoch} stands in epoch {before}")
            whose = record.append_id.rpartition("-")[0]
            promise(whose == self.owner, f"{whose} writes while {self.owner} owns partition {self.shard.partition}")
        if isinstance(record, Intent):
            subject = record.subject
            subject = self.reference.letter_id(subject) if isinstance(subject, int) else subject
            self._tried[subject] = self._tried.get(subject, 0) + 1
        if isinstance(record, Seal):
            self._segment, self._records = record.next_segment, 0
        if isinstance(record, Commit):
            self._check_commit(record)
        elif isinstance(record, Rebase):
            self._rebase(record)
        self.shard.apply(record)

    def _rebase(self, rebase: Rebase) -> None:
        """Go on in another hub."""
        hub, partition, first = self._hub, self.shard.partition, rebase.watermark.sequence_number + 1
        promise(self.is_elsewhere, f"partition {partition} is rebased, and nothing has happened to its hub")
        promise(rebase.watermark.hub == hub.identity, f"partition {partition} is rebased to {rebase.watermark}")
        promise(first <= hub.expired[partition], f"partition {partition} goes on at {first}, earlier ones are there")
        promise(rebase.is_renumbered, f"{rebase} takes the events of another hub for those of the last one")
        promise(rebase.counts.get("lost", 0) == first, f"{rebase} loses {first} events")
        self.before += self.watermark + 1 - (self.first or 0)
        self.first = 0
        self._tried.clear()
        self.reference.rebase()

    @property
    def is_elsewhere(self) -> bool:
        """Whether the partition was folded from a hub that is no more."""
        return self.shard.watermark is not None and self.shard.watermark.hub != self._hub.identity

    def _check_commit(self, commit: Commit) -> None:
        expected = self._expected(commit)
        if commit.swept is not None:
            self.reference.ring({twin.twin_id: twin.timers for twin in commit.twins})
        self._check_content(commit, expected)
        self._check_twins(commit, expected)
        self._check_cooled(commit)
        self._check_deleted(commit, expected)
        self._check_outputs(commit, expected)
        self._check_delivered(commit)
        for name in ("healed", "lost", "sweeps_failed"):
            self._counts[name] += commit.counts.get(name, 0)
        self._counts["sweeps"] += commit.swept is not None
        self._counts["events"] += balance(Shard(partition=0, totals=commit.counts))

    def _expected(self, commit: Commit) -> Expected:
        """Return what the events between two watermarks mean."""
        partition, accounted = self.shard.partition, balance(Shard(partition=0, totals=commit.counts))
        assert commit.watermark is not None
        last, hub = commit.watermark.sequence_number, commit.watermark.hub
        there, expired = self._hub.of(hub, partition)
        if self.shard.watermark is not None:
            promise(hub == self.shard.watermark.hub, f"a record goes on in {hub}, after {self.shard.watermark}")
        if self.first is None:
            self.first = last + 1 - accounted
            promise(
                0 <= self.first <= expired,
                f"partition {partition} begins at event {self.first}, though earlier ones are there",
            )
            before = self.first - 1
        else:
            before = self.watermark
        promise(
            last == before + accounted,
            f"partition {partition}: the watermark goes from {before} to {last}, {accounted} events are accounted for",
        )
        if commit.counts.get("lost"):
            promise(expired > last, f"event {last} is counted lost, though it could be read")
            self.reference.unsure = dict.fromkeys(range(len(self._hub.partitions)))
            return self.reference.interpret([], frozenset(), frozenset())
        events = there[before + 1 : last + 1]
        condemned = frozenset(letter_id for letter_id, reason in commit.letters if reason == "kills_process")
        removed = {entry.twin_id for entry in commit.outbox if isinstance(entry, RemoveTwin)}
        vouched = frozenset(twin.twin_id for twin in commit.twins) | removed
        nobody = frozenset(one.twin_id for one in commit.deleted) - removed
        return self.reference.interpret(events, vouched, condemned, nobody)

    def _check_content(self, commit: Commit, expected: Expected) -> None:
        accepted = commit.accepted
        rows = list(zip(accepted.twin_ids, accepted.sequence_numbers, accepted.bodies, strict=True))
        promise(rows == expected.accepted, f"the record folds {rows}, its events say {expected.accepted}")
        letters = dict(commit.letters)
        promise(
            letters.keys() == expected.letters.keys(),
            f"the record gives up {letters}, its events say {expected.letters}",
        )
        promise(commit.struck == expected.struck, f"the record strikes {commit.struck}, not {expected.struck}")
        for name in CHECKED:
            said, counted = commit.counts.get(name, 0), expected.counts[name]
            promise(said == counted, f"the record counts {said} {name}, there were {counted}")
            self._counts[name] += counted
        for letter_id, reason in commit.letters:
            self._counts[f"dead letters: {reason}"] += 1
            event = expected.letters[letter_id]
            twin_id = event.device_id or event.properties.get("twinfold-twin", "")
            if reason == "kills_process":
                promise(self._tried.get(letter_id, 0) >= 2, f"{letter_id} killed nobody, and is given up for that")
            if reason in STRANGER:
                promise(twin_id not in self.shard.twins, f"{twin_id} is a stranger ({reason}), though it is known")
            if reason == "no_such_twin":
                promise(not expected.announced.get(twin_id), f"{twin_id} announced its model and is no twin")

    def _check_twins(self, commit: Commit, expected: Expected) -> None:
        changed = {twin.twin_id: twin for twin in commit.twins}
        for twin_id in expected.touched:
            promise(twin_id in changed, f"{twin_id} heard something, and its state is not in the record")
        for twin_id, twin in changed.items():
            before = self.shard.twins.get(twin_id)
            if before is not None:
                promise(
                    twin.state_version == before.state_version + 1,
                    f"{twin_id} goes from version {before.state_version} to {twin.state_version}",
                )
                self._counts["twins warmed"] += twin_id in self.shard.cold
            elif twin_id in self.gone:
                self._counts["twins that came back"] += 1
                promise(twin.state_version > self.gone[twin_id], f"{twin_id} comes back at {twin.state_version}")
            known, state = self.reference.twins[twin_id], remembered(twin)
            has = (state.count, state.chain, state.temperature, state.scale, twin.reading_count, twin.resent_count)
            wanted = (known.count, known.chain, known.temperature, known.scale, known.readings, known.resent)
            has += (state.told, twin.timers)
            wanted += (known.told, known.timers)
            promise(has == wanted, f"{twin_id} remembers {has}, by its events it is {wanted}")
            promise(twin.last_reading_time == known.last_time, f"{twin_id}: event time {twin.last_reading_time}")
            promise(twin.maintenance.operations == known.operations, f"{twin_id} knows {twin.maintenance.operations}")
            raised = [alert.alert_id for alert in twin.maintenance.alerts]
            promise(len(raised) == len(set(raised)), f"{twin_id} has one alert twice: {raised}")
            self.versions[twin_id, twin.state_version] = twin

    def _check_cooled(self, commit: Commit) -> None:
        """Check that no twin is put away of which something is expected."""
        for twin_id in commit.cooled:
            known = self.reference.twins[twin_id]
            silence = self.reference.tick_time - max(known.last_seen, known.last_told)
            promise(silence >= COLD_AFTER and not known.timers, f"{twin_id} is put away after {silence} s: {known}")
            self._counts["twins cooled"] += twin_id not in self.shard.cold

    def _check_deleted(self, commit: Commit, expected: Expected) -> None:
        deleted = {one.twin_id: one.state_version for one in commit.deleted}
        removed = {entry.twin_id for entry in commit.outbox if isinstance(entry, RemoveTwin)}
        promise(removed == set(expected.deleted), f"the record deletes {removed}, not {expected.deleted}")
        promise(removed <= deleted.keys(), f"the record deletes {deleted}, and takes {removed} out of the graph")
        for twin_id in expected.deleted:
            version = deleted[twin_id]
            before = self.shard.twins.get(twin_id)
            promise(before is None or version >= before.state_version, f"{twin_id} is deleted at {version}: {before}")
            self.gone[twin_id] = max(version, self.gone.get(twin_id, 0))

    def _check_outputs(self, commit: Commit, expected: Expected) -> None:
        numbers = [entry.number for entry in commit.outbox]
        first = self.shard.last_number + 1
        promise(
            numbers == list(range(first, first + len(numbers))), f"outputs are numbered {numbers} after {first - 1}"
        )
        forwards = [entry for entry in commit.outbox if isinstance(entry, SendForward)]
        misplaced = len(expected.forwards)  # they go first
        there = [(entry.destination, entry.event) for entry in forwards[:misplaced]]
        promise(there == expected.forwards, "the record does not forward what is misplaced")
        told: dict[str, list[tuple[int, str, object]]] = {}
        for entry in forwards[misplaced:]:
            promise(entry.event.properties.get(KIND) == Kind.TELL, f"nobody told {entry} to anybody")
            said = json.loads(entry.event.body)
            told.setdefault(said["sender"], []).append((entry.destination, entry.event.properties[TWIN], said))
        promise(told == expected.tells, f"the record tells {told}, not {expected.tells}")
        channels = dict(self.shard.sent_channels)
        for entry in forwards:
            channels[entry.destination] = channels.get(entry.destination, 0) + 1
            promise(entry.channel_number == channels[entry.destination], f"the channel's number is {entry}")
        kept = {entry.letter.letter_id: entry.letter.event for entry in commit.outbox if isinstance(entry, KeepLetter)}
        promise(kept == expected.letters, f"the record keeps the bodies of {list(kept)}")
        struck = [entry.letter_id for entry in commit.outbox if isinstance(entry, StrikeLetter)]
        promise(struck == expected.struck, f"the record deletes the bodies of {struck}")
        for entry in commit.outbox:
            self.outputs[entry.number] = entry
            name, content = effect_of(entry)
            self.effects[name] = content
            if isinstance(entry, SendCommand):
                is_automatic = entry.operation.operation_id.startswith(AUTOMATIC)
                self._counts["commands by rules" if is_automatic else "commands by apps"] += 1
            elif isinstance(entry, PlaceOrder):
                self._counts["orders"] += 1
            elif isinstance(entry, PutDocument):
                self.newest[entry.collection, entry.document.twin_id, entry.document.document_id] = entry.number
                self._counts[f"documents: {entry.collection} {entry.document.status}"] += 1

    def _check_delivered(self, commit: Commit) -> None:
        for twin_id, version in commit.shown:
            promise(
                self.displayed.get(twin_id, -1) >= version,
                f"version {version} of {twin_id} is said to be shown, and the graph never did",
            )
        for number in commit.delivered:
            entry = self.outputs.get(number)
            promise(entry is not None, f"output {number} is said delivered and never was committed")
            assert entry is not None
            promise(
                self._arrived(self.shard.partition, entry),
                f"{entry} is said delivered, and its receiver does not have it",
            )

    def check_memory(self, shard: Shard) -> None:
        """Hold an owner's memory against all records."""
        promise(same(shard, self.shard), f"partition {self.shard.partition}: memory is not what the journal says")

    def check_bounds(self) -> None:
        """Check that what is remembered does not grow."""
        for twin_id in self.shard.twins:
            _, keys = self.shard.recall(twin_id)
            promise(len(keys) <= 64 * 8, f"{twin_id} remembers {len(keys) // 8} message ids")


def effect_of(entry: OutboxEntry) -> tuple[tuple[object, ...], object]:  # noqa: PLR0911  one case for each kind
    """Return what identifies an output to its receiver, and what it says."""
    match entry:
        case SendForward():
            return ("forward", entry.destination, entry.channel_number), entry.event
        case KeepLetter():
            return ("keep", entry.letter.letter_id), entry.letter
        case StrikeLetter():
            return ("strike", entry.letter_id), entry.letter_id
        case PlaceOrder():
            return ("order", entry.order.idempotency_key), entry.order
        case SendCommand():
            return ("command", entry.command.twin_id, entry.command.operation_id), entry.command
        case PutDocument():
            return ("document", entry.number), (entry.collection, entry.document)
        case RemoveTwin():
            return ("remove", entry.twin_id, entry.state_version), entry.state_version
    raise AssertionError(f"what is {entry}?")
