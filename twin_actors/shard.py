"""The twins whose home is one partition, in memory.

A shard changes in one way only: a record that stands in the journal is applied to it. The owner
applies each record once its append is confirmed, a restore applies the same records again, and
both end in the same memory.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from twin_actors.caution import Caution
from twin_actors.commit import (
    AcceptedFrames,
    Claim,
    Commit,
    Intent,
    KeepLetter,
    OutboxEntry,
    Rebase,
    Record,
    Repair,
    Twin,
)
from twin_actors.outputs import SendForward
from twin_actors.turn import RECENT_KEYS
from twin_actors.watermark import Watermark
from twin_actors.wide import Statistics, refold

ERA = 2**32
"""Numbers of a channel between two repairs of its sender, more than it ever uses: the first of an era is taken whatever
came before."""


def next_era(number: int) -> int:
    """Return the number before the first one of the next era of a channel."""
    return (number // ERA + 1) * ERA


class Shard(msgspec.Struct, kw_only=True):
    """A partition's twins, and what is owed to the world on their behalf.

    Attributes
    ----------
    partition : int
    epoch : int
        Of the last claim.
    watermark : Watermark or None
        None before the first event.
    twins : dict
        Twin id → twin.
    recent_keys : dict
        Twin id → keys of its last message ids, oldest first.
    outbox : dict
        Number → output committed, not known delivered, in the order to deliver.
    last_number : int
        Of the outbox, ever given.
    sent_channels, received_channels : dict
        Partition, this one too → number of the last event sent to it on its channel, or applied from it.
    letters : dict
        Open dead letters: id → reason.
    shown : dict
        Twin id → state version that the graph is known to show.
    swept : str
        The last twin of a sweep that is not through; empty otherwise.
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
    """

    partition: int
    epoch: int = 0
    watermark: Watermark | None = None
    twins: dict[str, Twin] = {}
    recent_keys: dict[str, list[int]] = {}
    outbox: dict[int, OutboxEntry] = {}
    last_number: int = 0
    sent_channels: dict[int, int] = {}
    received_channels: dict[int, int] = {}
    letters: dict[str, str] = {}
    shown: dict[str, int] = {}
    totals: dict[str, int] = {}
    swept: str = ""
    caution: Caution = msgspec.field(default_factory=Caution)
    open_channels: list[int] = []
    renumbered: int = 0
    given_up: list[str] = []
    statistics: dict[str, Statistics] = {}

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
            self._count(record.counts)
        elif isinstance(record, Repair):
            self._apply_repair(record)

    def _apply_commit(self, commit: Commit) -> None:
        self.caution.committed(commit, self._passed(commit))
        if commit.watermark is not None:
            self.watermark = commit.watermark
        for twin in commit.twins:
            self.twins[twin.twin_id] = twin
        for twin_id, key in zip(commit.accepted.twin_ids, commit.accepted.message_keys, strict=True):
            if key:
                keys = self.recent_keys.setdefault(twin_id, [])
                keys.append(key)
                del keys[:-RECENT_KEYS]
        for number in commit.delivered:
            self.outbox.pop(number, None)
        for entry in commit.outbox:
            self.outbox[entry.number] = entry
            self.last_number = entry.number
            if isinstance(entry, SendForward):
                self.sent_channels[entry.destination] = entry.channel_number
        self.letters.update(commit.letters)
        for letter_id in commit.struck:
            self.letters.pop(letter_id, None)
        self.shown.update(commit.shown)
        self.received_channels.update(commit.channels)
        opened = commit.open_channels or self.open_channels
        self.open_channels = [source for source in opened if source not in commit.channels]
        if commit.swept is not None:
            self.swept = commit.swept
        self._count(commit.counts)

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
        for twin in list(self.twins.values()):
            version = twin.state_version + repair.jump
            self.twins[twin.twin_id] = msgspec.structs.replace(twin, state_version=version)
        for partition in repair.channels:
            self.sent_channels[partition] = next_era(self.sent_channels.get(partition, 0))
        self.open_channels = repair.channels
        self._count({"repairs": 1})

    def _follow_frames(self, commit: Commit, known: Mapping[str, Statistics]) -> None:
        """Bring the statistics of wide twins up to the frames of a record."""
        accepted = commit.accepted
        by_twin: dict[str, list[tuple[AcceptedFrames, bytes]]] = {}
        for message in accepted.frames:
            by_twin.setdefault(accepted.twin_ids[message.index], []).append((message, accepted.bodies[message.index]))
        for twin_id, messages in by_twin.items():
            epoch = self.twins[twin_id].signal_epoch
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

    def owed(self) -> Iterable[Twin]:
        """Return the twins that the graph does not show as they are."""
        shown = self.shown
        return (twin for twin in self.twins.values() if twin.state_version > shown.get(twin.twin_id, -1))

    def kept_letter(self, letter_id: str) -> KeepLetter | None:
        """Return a dead letter that still waits in the outbox."""
        return next(
            (e for e in self.outbox.values() if isinstance(e, KeepLetter) and e.letter.letter_id == letter_id),
            None,
        )
