"""One batch, from the trigger to the graph: the only module that orchestrates.

Read `Runtime.deliver` from top to bottom: claim or recall the shard, skip what is folded, heal
gaps, fold and commit in one append, then deliver. Nothing leaves before the append is confirmed.
"""

import asyncio
import contextlib
import functools
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from twin_actors import intake
from twin_actors.active import MAX_OUTBOX, Active, Ports
from twin_actors.dispatch import Dispatch, Outcome
from twin_actors.errors import Fenced, PartitionStopped, TwinfoldError, Unavailable
from twin_actors.gaps import HubState
from twin_actors.journals import ABSENT, PARTITION_COUNT, read_partition_count
from twin_actors.layout import check_layout
from twin_actors.messages import KIND, Event, Kind
from twin_actors.metrics import BATCH_SIZE, FENCED, STOPPED
from twin_actors.ownership import LIMITS, Limits, Owner
from twin_actors.projection import Projection
from twin_actors.shard import Shard
from twin_actors.snapshot import restore
from twin_actors.stops import Stops
from twin_actors.twin import TwinType
from twin_actors.watermark import Watermark, check_hub, unfolded

log = logging.getLogger(__name__)

IDLE_SECONDS = 900.0
"""After which a shard of which nothing was heard, not even a tick, leaves memory: its partition is another's by now."""

INSTANCE_PATCHES_PER_SECOND = 1000.0
"""What one Azure Digital Twins instance takes, for all shards together."""


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
        self._ports = ports
        self._new_id = new_id
        self._limits = limits
        self._active: dict[int, Active] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._fenced: dict[int, int] = {}
        self._tried: dict[int, set[int]] = {}
        self._doubt = asyncio.Lock()
        self._stops = Stops(ports.journal, ports.clock)

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
        await self._drop_idle()
        async with self._alone(partition):
            active = self._active.get(partition) or await self._activate(partition, events)
            active.heard_at = self._ports.clock.elapsed()
            if not await active.is_full():
                watermark = await self._advance(active, events)
                self._stops.went_on(partition)
                return watermark
        raise Unavailable(f"partition {partition}: {MAX_OUTBOX} outputs wait, nothing more is folded")

    async def _advance(self, active: Active, events: Sequence[Event]) -> Watermark:
        """Fold a batch, sweep where a tick says so, and deliver what comes of it."""
        self._ports.metrics.record(BATCH_SIZE, active.shard.partition, len(events))
        await intake.take(active, events)
        has_tick = bool(active.tick_time)
        if has_tick:
            await active.sweep()
            await active.retry_letters()
        await active.send()
        if has_tick:
            await active.audit()
        active.tell_metrics()
        assert active.shard.watermark is not None
        return active.shard.watermark

    async def _drop_idle(self) -> None:
        """Let go of shards that nothing has come for; a delivery to any partition is the time to look."""
        now = self._ports.clock.elapsed()
        idle = [active for active in self._active.values() if now - active.heard_at >= IDLE_SECONDS]
        for active in idle:
            partition = active.shard.partition
            try:
                async with self._alone(partition):
                    if self._active.get(partition) is not active or now - active.heard_at < IDLE_SECONDS:
                        continue
                    active.heard_at = now  # one that must stay is looked at again after as long
                    if await active.may_be_dropped():
                        del self._active[partition]
                        active.dispatch.abandon()
                        log.info("partition %d was idle and left memory", partition)
            except TwinfoldError as error:
                log.warning("partition %d was idle and left memory: %s", partition, error)

    @contextlib.asynccontextmanager
    async def _alone(self, partition: int) -> AsyncIterator[None]:
        """Hold a partition; let go of its memory where anything fails."""
        async with self._locks.setdefault(partition, asyncio.Lock()):
            await self._stops.check(partition)
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
                    self._ports.metrics.record(FENCED, partition)
                    log.warning("partition %d fenced: %s", partition, error)
                elif isinstance(error, PartitionStopped):
                    self._ports.metrics.record(STOPPED, partition)
                    await self._stops.note(partition, error)
                elif isinstance(error, Exception) and not isinstance(error, TwinfoldError):
                    await self._stops.note_unforeseen(partition, error)
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
        self._stops.ends_at(partition, None)
        restored = await restore(ports.journal, partition)
        self._stops.ends_at(partition, restored[1])
        fenced, tried = self._fenced.get(partition, 0), self._tried.setdefault(partition, set())
        # Before the claim: a partition that is stopped is tried again and again.
        check = functools.partial(self._check, state, partition_count, events)
        owner = await Owner.claim(
            ports.journal, ports.clock, restored, self._new_id(), fenced, self._limits, check, tried
        )
        self._tried[partition] = {owner.epoch}
        self._fenced.pop(partition, None)
        if owner.shard.watermark is None:
            first = min([state.first_sequence_number, *(event.sequence_number for event in events[:1])])
            owner.shard.watermark = Watermark(first - 1, 0.0, state.hub)
        rate = INSTANCE_PATCHES_PER_SECOND / partition_count
        projection = Projection(ports.graph, ports.clock, self._types, rate)
        dispatch = Dispatch(ports.devices, ports.clock, lambda outcome: self._land(active, outcome))
        active = Active(owner, projection, dispatch, ports, self._types, partition_count)
        active.heard_at, active.doubt = ports.clock.elapsed(), self._doubt
        self._active[partition] = active
        log.info("partition %d active, epoch %d, %d twins", partition, owner.epoch, len(owner.shard.twins))
        return active

    def _check(self, state: HubState, partition_count: int, events: Sequence[Event], shard: Shard) -> None:
        """Stop where this app must not go on with a shard, or not with these events."""
        if state.partition_count < partition_count:
            raise PartitionStopped(
                f"twins are spread over {partition_count} partitions and hub {state.hub} has {state.partition_count}: "
                "make it with as many, or more"
            )
        if shard.watermark is not None:
            check_hub(shard.watermark, state.hub, shard.partition)
            unfolded(shard.watermark, events)
        for twin in shard.heads():
            twin_type = self._types.get(twin.type_name)
            if twin_type is None:
                raise PartitionStopped(
                    f"twin {twin.twin_id} is of type {twin.type_name}, which this app does not have: deploy the "
                    "version of the app that has it"
                )
            check_layout(twin, twin_type)

    async def _partition_count(self, now: int) -> int:
        """Return the number of partitions that twins are spread over: that of the first start."""
        journal = self._ports.journal
        known = await read_partition_count(journal)
        if known is None:
            try:
                await journal.write(PARTITION_COUNT, str(now).encode(), ABSENT)
            except Fenced:
                known = await read_partition_count(journal)
        return now if known is None else known

    async def _land(self, active: Active, outcome: Outcome) -> None:
        """Commit what came of a command, and send the device's next."""
        partition = active.shard.partition
        active.landed.append(outcome)
        try:
            async with self._alone(partition):
                # Else the next owner sends it again, and the device knows it; or whoever came first has committed it.
                if self._active.get(partition) is active and active.landed:
                    for one in active.landed:
                        active.note(one)
                        active.dispatch.noted(one)
                    active.landed.clear()
                    await active.record()
                    await active.deliver_outbox()
        except TwinfoldError as error:
            log.warning("partition %d: the outcome of a command is not committed: %s", partition, error)
