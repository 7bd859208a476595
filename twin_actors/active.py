"""A partition that this process owns: commits, and delivers what is committed."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from twin_actors.caution import MOST_ATTEMPTS
from twin_actors.clock import Clock
from twin_actors.commit import PART_BYTES, Commit, OutboxEntry, Twin, in_parts
from twin_actors.dispatch import Dispatch, Outcome
from twin_actors.documents import OperationStatus
from twin_actors.errors import Unavailable
from twin_actors.fold import tells
from twin_actors.gaps import GapReader
from twin_actors.introduction import GRAPH_UNAVAILABLE
from twin_actors.journals import Journal
from twin_actors.maintenance import put_operation, without_effect
from twin_actors.messages import KIND, LETTER, Kind
from twin_actors.metrics import LAG, OUTBOX, PARKED, PROJECTION_LAG, THROTTLED, Metrics
from twin_actors.outbox import Receivers, deliver, numbered
from twin_actors.outputs import PutDocument, SendCommand
from twin_actors.ownership import Owner, RecordTooLarge
from twin_actors.projection import Projection
from twin_actors.shard import Shard
from twin_actors.sinks import Devices, Documents, Graph, MailboxSender, Throttled, WorkOrders
from twin_actors.sweep import SLICE_TWINS, RulModels, Slice, next_to_sweep, sweep
from twin_actors.twin import TwinType
from twin_actors.wide import Statistics

log = logging.getLogger(__name__)

CONFIRM_AFTER_SECONDS = 3.0
"""An owner that has not written for longer writes again before it sends anything, so that a
process that wakes from a pause finds out whether it was replaced."""

CONFIRM_ATTEMPTS = 3
"""How often storage may take longer than that before the partition is held."""

DELIVERY_SECONDS = 0.5
LAGGING_DELIVERY_SECONDS = 0.1
"""What one invocation spends on the graph, and what it spends while the partition lags: folding
comes first. What is left waits for the next batch or tick."""

LAG_SECONDS = 2.0
"""A batch whose newest event is older than this is late."""

AUDIT_SECONDS = 0.2
"""What one tick spends on comparing quiet twins with the graph."""

SWEEP_SECONDS = 2.0
"""What one invocation spends on sweeping its shard."""

MAX_OUTBOX = 10_000
"""Outputs that may wait before the partition is held: memory must not grow with an outage."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""How long a receiver that does not answer is left alone."""

MOST_REPLAYS = 64
"""Dead letters replayed at one tick because the graph answers again."""

KNOWN_DONE = 5_000
"""How many deliveries one record may confirm."""

TOLD_BYTES = 1024 * 1024
"""How much one record may say of what came of outputs, so that it fits one append."""


class Ports(msgspec.Struct, frozen=True):
    """The outside world of a runtime."""

    journal: Journal
    graph: Graph
    sender: MailboxSender
    reader: GapReader
    devices: Devices
    documents: Documents
    orders: WorkOrders
    models: RulModels
    clock: Clock
    metrics: Metrics = Metrics()

    @property
    def receivers(self) -> Receivers:
        """Those who take outputs."""
        return Receivers(self.journal, self.sender, self.documents, self.orders, self.graph)


class Pause(msgspec.Struct, frozen=True):
    """A lane of outputs whose receiver does not answer is left alone, longer each time."""

    until: float
    seconds: float


class Beside(msgspec.Struct, frozen=True):
    """What a record says beside what was folded.

    Attributes
    ----------
    shown : list
        (twin id, state version).
    told : list of PutDocument
    fruitless : list of Twin
        Those that gave commands which nothing came of, as they were before.
    delivered : list of int
    """

    shown: list[tuple[str, int]] = []
    told: list[PutDocument] = []
    fruitless: list[Twin] = []
    delivered: list[int] = []


class Active(msgspec.Struct):
    """A partition that this process owns, as far as it knows.

    Attributes
    ----------
    owner : Owner
    projection : Projection
    dispatch : Dispatch
    ports : Ports
    types : Mapping
        Name → twin type.
    partition_count : int
        Over which twins are spread.
    delivered, shown
        Done since the last record, to be said in the next one.
    told : list of PutDocument
        What came of outputs since the last record, for apps.
    fruitless : dict
        Twin id → commands that its rules gave and nothing came of, since the last record.
    landed : list of Outcome
        What came of commands, not yet committed.
    closed : dict
        Lane of outputs → until when it is left alone, and for how long.
    tick_time : float
        Of the newest tick that has not been followed by a sweep; 0 for none.
    heard_at : float
        When anything last came for it, on the clock that never jumps.
    asked_again : set of str
        Dead letters that were replayed because the graph answers again.
    patient_until : float
        How long this delivery waits for a graph that does not answer, however many records it makes.
    doubt : asyncio.Lock
        Of the whole process: held from an intent to the record that ends it, and while turns run elsewhere. Whatever
        kills the process then is what the intent names, or there is no intent.
    """

    owner: Owner
    projection: Projection
    dispatch: Dispatch
    ports: Ports
    types: Mapping[str, TwinType[Any]]
    partition_count: int
    delivered: list[int] = []
    shown: dict[str, int] = {}
    told: list[PutDocument] = []
    fruitless: dict[str, list[str]] = {}
    landed: list[Outcome] = []
    closed: dict[str, Pause] = {}
    tick_time: float = 0.0

    heard_at: float = 0.0
    asked_again: set[str] = set()
    patient_until: float = 0.0
    doubt: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)

    @property
    def shard(self) -> Shard:
        """The twins."""
        return self.owner.shard

    async def sweep(self) -> None:
        """Sweep the shard, a record a slice, as far as there is time; the next tick goes on."""
        shard, now, self.tick_time = self.shard, self.tick_time, 0.0
        deadline = self.ports.clock.elapsed() + SWEEP_SECONDS
        most_bytes = PART_BYTES
        while True:
            async with contextlib.AsyncExitStack() as doubt:
                await doubt.enter_async_context(self.doubt)
                most_twins = SLICE_TWINS
                if shard.caution.twins:
                    most_twins = 1
                    await self._announce_twin()
                part = sweep(shard, self.types, self.ports.models, now, most_bytes, most_twins)
                if not shard.caution.twins:
                    await doubt.aclose()
                try:
                    await self._commit_slice(part)
                except RecordTooLarge:
                    if len(part.twins) <= 1:
                        raise
                    most_bytes //= 4
                    continue
            self.projection.forget(part.cooled)
            if not part.swept or self.ports.clock.elapsed() >= deadline:
                return

    def _is_news(self, part: Slice) -> bool:
        """Whether a slice of a sweep must be recorded."""
        is_on = part.swept != self.shard.swept or self.shard.caution.twins > 0
        return is_on or bool(part.twins or part.cooled or part.failed)

    async def _commit_slice(self, part: Slice) -> None:
        """Append what a slice changed, if it did."""
        shard = self.shard
        if not self._is_news(part):
            return
        outbox: list[OutboxEntry] = [*part.outputs]
        draft = Commit(append_id="", epoch=0, watermark=shard.watermark, twins=part.twins, outbox=outbox)
        counts = {"sweeps_failed": part.failed, "tells": tells(part.outputs)}
        counts |= {"timers": part.timers, "timers_failed": part.timers_failed}
        await self.commit(msgspec.structs.replace(draft, swept=part.swept, cooled=part.cooled), counts)

    async def _announce_twin(self) -> None:
        """Say which twin is swept next; leave it out for good if it has killed whoever tried."""
        shard = self.shard
        if (found := next_to_sweep(shard)) and shard.caution.attempts(found[0]) >= MOST_ATTEMPTS:
            log.error("partition %d: twin %s kills whoever sweeps it: it is left out", shard.partition, found[0])
            draft = Commit(append_id="", epoch=0, watermark=shard.watermark, left_out=found)
            await self.commit(draft, {"left_out": 1})
            found = next_to_sweep(shard)
        if found:
            await self.owner.intend(found[0])

    async def commit(
        self,
        draft: Commit,
        counts: Mapping[str, int] | None = None,
        statistics: Mapping[str, Statistics] | None = None,
    ) -> None:
        """Append what was folded, with more counts; what is said beside that waits where it does not fit."""
        draft = msgspec.structs.replace(draft, counts={**draft.counts, **(counts or {})})
        try:
            await self._append(draft, self._beside(draft), statistics)
        except RecordTooLarge:
            # No message is given up for what came of another.
            await self._append(draft, Beside(), statistics)

    async def _append(self, draft: Commit, beside: Beside, statistics: Mapping[str, Statistics] | None = None) -> None:
        record = msgspec.structs.replace(
            draft,
            twins=self._with_fruitless(draft.twins, beside.fruitless),
            append_id=self.owner.next_append_id(),
            epoch=self.owner.epoch,
            delivered=[*draft.delivered, *beside.delivered],
            shown=beside.shown,
            outbox=numbered([*draft.outbox, *beside.told], self.shard, self.partition_count),
        )
        asked_at = self.ports.clock.elapsed()
        await self.owner.append(record, statistics)
        self.ports.metrics.committed(self.shard.partition, record.counts, self.ports.clock.elapsed() - asked_at)
        for twin_id in [twin.twin_id for twin in beside.fruitless] + [one.twin_id for one in draft.deleted]:
            self.fruitless.pop(twin_id, None)
        self.projection.forget(one.twin_id for one in draft.deleted)
        del self.delivered[: len(beside.delivered)]
        del self.told[: len(beside.told)]
        for twin_id, _ in beside.shown:
            del self.shown[twin_id]

    def _beside(self, draft: Commit) -> Beside:
        """Return as much as the record of a draft should say of what has come of outputs and the graph.

        An output is known delivered no sooner than all that came of outputs is said: else it would be forgotten with
        this process.
        """
        told = self._told_now()
        deleted = {one.twin_id for one in draft.deleted}
        fruitless = [twin_id for twin_id in self.fruitless if twin_id not in deleted]
        changed = next(in_parts(self.shard.twins[twin_id] for twin_id in fruitless), [])
        is_all = len(told) == len(self.told) and len(changed) == len(fruitless)
        delivered = self.delivered[:KNOWN_DONE] if is_all else []
        return Beside(list(self.shown.items())[:KNOWN_DONE], told, changed, delivered)

    def _with_fruitless(self, twins: list[Twin], fruitless: list[Twin]) -> list[Twin]:
        """Return the twins of a record, those included that gave a command which nothing came of."""
        if not fruitless:
            return twins
        changed = {twin.twin_id: twin for twin in twins}
        for before in fruitless:
            twin = changed.get(before.twin_id)
            if twin is None:
                twin = msgspec.structs.replace(before, state_version=before.state_version + 1)
            for name in self.fruitless[before.twin_id]:
                twin = msgspec.structs.replace(twin, maintenance=without_effect(twin.maintenance, name))
            changed[before.twin_id] = twin
        return list(changed.values())

    def _told_now(self) -> list[PutDocument]:
        """Return what came of outputs, as much as a record should say."""
        size, count = 0, 0
        for entry in self.told:
            size += len(entry.document.body)
            if count and size > TOLD_BYTES:
                break
            count += 1
        return self.told[:count]

    async def record(self) -> None:
        """Append what is known delivered and what came of outputs, in as many records as that takes."""
        draft = Commit(append_id="", epoch=0, watermark=self.shard.watermark)
        await self._append(draft, self._beside(draft))
        while self.told or self.fruitless:
            await self._append(draft, self._beside(draft))

    async def send(self) -> None:
        """Deliver what is committed: the outbox, then the graph, then a snapshot when it is due."""
        await self.deliver_outbox()
        await self._confirm()
        assert self.shard.watermark is not None
        is_lagging = self.ports.clock.now() - self.shard.watermark.enqueued_time > LAG_SECONDS
        budget = LAGGING_DELIVERY_SECONDS if is_lagging else DELIVERY_SECONDS
        self.shown.update(await self.projection.show(self.shard, budget, self.shown))
        if self.projection.met:
            await self._meet()
        held_back = self.projection.held_back_seconds(self.shard, self.shown)
        if held_back and not is_lagging:
            # The graph takes ten updates a second of a twin. Nothing may come after this batch, and its values
            # must not stay unseen until the next tick.
            await self.ports.clock.sleep(held_back)
            await self._confirm()
            self.shown.update(await self.projection.show(self.shard, budget, self.shown))
        if self.owner.is_snapshot_due:
            try:
                await self.owner.publish_snapshot()
            except Unavailable as error:
                log.warning("partition %d: no snapshot now: %s", self.shard.partition, error)

    async def _meet(self) -> None:
        """Commit that the graph has been asked about twins: their versions go on from what it shows."""
        met = self.projection.met

        def twins() -> Iterator[Twin]:
            for twin_id, version in list(met.items()):
                twin = self.shard.twins.get(twin_id)  # as the record before has left it
                if twin is None:
                    del met[twin_id]
                    continue
                state_version = max(twin.state_version, version) + 1
                yield msgspec.structs.replace(twin, is_unmet=False, state_version=state_version)

        for part in in_parts(twins()):
            await self.commit(Commit(append_id="", epoch=0, watermark=self.shard.watermark, twins=part))
            for twin in part:
                del met[twin.twin_id]

    async def retry_letters(self) -> None:
        """Replay what is a dead letter because the graph was away, once it answers: some at each tick."""
        letters = self.shard.letters
        waiting = [
            letter_id
            for letter_id, reason in letters.items()
            if reason == GRAPH_UNAVAILABLE and letter_id not in self.asked_again
        ][:MOST_REPLAYS]
        if not waiting or not await self.projection.is_answered():
            return
        await self._confirm()
        try:
            await self.ports.sender.send(
                self.shard.partition, [(b"{}", {KIND: Kind.REPLAY.value, LETTER: letter_id}) for letter_id in waiting]
            )
        except Unavailable as error:
            log.warning("partition %d: dead letters are not replayed now: %s", self.shard.partition, error)
            return
        self.asked_again = {letter_id for letter_id in self.asked_again if letter_id in letters} | set(waiting)

    def tell_metrics(self) -> None:
        """Say how it stands after a batch."""
        shard, projection, record = self.shard, self.projection, self.ports.metrics.record
        assert shard.watermark is not None
        partition = shard.partition
        record(LAG, partition, max(0.0, self.ports.clock.now() - shard.watermark.enqueued_time))
        record(PROJECTION_LAG, partition, projection.lag_seconds(shard, self.shown))
        record(PARKED, partition, len(projection.parked))
        record(OUTBOX, partition, len(shard.outbox) - len(self.delivered))
        if throttled := projection.throttled + self.dispatch.throttled:
            record(THROTTLED, partition, throttled)
            projection.throttled = self.dispatch.throttled = 0

    async def audit(self) -> None:
        """Compare some of the twins with the graph."""
        await self._confirm()
        await self.projection.audit(self.shard, AUDIT_SECONDS)

    async def may_be_dropped(self) -> bool:
        """Whether nobody misses this shard: it owes nothing, or is another's by now; what is due is written first."""
        if not await self.owner.is_current():
            return True
        if self.landed or self.fruitless or self.told or set(self.shard.outbox) - set(self.delivered):
            return False
        if any(twin.state_version > self.shown.get(twin.twin_id, -1) for twin in self.shard.owed()):
            return False
        if self.delivered or self.shown:
            await self.record()
        if self.owner.is_snapshot_due:
            await self.owner.publish_snapshot()
        return True

    async def is_full(self) -> bool:
        """Deliver what waits, where it is much; return whether it still is, and no more may be folded.

        Commands for devices do not count: they are bounded for each device, and end by themselves.
        """
        if len(self.shard.outbox) < MAX_OUTBOX or self._waiting() < MAX_OUTBOX:
            return False
        await self.deliver_outbox()
        return self._waiting() >= MAX_OUTBOX

    def _waiting(self) -> int:
        done = set(self.delivered)
        return sum(
            not isinstance(entry, SendCommand) and number not in done for number, entry in self.shard.outbox.items()
        )

    async def deliver_outbox(self) -> None:
        """Deliver committed outputs that are not known delivered."""
        shard, delivered, now = self.shard, set(self.delivered), self.ports.clock.now()
        pending = [entry for number, entry in shard.outbox.items() if number not in delivered]
        if not pending:
            return
        await self._confirm()
        for expired in self.dispatch.start(entry for entry in pending if isinstance(entry, SendCommand)):
            self.note(expired)
        elapsed = self.ports.clock.elapsed()
        closed = {lane for lane, pause in self.closed.items() if elapsed < pause.until}
        delivery = await deliver(pending, shard.partition, self.ports.receivers, now, closed)
        self.delivered += delivery.done
        self.told += delivery.told
        for lane in set(self.closed) - closed - set(delivery.faults):
            del self.closed[lane]
        for lane, fault in delivery.faults.items():
            log.warning("partition %d: some of %d outputs wait: %s: %s", shard.partition, len(pending), lane, fault)
            self._close(lane, fault)
        if self.told:
            await self.record()
            await self.deliver_outbox()

    def note(self, outcome: Outcome) -> None:
        """Remember what came of a command, for the next record."""
        self.delivered.append(outcome.number)
        operation = outcome.operation
        self.told.append(put_operation(outcome.twin_id, operation, self.ports.clock.now()))
        is_done = operation.status is OperationStatus.DELIVERED or 200 <= (operation.answer_status or 0) < 300
        if operation.reason is not None and not is_done and outcome.twin_id in self.shard.twins:
            self.fruitless.setdefault(outcome.twin_id, []).append(operation.name)

    def _close(self, lane: str, fault: Unavailable) -> None:
        """Leave a lane alone for a while."""
        last = self.closed.get(lane)
        asked = fault.retry_after_seconds if isinstance(fault, Throttled) else 0.0
        if asked:
            self.ports.metrics.record(THROTTLED, self.shard.partition)
        seconds = max(asked, FIRST_PAUSE_SECONDS if last is None else min(LONGEST_PAUSE_SECONDS, 2.0 * last.seconds))
        self.closed[lane] = Pause(self.ports.clock.elapsed() + seconds, seconds)

    async def _confirm(self) -> None:
        """Find out whether we still own the partition, if we have not written for a while.

        What storage answers late says only that we owned it then.
        """
        for _ in range(CONFIRM_ATTEMPTS):
            if self.owner.seconds_since_confirmed <= CONFIRM_AFTER_SECONDS:
                return
            await self.record()
        if self.owner.seconds_since_confirmed > CONFIRM_AFTER_SECONDS:
            raise Unavailable(f"partition {self.shard.partition}: storage is too slow to say whether we still own it")
