"""One batch, from the trigger to the graph: the only module that orchestrates.

Read `Runtime.deliver` from top to bottom: claim or recall the shard, skip what is folded, heal
gaps, fold and commit in one append, then deliver. Nothing leaves before the append is confirmed.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from twin_actors.clock import Clock
from twin_actors.commit import Commit, DeadLetter, OutboxEntry
from twin_actors.dispatch import Dispatch, Outcome
from twin_actors.errors import Fenced, PartitionStopped, Rejected, TwinfoldError, Unavailable
from twin_actors.fold import fold, numbered
from twin_actors.gaps import GapReader
from twin_actors.introduction import introduce
from twin_actors.journals import ABSENT, Journal
from twin_actors.mailbox import give_up, replays, sort
from twin_actors.maintenance import put_operation
from twin_actors.messages import KIND, Event, Kind
from twin_actors.outbox import Receivers, deliver, letter_path
from twin_actors.outputs import PutDocument, SendCommand
from twin_actors.ownership import LIMITS, Limits, Owner, RecordTooLarge, restore
from twin_actors.projection import Projection
from twin_actors.shard import Shard
from twin_actors.sinks import Devices, Documents, Graph, MailboxSender, WorkOrders
from twin_actors.sweep import RulModels, sweep
from twin_actors.twin import TwinType
from twin_actors.watermark import Watermark, first_gap, unfolded

log = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
"""Bodies folded into one record; a larger batch commits as several."""

CONFIRM_AFTER_SECONDS = 3.0
"""An owner that has not written for longer writes again before it sends anything, so that a
process that wakes from a pause finds out whether it was replaced."""

DELIVERY_SECONDS = 0.5
LAGGING_DELIVERY_SECONDS = 0.1
"""What one invocation spends on the graph, and what it spends while the partition lags: folding
comes first. What is left waits for the next batch or tick."""

LAG_SECONDS = 2.0
"""A batch whose newest event is older than this is late."""

SWEEP_SECONDS = 2.0
"""What one invocation spends on sweeping its shard."""

MAX_OUTBOX = 10_000
"""Outputs that may wait before the partition is held: memory must not grow with an outage."""

INSTANCE_PATCHES_PER_SECOND = 1000.0
"""What one Azure Digital Twins instance takes, for all shards together."""

KNOWN_DONE = 5_000
"""How many deliveries one record may confirm."""

_letter_decoder = msgspec.msgpack.Decoder(DeadLetter)


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


class Active(msgspec.Struct):
    """A partition that this process owns, as far as it knows.

    Attributes
    ----------
    owner : Owner
    projection : Projection
    partition_count : int
        Over which twins are spread.
    dispatch : Dispatch
    delivered, shown
        Done since the last record, to be said in the next one.
    told : list of PutDocument
        What came of outputs since the last record, for apps.
    tick_time : float
        Of the newest tick that has not been followed by a sweep; 0 for none.
    """

    owner: Owner
    projection: Projection
    partition_count: int
    dispatch: Dispatch
    delivered: list[int] = []
    shown: dict[str, int] = {}
    told: list[PutDocument] = []
    tick_time: float = 0.0

    @property
    def shard(self) -> Shard:
        """The twins."""
        return self.owner.shard


class Runtime:
    """Delivers batches to the twins of any number of partitions.

    Parameters
    ----------
    types
        Name → twin type.
    ports
    new_id
        Makes ids that no other process makes.
    limits
        How large the parts of a journal grow.
    """

    def __init__(
        self,
        types: Mapping[str, TwinType[Any]],
        ports: Ports,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        limits: Limits = LIMITS,
    ) -> None:
        self._types = types
        self._by_model = {twin_type.model: twin_type for twin_type in types.values()}
        self._ports = ports
        self._new_id = new_id
        self._limits = limits
        self._active: dict[int, Active] = {}
        self._receivers = Receivers(ports.journal, ports.sender, ports.documents, ports.orders)
        self._locks: dict[int, asyncio.Lock] = {}
        self._fenced: dict[int, int] = {}

    async def deliver(self, partition: int, events: Sequence[Event]) -> Watermark:
        """Fold a batch of one partition's events, commit it and deliver what comes of it.

        Parameters
        ----------
        partition
        events
            Ascending by sequence number; repeats and holes are expected.

        Returns
        -------
        Watermark
            How far the partition is folded.

        Raises
        ------
        Fenced
            Another owner has taken the partition: nothing was sent, the next call activates anew.
        Unavailable
            A service does not answer: the same batch must be delivered again.
        PartitionStopped
            An operator must act.
        """
        async with self._alone(partition):
            active = self._active.get(partition) or await self._activate(partition, events)
            if len(active.shard.outbox) >= MAX_OUTBOX:
                await self._drain(active)
            await self._fold_all(active, events)
            if active.tick_time:
                await self._sweep(active)
            await self._send(active)
            assert active.shard.watermark is not None
            return active.shard.watermark

    @contextlib.asynccontextmanager
    async def _alone(self, partition: int) -> AsyncIterator[None]:
        """Hold a partition; let go of its memory where anything fails."""
        async with self._locks.setdefault(partition, asyncio.Lock()):
            try:
                yield
            except BaseException as error:
                # Whatever happened, cancellation included, memory may no longer be what the
                # journal says: only a restore is.
                active = self._active.pop(partition, None)
                if active is not None:
                    active.dispatch.abandon()
                if isinstance(error, Fenced):
                    self._fenced[partition] = self._fenced.get(partition, 0) + 1
                    log.warning("partition %d fenced: %s", partition, error)
                raise

    async def partition_count(self) -> int:
        """Return the number of partitions of the mailbox as it is now."""
        return (await self._ports.reader.describe(0)).partition_count

    async def tick(self, partition: int) -> None:
        """Send a tick to whoever owns a partition."""
        await self._ports.sender.send(partition, [(b"{}", {KIND: Kind.TICK.value})])

    def shard(self, partition: int) -> Shard | None:
        """Return the shard of a partition if this process holds it; to look at, not to change."""
        active = self._active.get(partition)
        return None if active is None else active.shard

    async def settle(self) -> None:
        """Wait until no command is on its way to a device."""
        for active in list(self._active.values()):
            await active.dispatch.settle()

    async def close(self) -> None:
        """Let go of connections; commands on their way are sent again by the next owner."""
        ports = self._ports
        for active in self._active.values():
            active.dispatch.abandon()
        for port in (ports.journal, ports.graph, ports.sender, ports.reader):
            await port.close()
        for receiver in (ports.devices, ports.documents, ports.orders):
            await receiver.close()

    async def _activate(self, partition: int, events: Sequence[Event]) -> Active:
        """Become the owner of a partition."""
        ports = self._ports
        state = await ports.reader.describe(partition)
        partition_count = await self._partition_count(state.partition_count)
        restored = await restore(ports.journal, partition)
        self._check(restored[0], state.hub)  # before the claim: a partition that is stopped is tried again and again
        fenced = self._fenced.get(partition, 0)
        owner = await Owner.claim(ports.journal, ports.clock, restored, self._new_id(), fenced, self._limits)
        self._fenced.pop(partition, None)
        if owner.shard.watermark is None:
            first = min([state.first_sequence_number, *(event.sequence_number for event in events[:1])])
            owner.shard.watermark = Watermark(first - 1, 0.0, state.hub)
        rate = INSTANCE_PATCHES_PER_SECOND / partition_count
        projection = Projection(ports.graph, ports.clock, self._types, rate)
        dispatch = Dispatch(ports.devices, ports.clock, lambda outcome: self._land(active, outcome))
        active = Active(owner, projection, partition_count, dispatch)
        self._active[partition] = active
        log.info("partition %d active, epoch %d, %d twins", partition, owner.epoch, len(owner.shard.twins))
        return active

    def _check(self, shard: Shard, hub: str) -> None:
        """Stop where this app must not go on with a shard."""
        if shard.watermark is not None and shard.watermark.hub != hub:
            raise PartitionStopped(
                f"partition {shard.partition} was folded from hub {shard.watermark.hub}, this is {hub}: it was deleted "
                "and made again, and counts from zero; nothing is folded until an operator says so"
            )
        stranger = next((twin for twin in shard.twins.values() if twin.type_name not in self._types), None)
        if stranger is not None:
            raise PartitionStopped(
                f"twin {stranger.twin_id} is of type {stranger.type_name}, which this app does not have: deploy the "
                "version of the app that has it"
            )

    async def _partition_count(self, now: int) -> int:
        """Return the number of partitions that twins are spread over: that of the first start."""
        journal = self._ports.journal
        stored = await journal.read("partition-count")
        if stored is None:
            try:
                await journal.write("partition-count", str(now).encode(), ABSENT)
            except Fenced:
                stored = await journal.read("partition-count")
        return now if stored is None else int(stored.data)

    async def _fold_all(self, active: Active, events: Sequence[Event]) -> None:
        """Fold what is above the watermark, holes first."""
        assert active.shard.watermark is not None
        fresh = unfolded(active.shard.watermark, events)
        if fresh and first_gap(active.shard.watermark.sequence_number, fresh) and not await active.owner.is_current():
            raise Fenced(f"partition {active.shard.partition}: our memory is older than the journal")
        while fresh:
            gap = first_gap(active.shard.watermark.sequence_number, fresh)
            if gap is None:
                await self._fold_chunks(active, fresh)
                return
            index, first, last = gap
            await self._fold_chunks(active, fresh[:index])
            await self._heal(active, first, last)
            fresh = fresh[index:]

    async def _heal(self, active: Active, first: int, last: int) -> None:
        """Fold events that the trigger skipped, read from the hub itself."""
        partition = active.shard.partition
        while first <= last:
            found = await self._ports.reader.read(partition, first, last)
            upto = found[0].sequence_number if found else last + 1
            if upto > first:
                await self._lose(active, first, upto - 1)
            if not found:
                return
            await self._fold_chunks(active, found, {"healed": len(found)})
            log.warning("partition %d: %d events that the trigger skipped were read again", partition, len(found))
            first = found[-1].sequence_number + 1

    async def _lose(self, active: Active, first: int, last: int) -> None:
        """Record that events are gone from the hub before they were folded."""
        watermark = active.shard.watermark
        assert watermark is not None
        passed = msgspec.structs.replace(watermark, sequence_number=last)
        await active.owner.append(
            Commit(
                append_id=active.owner.next_append_id(),
                epoch=active.owner.epoch,
                watermark=passed,
                counts={"lost": last - first + 1},
            )
        )
        log.error(
            "partition %d: events %d to %d are lost: their retention ended before they were folded",
            active.shard.partition,
            first,
            last,
        )

    async def _fold_chunks(
        self, active: Active, events: Sequence[Event], counts: Mapping[str, int] | None = None
    ) -> None:
        """Fold contiguous events, as many to a record as fit."""
        chunk: list[Event] = []
        size = 0
        for event in events:
            if chunk and size + len(event.body) > CHUNK_BYTES:
                await self._fold(active, chunk, counts)
                chunk, size, counts = [], 0, None
            chunk.append(event)
            size += len(event.body)
        if chunk:
            await self._fold(active, chunk, counts)

    async def _fold(self, active: Active, events: Sequence[Event], counts: Mapping[str, int] | None) -> None:
        """Fold contiguous events into one record; into two where it would be too large."""
        shard = active.shard
        mail = sort(events, shard, active.partition_count, await self._replayed(shard, events))
        strangers = {twin_id: mail.by_twin[twin_id] for twin_id in mail.by_twin if twin_id not in shard.twins}
        newcomers = await introduce(strangers, self._ports.graph, self._ports.clock, self._by_model)
        last = events[-1]
        assert shard.watermark is not None
        newest = max(shard.watermark.enqueued_time, *(event.enqueued_time for event in events))
        watermark = Watermark(last.sequence_number, newest, shard.watermark.hub)
        try:
            await self._commit(active, fold(mail, shard, self._types, newcomers, watermark), counts)
        except RecordTooLarge as error:
            if len(events) > 1:
                half = len(events) // 2
                await self._fold(active, events[:half], counts)
                await self._fold(active, events[half:], None)
                return
            give_up(mail, shard.partition, Rejected("record_too_large", f"what comes of this message has {error}"))
            await self._commit(active, fold(mail, shard, self._types, newcomers, watermark), counts)
        if mail.tick_time is not None:
            active.tick_time = max(active.tick_time, mail.tick_time)
            active.projection.unpark()

    async def _sweep(self, active: Active) -> None:
        """Sweep the shard, a record a slice, as far as there is time; the next tick goes on."""
        shard, now, active.tick_time = active.shard, active.tick_time, 0.0
        deadline = self._ports.clock.elapsed() + SWEEP_SECONDS
        while True:
            part = sweep(shard, self._types, self._ports.models, now)
            if part.twins or part.swept != shard.swept:
                outbox: list[OutboxEntry] = [*numbered(part.outputs, shard.last_number)]
                draft = Commit(append_id="", epoch=0, watermark=shard.watermark, twins=part.twins, outbox=outbox)
                await self._commit(active, msgspec.structs.replace(draft, swept=part.swept))
            if not part.swept or self._ports.clock.elapsed() >= deadline:
                return

    async def _commit(self, active: Active, draft: Commit, counts: Mapping[str, int] | None = None) -> None:
        """Append what was folded, with more counts and what is known delivered."""
        delivered = active.delivered[:KNOWN_DONE]
        shown = list(active.shown.items())[:KNOWN_DONE]
        last_number = draft.outbox[-1].number if draft.outbox else active.shard.last_number
        told = numbered(active.told, last_number)
        await active.owner.append(
            msgspec.structs.replace(
                draft,
                append_id=active.owner.next_append_id(),
                epoch=active.owner.epoch,
                delivered=delivered,
                shown=shown,
                outbox=[*draft.outbox, *told],
                counts={**draft.counts, **(counts or {})},
            )
        )
        del active.delivered[: len(delivered)]
        del active.told[: len(told)]
        for twin_id, _ in shown:
            del active.shown[twin_id]

    async def _replayed(self, shard: Shard, events: Sequence[Event]) -> dict[str, DeadLetter]:
        """Fetch the bodies of the dead letters that are to be replayed."""
        letters: dict[str, DeadLetter] = {}
        for letter_id in replays(events, shard):
            waiting = shard.kept_letter(letter_id)
            if waiting is not None:
                letters[letter_id] = waiting.letter
                continue
            stored = await self._ports.journal.read(letter_path(letter_id))
            if stored is None:
                continue
            try:
                letters[letter_id] = _letter_decoder.decode(stored.data)
            except msgspec.DecodeError as error:
                log.error("dead letter %s cannot be read and stays open: %s", letter_id, error)  # noqa: TRY400  no bug
        return letters

    async def _send(self, active: Active) -> None:
        """Deliver what is committed: the outbox, then the graph, then a snapshot when it is due."""
        await self._deliver_outbox(active)
        await self._confirm(active)
        assert active.shard.watermark is not None
        is_lagging = self._ports.clock.now() - active.shard.watermark.enqueued_time > LAG_SECONDS
        budget = LAGGING_DELIVERY_SECONDS if is_lagging else DELIVERY_SECONDS
        active.shown.update(await active.projection.show(active.shard, budget, active.shown))
        held_back = active.projection.held_back_seconds(active.shard, active.shown)
        if held_back and not is_lagging:
            # The graph takes ten updates a second of a twin. Nothing may come after this batch, and its values
            # must not stay unseen until the next tick.
            await self._ports.clock.sleep(held_back)
            await self._confirm(active)
            active.shown.update(await active.projection.show(active.shard, budget, active.shown))
        if active.owner.is_snapshot_due:
            try:
                await active.owner.publish_snapshot()
            except Unavailable as error:
                log.warning("partition %d: no snapshot now: %s", active.shard.partition, error)

    async def _drain(self, active: Active) -> None:
        """Deliver what waits before more is folded.

        Raises
        ------
        Unavailable
            Too much still waits.
        """
        await self._deliver_outbox(active)
        waiting = len(active.shard.outbox) - len(active.delivered)
        if waiting >= MAX_OUTBOX:
            raise Unavailable(f"partition {active.shard.partition}: {waiting} outputs wait, nothing more is folded")

    async def _deliver_outbox(self, active: Active) -> None:
        """Deliver committed outputs that are not known delivered."""
        shard, delivered, now = active.shard, set(active.delivered), self._ports.clock.now()
        pending = [entry for number, entry in shard.outbox.items() if number not in delivered]
        if not pending:
            return
        await self._confirm(active)
        for expired in active.dispatch.start(entry for entry in pending if isinstance(entry, SendCommand)):
            self._note(active, expired)
        delivery = await deliver(pending, shard.partition, self._receivers, now)
        active.delivered += delivery.done
        active.told += delivery.told
        if delivery.fault is not None:
            log.warning("partition %d: some of %d outputs wait: %s", shard.partition, len(pending), delivery.fault)
        if active.told:
            await self._commit(active, Commit(append_id="", epoch=0, watermark=shard.watermark))
            await self._deliver_outbox(active)

    def _note(self, active: Active, outcome: Outcome) -> None:
        """Remember what came of a command, for the next record."""
        active.delivered.append(outcome.number)
        active.told.append(put_operation(outcome.twin_id, outcome.operation, self._ports.clock.now()))

    async def _land(self, active: Active, outcome: Outcome) -> None:
        """Commit what came of a command, and send the device's next."""
        partition = active.shard.partition
        try:
            async with self._alone(partition):
                if self._active.get(partition) is active:  # else the next owner sends it again, and the device knows it
                    self._note(active, outcome)
                    active.dispatch.noted(outcome)
                    await self._commit(active, Commit(append_id="", epoch=0, watermark=active.shard.watermark))
                    await self._deliver_outbox(active)
        except TwinfoldError as error:
            log.warning("partition %d: the outcome of a command is not committed: %s", partition, error)

    async def _confirm(self, active: Active) -> None:
        """Find out whether we still own the partition, if we have not written for a while."""
        if active.owner.seconds_since_confirmed > CONFIRM_AFTER_SECONDS:
            await self._commit(active, Commit(append_id="", epoch=0, watermark=active.shard.watermark))
