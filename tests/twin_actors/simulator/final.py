"""The end of a run: faults stop, and within a bounded time nothing is owed to anybody."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from tests.twin_actors.simulator.ledger import Broken, Ledger, promise
from tests.twin_actors.world import balance
from twin_actors.documents import Alert, Collection, OperationStatus
from twin_actors.messages import KIND, Event, Kind
from twin_actors.outputs import SendForward

if TYPE_CHECKING:
    from tests.twin_actors.simulator.simulation import Simulation

ROUND_SECONDS = 10.0
ROUNDS = 90
"""Fifteen minutes: pauses between attempts grow to one."""

UNSETTLED = (OperationStatus.ACCEPTED, OperationStatus.PERSISTED)


class Settlement:
    """Lets a run come to rest, and checks what must be true then."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._partitions = range(simulation.partition_count)

    async def settle(self) -> None:
        """Stop the faults, wait, check."""
        self._calm()
        await asyncio.sleep(30.0)
        for device in self._simulation.schedule.devices:
            self._simulation.schedule.send_last(device)
        for _ in range(ROUNDS):
            await asyncio.sleep(ROUND_SECONDS)
            self._balance()
            waits = self._waits()
            if not waits:
                break
            for partition in self._partitions:
                tick = Event(sequence_number=0, enqueued_time=0.0, body=b"{}", properties={KIND: Kind.TICK.value})
                self._simulation.services.hub.append(partition, tick)
        else:
            raise Broken(f"{ROUNDS * ROUND_SECONDS:.0f} s after the last fault: {waits}")
        for partition in self._partitions:
            await self._check_partition(partition)
        await self._check_operations()
        await self._check_alerts()

    def _calm(self) -> None:
        simulation = self._simulation
        simulation.weather.is_fair = True
        simulation.note("end", "faults stop")
        for worker in simulation.workers:
            worker.clock.skew = 0.0
        self._balance()

    def _balance(self) -> None:
        """Give every partition one owner that is well."""
        simulation = self._simulation
        worker = next((one for one in simulation.host.alive() if not one.is_paused), None) or simulation.new_worker()
        for other in simulation.host.alive():
            for partition in list(other.listening):
                if other is not worker:
                    other.leave(partition)
        for partition in self._partitions:
            worker.listen(partition)

    def _waits(self) -> str:
        """Return what is still owed."""
        hub, books = self._simulation.services.hub, self._simulation.books
        for partition in self._partitions:
            ledger = books.ledgers[partition]
            if ledger.is_elsewhere:
                return f"nobody has rebased partition {partition}"
            if ledger.watermark != len(hub.partitions[partition]) - 1:
                return f"partition {partition} is folded to {ledger.watermark} of {len(hub.partitions[partition])}"
            if ledger.shard.outbox:
                return f"partition {partition} has not delivered {list(ledger.shard.outbox.values())}"
            for twin_id, known in books.ledgers[partition].reference.twins.items():
                if known.timers and twin_id not in ledger.shard.caution.left_out:
                    return f"{twin_id} waits for {known.timers}"
            for twin in ledger.shard.owed():
                if twin.is_announced or twin.twin_id in self._simulation.services.graph.twins:
                    return f"the graph does not show version {twin.state_version} of {twin.twin_id}"
        return ""

    async def _check_partition(self, partition: int) -> None:
        simulation = self._simulation
        ledger = simulation.books.ledgers[partition]
        await simulation.books.check_storage(simulation.services.storage, partition)
        owner = simulation.host.owners(partition)[0]
        shard = owner.runtime.shard(partition)
        is_known = partition not in owner.unsure and not simulation.is_replaced(owner, partition)
        if shard is not None and is_known:  # else nobody has asked since, or an answer is on its way
            ledger.check_memory(shard)
        promise(
            balance(ledger.shard) == ledger.before + ledger.watermark + 1 - (ledger.first or 0),
            f"partition {partition}: {balance(ledger.shard)} events are accounted for",
        )
        kept, opened = set(simulation.books.kept_letters(partition)), set(ledger.shard.letters)
        promise(opened <= kept, f"partition {partition}: the bodies of {opened - kept} are nowhere")
        left = kept - opened  # a write that nobody waited for any more came after the deletion
        promise(left <= simulation.books.struck, f"partition {partition}: the bodies of {left} are kept for nothing")
        simulation.books.counts["bodies left behind"] += len(left)
        self._check_graph(ledger)
        await self._check_gone(ledger)
        self._check_channels(ledger)
        for collection, twin_id, document_id in ledger.newest:
            shown = await simulation.services.documents.get(collection, twin_id, document_id)
            newest = ledger.newest[collection, twin_id, document_id]
            promise(shown is not None and shown.version == newest, f"{document_id} of {twin_id}: {shown}, not {newest}")

    def _check_graph(self, ledger: Ledger) -> None:
        for twin_id, twin in ledger.shard.twins.items():
            shown = self._simulation.services.graph.twins.get(twin_id)
            if shown is None:
                promise(not twin.is_announced, f"{twin_id} is not in the graph")
            else:
                promise(
                    shown.state_version == twin.state_version,
                    f"the graph shows {twin_id} at {shown.state_version}, it is at {twin.state_version}",
                )

    async def _check_gone(self, ledger: Ledger) -> None:
        """Check that nothing is left of deleted twins that did not come back."""
        services, shard = self._simulation.services, ledger.shard
        for twin_id in sorted(ledger.gone.keys() - shard.twins.keys()):
            promise(twin_id not in services.graph.twins, f"{twin_id} was deleted, and is in the graph")
            kept = (shard.recent_keys, shard.shown, shard.statistics, shard.leaving, shard.caution.left_out)
            promise(not any(twin_id in one for one in kept), f"{twin_id} was deleted, and something of it is kept")
            page = await services.documents.list(Collection.ALERTS, twin_id=twin_id, limit=100_000)
            cleared = [msgspec.json.decode(one.body, type=Alert).cleared for one in page.documents]
            promise(all(cleared), f"{twin_id} was deleted, and apps see alerts of it")

    def _check_channels(self, ledger: Ledger) -> None:
        """Check that what was forwarded was applied where it went."""
        sent: dict[int, int] = {}
        for entry in ledger.outputs.values():
            if isinstance(entry, SendForward):
                sent[entry.destination] = entry.channel_number
        for destination, number in sent.items():
            there = self._simulation.books.ledgers[destination].shard
            received = there.received_channels.get(ledger.shard.partition)
            lost = there.totals.get("lost") or self._simulation.services.hub.past
            promise(received == number or lost, f"channel to {destination}: {number} sent, {received} applied")

    async def _check_operations(self) -> None:
        documents = self._simulation.services.documents
        for twin_id, operation_id in self._simulation.schedule.accepted:
            document = await documents.get(Collection.OPERATIONS, twin_id, operation_id)
            promise(document is not None, f"operation {operation_id} of {twin_id} was accepted, and is gone")
            assert document is not None
            if document.status in UNSETTLED:
                is_more_due = self._is_command(twin_id, operation_id, document.status)
                promise(
                    self._is_lost(twin_id, operation_id) or not is_more_due,
                    f"operation {operation_id} of {twin_id} was accepted, and stays {document.status}",
                )

    def _is_lost(self, twin_id: str, operation_id: str) -> bool:
        """Whether the request may have expired before it was folded, or was given up with what kills processes."""
        ledger = self._simulation.books.home(twin_id)
        if any(f'"{operation_id}"'.encode() in event.body for event in ledger.reference.letters.values()):
            return True
        return bool(self._simulation.services.hub.past or ledger.first or ledger.shard.totals.get("lost"))

    def _is_command(self, twin_id: str, operation_id: str, status: str) -> bool:
        """Whether more must come of an operation than that it is persisted."""
        commands = self._simulation.books.home(twin_id).effects
        return status == OperationStatus.ACCEPTED or ("command", twin_id, operation_id) in commands

    async def _check_alerts(self) -> None:
        """Check that apps see the alerts that are active, and no other as active."""
        documents = self._simulation.services.documents
        for ledger in self._simulation.books.ledgers:
            for twin_id, twin in ledger.shard.twins.items():
                page = await documents.list(Collection.ALERTS, twin_id=twin_id, limit=100_000)
                seen = {
                    one.document_id
                    for one in page.documents
                    if msgspec.json.decode(one.body, type=Alert).cleared is None
                }
                active = {alert.alert_id for alert in twin.maintenance.alerts}
                promise(seen == active, f"apps see the alerts {seen} of {twin_id}, it has {active}")
                promise(
                    len({alert.rule for alert in twin.maintenance.alerts}) == len(active),
                    f"{twin_id} has two alerts of one rule: {active}",
                )
