"""The twins whose home is one partition, in memory.

A shard changes in one way only: a record that stands in the journal is applied to it. The owner
applies each record once its append is confirmed, a restore applies the same records again, and
both end in the same memory.

A twin of which nothing is expected is kept cold: as bytes, in snapshots too, looked at by no sweep. A record says when
it becomes so, and the next record that has the twin warms it again.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from twin_actors.caution import Caution
from twin_actors.cold import Head, Twins, decode_cold, decode_head, encode_cold
from twin_actors.commit import (
    AcceptedFrames,
    Claim,
    Commit,
    Deleted,
    Intent,
    KeepLetter,
    OutboxEntry,
    Rebase,
    Record,
    Repair,
    Twin,
)
from twin_actors.outputs import RemoveTwin, SendForward
from twin_actors.watermark import Watermark
from twin_actors.wide import Statistics, refold
from twin_actors.work import KEY_BYTES, RECENT_KEYS, packed_key

ERA = 2**32
"""Numbers that a channel, or a twin for what it raises and orders, uses between two repairs of its partition, at most.

Each repair begins an era of its own, named by its epoch, which is above all that the damage took: no number given
before is given again. The first number of an era is taken whatever came before.
"""


RECENT_DELETIONS = 1_000
"""How many deletions a shard remembers, to do a repeated one once."""


class Shard(msgspec.Struct, kw_only=True, dict=True, rename={"hot": "twins"}):
    """A partition's twins, and what is owed to the world on their behalf.

    Attributes
    ----------
    partition : int
    epoch : int
        Of the last claim.
    watermark : Watermark or None
        None before the first event.
    hot : dict
        Twin id → twin, of all that are not cold.
    cold : dict
        Twin id → `Cold`, encoded.
    recent_keys : dict
        Twin id → keys of a hot twin's last message ids, oldest first, eight bytes each; lists were written by format 1.
    outbox : dict
        Number → output committed, not known delivered, in the order to deliver.
    last_number : int
        Of the outbox, ever given.
    sent_channels, received_channels : dict
        Partition, this one too → number of the last event sent to it on its channel, or applied from it.
    letters : dict
        Open dead letters: id → reason.
    shown : dict
        Twin id → state version that the graph is known to show of a hot twin; of a cold one it shows the newest.
    swept : str
        The last twin of a sweep that is not through; empty otherwise.
    deletions : dict
        ``twin id/operation id`` of the last deletions, oldest first.
    floor : int
        The highest state version of any twin that was deleted: whoever comes after it begins there.
    totals : dict
        What this partition has counted since it began.
    caution : Caution
        What is known of owners that may have died of what they folded.
    open_channels : list of int
        Other partitions whose next forward is taken whatever its number.
    renumbered : int
        How often the numbers of events have begun anew.
    given_up : list of str
        Segments and snapshots that a repair left behind.
    statistics : dict
        Twin id → statistics of the signals of a wide twin, as far as frames can be folded by this version of the app.
    numbers_from : int
        Beyond which a new twin numbers what it raises and orders: one of its id may have been deleted, or be among what
        a repair gave up.
    """

    partition: int
    epoch: int = 0
    watermark: Watermark | None = None
    hot: dict[str, Twin] = {}
    cold: dict[str, bytes] = {}
    recent_keys: dict[str, bytes | list[int]] = {}
    outbox: dict[int, OutboxEntry] = {}
    last_number: int = 0
    sent_channels: dict[int, int] = {}
    received_channels: dict[int, int] = {}
    letters: dict[str, str] = {}
    shown: dict[str, int] = {}
    totals: dict[str, int] = {}
    deletions: dict[str, None] = {}
    floor: int = 0
    swept: str = ""
    caution: Caution = msgspec.field(default_factory=Caution)
    open_channels: list[int] = []
    renumbered: int = 0
    given_up: list[str] = []
    statistics: dict[str, Statistics] = {}
    numbers_from: int = 0

    def __post_init__(self) -> None:
        for twin_id, keys in self.recent_keys.items():
            if isinstance(keys, list):
                self.recent_keys[twin_id] = b"".join(map(packed_key, keys))

    @functools.cached_property
    def twins(self) -> Twins:
        """All twins, by their ids."""
        return Twins(self.hot, self.cold)

    @functools.cached_property
    def _owing(self) -> dict[str, None]:
        """The ids of the twins that the graph does not show as they are; every record keeps them up."""
        shown = self.shown
        return {twin_id: None for twin_id, twin in self.hot.items() if twin.state_version > shown.get(twin_id, -1)}

    @functools.cached_property
    def leaving(self) -> dict[str, int]:
        """The ids of deleted twins that the graph may still have → number of the output that removes them."""
        return {entry.twin_id: entry.number for entry in self.outbox.values() if isinstance(entry, RemoveTwin)}

    def apply(self, record: Record, statistics: Mapping[str, Statistics] | None = None) -> None:
        """Take over what a record of the journal says.

        Parameters
        ----------
        record
        statistics
            What the record's frames lead to, where it is known; otherwise they are folded here.
        """
        if isinstance(record, Commit):
            self._apply_commit(record)
            if record.accepted.frames:
                self._follow_frames(record, statistics or {})
        elif isinstance(record, Claim):
            self.epoch = record.epoch
            self.caution.claimed(record)
            self._count({"claims": 1, "fenced": record.fenced})
        elif isinstance(record, Intent):
            self.caution.intended(record)
        elif isinstance(record, Rebase):
            self.watermark = record.watermark
            self.caution.moved()
            self.open_channels = record.open_channels
            self.renumbered += record.is_renumbered
            if record.is_renumbered:
                self.deletions.clear()  # what comes again brings its twin back, and then deletes it again
            self._count(record.counts)
        elif isinstance(record, Repair):
            self._apply_repair(record)

    def _apply_commit(self, commit: Commit) -> None:
        self.caution.committed(commit, self._passed(commit))
        if commit.watermark is not None:
            self.watermark = commit.watermark
        self._apply_twins(commit)
        self._apply_outputs(commit)
        self.letters.update(commit.letters)
        for letter_id in commit.struck:
            self.letters.pop(letter_id, None)
        self.received_channels.update(commit.channels)
        opened = commit.open_channels or self.open_channels
        self.open_channels = [source for source in opened if source not in commit.channels]
        if commit.swept is not None:
            self.swept = commit.swept
        self._count(commit.counts)

    def _apply_twins(self, commit: Commit) -> None:
        for twin in commit.twins:
            self._keep(twin)
        for twin_id, key in zip(commit.accepted.twin_ids, commit.accepted.message_keys, strict=True):
            if key:
                keys = self.recent_keys.get(twin_id, b"")
                assert isinstance(keys, bytes)
                self.recent_keys[twin_id] = (keys + packed_key(key))[-RECENT_KEYS * KEY_BYTES :]
        for twin_id, version in commit.shown:
            self._note_shown(twin_id, version)
        for twin_id in commit.cooled:
            self._cool(twin_id)
        for deleted in commit.deleted:
            self._delete(deleted)

    def _delete(self, deleted: Deleted) -> None:
        """Forget a twin; nothing that grows with the number of twins deleted is kept."""
        twin_id = deleted.twin_id
        for kept in (self.hot, self.cold, self.recent_keys, self.shown, self.statistics, self._owing):
            kept.pop(twin_id, None)
        if twin_id in self.caution.left_out:
            self.caution.left_out.remove(twin_id)
        self.floor = max(self.floor, deleted.state_version)
        self.numbers_from = max(self.numbers_from, deleted.number)
        self.deletions[f"{twin_id}/{deleted.operation_id}"] = None
        if len(self.deletions) > RECENT_DELETIONS:
            del self.deletions[next(iter(self.deletions))]

    def is_deleted_by(self, twin_id: str, operation_id: str) -> bool:
        """Whether an operation has deleted a twin, not long ago."""
        return f"{twin_id}/{operation_id}" in self.deletions

    def _apply_outputs(self, commit: Commit) -> None:
        for number in commit.delivered:
            entry = self.outbox.pop(number, None)
            if isinstance(entry, RemoveTwin) and self.leaving.get(entry.twin_id) == number:
                del self.leaving[entry.twin_id]
        for entry in commit.outbox:
            self.outbox[entry.number] = entry
            self.last_number = entry.number
            if isinstance(entry, SendForward):
                self.sent_channels[entry.destination] = entry.channel_number
            elif isinstance(entry, RemoveTwin):
                self.leaving[entry.twin_id] = entry.number

    def _keep(self, twin: Twin) -> None:
        """Take over a twin as it is now."""
        twin_id = twin.twin_id
        if twin_id in self.cold:
            before = decode_cold(self.cold.pop(twin_id))
            self.shown[twin_id] = before.twin.state_version
            if before.keys:
                self.recent_keys[twin_id] = before.keys
        self.hot[twin_id] = twin
        if twin.state_version > self.shown.get(twin_id, -1):
            self._owing[twin_id] = None

    def _note_shown(self, twin_id: str, version: int) -> None:
        if twin_id in self.hot:
            self.shown[twin_id] = version
            if self.hot[twin_id].state_version <= version:
                self._owing.pop(twin_id, None)

    def _cool(self, twin_id: str) -> None:
        """Keep a twin as bytes from now on, unless the same record has changed it."""
        if twin_id not in self._owing and twin_id in self.hot:
            keys = self.recent_keys.pop(twin_id, b"")
            assert isinstance(keys, bytes)
            self.cold[twin_id] = encode_cold(self.hot.pop(twin_id), keys)
            self.shown.pop(twin_id, None)

    def _passed(self, commit: Commit) -> int:
        """Return how many events a commit is about to move the watermark."""
        before, after = self.watermark, commit.watermark
        if after is None:
            return 0
        return 1 if before is None else after.sequence_number - before.sequence_number

    def _apply_repair(self, repair: Repair) -> None:
        self.epoch = repair.epoch
        self.caution.moved()
        self.given_up = [*self.given_up, *repair.given_up]
        self.last_number += repair.jump
        self.numbers_from = repair.epoch * ERA
        for twin in list(self.twins.values()):
            version = twin.state_version + repair.jump
            # Receivers know alerts, orders and operations by their numbers, those too that the damage took.
            maintenance = msgspec.structs.replace(twin.maintenance, number=self.numbers_from)
            self._keep(msgspec.structs.replace(twin, state_version=version, maintenance=maintenance))
        self.floor += repair.jump
        for partition in repair.channels:
            self.sent_channels[partition] = repair.epoch * ERA
        self.open_channels = repair.channels
        self._count({"repairs": 1})

    def _follow_frames(self, commit: Commit, known: Mapping[str, Statistics]) -> None:
        """Bring the statistics of wide twins up to the frames of a record."""
        accepted = commit.accepted
        by_twin: dict[str, list[tuple[AcceptedFrames, bytes]]] = {}
        for message in accepted.frames:
            by_twin.setdefault(accepted.twin_ids[message.index], []).append((message, accepted.bodies[message.index]))
        for twin_id, messages in by_twin.items():
            if twin_id not in self.hot:
                continue  # the same record has deleted it
            epoch = self.hot[twin_id].signal_epoch
            statistics = known.get(twin_id)
            if epoch is not None and (statistics is None or statistics.epoch != epoch):
                statistics = refold(self.statistics.get(twin_id), epoch, messages)
            if statistics is None:
                self.statistics.pop(twin_id, None)
            else:
                self.statistics[twin_id] = statistics

    def _count(self, counts: dict[str, int]) -> None:
        totals = Counter(self.totals)
        totals.update(counts)
        self.totals = {name: count for name, count in totals.items() if count}

    def recall(self, twin_id: str) -> tuple[Twin | None, bytes]:
        """Return a twin, None where there is none, and the keys of its last message ids, oldest first."""
        twin, keys = self.hot.get(twin_id), self.recent_keys.get(twin_id, b"")
        if twin is None and twin_id in self.cold:
            cold = decode_cold(self.cold[twin_id])
            twin, keys = cold.twin, cold.keys
        assert isinstance(keys, bytes)
        return twin, keys

    def owed(self) -> Iterable[Twin]:
        """Return the twins that the graph does not show as they are."""
        hot = self.hot
        return [hot[twin_id] for twin_id in self._owing]

    def heads(self) -> Iterator[Twin | Head]:
        """Return of every twin of what type it is, and the layout of its state; cold ones are not decoded for it."""
        yield from self.hot.values()
        for data in self.cold.values():
            yield decode_head(data)

    def kept_letter(self, letter_id: str) -> KeepLetter | None:
        """Return a dead letter that still waits in the outbox."""
        return next(
            (e for e in self.outbox.values() if isinstance(e, KeepLetter) and e.letter.letter_id == letter_id),
            None,
        )
