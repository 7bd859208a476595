"""What happens in a run: machines, apps, operators, hosts and accidents, drawn from the seed."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec

from tests.twin_actors.faults import Killed
from tests.twin_actors.simulator.network import Process
from tests.twin_actors.simulator.twins import KETTLE, KILLS, METER, POISON, SHOWS_NAN
from tests.twin_actors.world import START
from twin_actors.errors import Fenced, Rejected, Unavailable
from twin_actors.identity import home_partition
from twin_actors.messages import KIND, LETTER, TWIN, Event, Kind
from twin_actors.rebase import find, rebase
from twin_actors.requests import Acknowledgement, CommandRequest, Deletion, EditRequest, Request, submit
from twin_actors.sinks import GraphTwin

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.twin_actors.simulator.host import Worker
    from tests.twin_actors.simulator.simulation import Simulation

JUNK = (b"", b"no JSON", b"[]", b"[1]", b"3", b'"text"', b'{"temperature": 5}', b"\xff\xfe", b'{"serial": 1', b"null")


class Device(msgspec.Struct):
    """A machine: who it is, and what it said last."""

    twin_id: str
    model: str
    announces: bool
    serial: int = 0
    clock_error: float = 0.0
    sent: list[Event] = []


class Schedule:
    """Draws what happens, step by step."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._operations: list[tuple[str, Request]] = []
        self.accepted: dict[tuple[str, str], None] = {}
        self.devices = [self._device(number) for number in range(self._random.randint(2, 9))]
        self._operators = 0
        self._is_deadly = self._random.random() < 0.3
        often, seldom = self._random.choice((1, 3)), self._random.choice((0, 1, 3))
        self._actions: list[tuple[Callable[[], None], float]] = [
            (self._send, 40),
            (self._tick, 6),
            (self._balance, 8),
            (self._ask, 3 * often),
            (self._ask_again, often),
            (self._replay, 2 * often),
            (self._hand_over, 2 * seldom),
            (self._overlap, 1 * seldom),
            (self._go_back, 1 * seldom),
            (self._kill, 0.5 * seldom),
            (self._pause, 0.5 * seldom),
            (self._cancel, 1 * seldom),
            (self._jump, 0.3 * seldom),
            (self._connect, 2),
            (self._disconnect, 1),
            (self._touch_graph, often),
            (self._make_twin, 0.5),
            (self._unmake_twin, 0.2 * seldom),
            (self._expire, 0.3 * seldom),
            (self._recreate, self._random.choice((0.0, 0.0, 0.0, 0.5, 1.0))),
            (self._junk, often),
        ]
        self._weights = [weight for _, weight in self._actions]

    def _device(self, number: int) -> Device:
        random = self._random
        device = Device(f"machine-{number}", METER if number % 2 else KETTLE, announces=random.random() < 0.7)
        services = self._simulation.services
        if random.random() < 0.8:
            services.devices.connected.add(device.twin_id)
        if random.random() < 0.5:
            services.graph.twins[device.twin_id] = GraphTwin(device.model, f"made-{number}", {})
        return device

    async def play(self, steps: int) -> None:
        """Let things happen."""
        for _ in range(self._random.randint(1, 3)):
            self._simulation.new_worker()
        self._balance()
        for _ in range(steps):
            action = self._random.choices(self._actions, self._weights)[0][0]
            action()
            pause = self._random.random()
            await asyncio.sleep(pause if pause < 0.95 else self._random.choice((5.0, 30.0, 400.0, 1000.0)))

    # Machines.

    def _send(self) -> None:
        device = self._random.choice(self.devices)
        for _ in range(self._random.choice((1, 1, 1, 2, 5, 20))):
            event = self._message(device)
            self._put(event)
            device.sent.append(event)
        if self._random.random() < 0.1:
            self._resend(device)

    def send_last(self, device: Device) -> None:
        """Let a machine speak once more, so that all of it is owed to the graph."""
        self._put(self._message(device, is_last=True))

    def _path(self) -> str:
        """Return where a message leads: see the simulator's twins."""
        random = self._random
        path = ""
        for _ in range(random.choice((1, 1, 2, 3, 5))):
            step = random.choices("0123456789", (5, 5, 5, 5, 5, 5, 1, 3, 9, 2))[0]
            path += step + (str(random.randrange(9)) if step >= "6" else "")
        is_last = self._is_deadly and random.random() < 0.05 and not self._simulation.weather.is_fair
        return path + "79" * is_last

    def _message(self, device: Device, *, is_last: bool = False) -> Event:
        random = self._random
        rows: list[dict[str, float]] = []
        for _ in range(1 if random.random() < 0.9 else random.randint(2, 4)):
            device.serial += 1
            row = {"serial": float(device.serial)}
            if random.random() < 0.03:
                row["serial"] = random.choice(POISON[:-1])
            if random.random() < 0.6:
                row["temperature"] = random.choice((20.0, 20.0, 79.0, 95.0, 95.0, 470.0, 1e9, -60.0))
            if random.random() < 0.3:
                row["scale"] = random.choice((0.0, 50.0, 75.0, 96.0, 5000.0))
            if random.random() < 0.1:
                row["path"] = float(f"1{self._path()}")
            if random.random() < 0.5 and not is_last:
                lag = random.choice((0.0, 0.0, 3.0, 600.0))
                row["time"] = round(START + self._simulation.loop.time() - lag + device.clock_error, 3)
            rows.append(row)
        if self._is_deadly and random.random() < 0.004 and not self._simulation.weather.is_fair:
            rows[-1]["serial"] = KILLS
        elif random.random() < 0.01:
            rows[-1]["serial"] = SHOWS_NAN  # only what the last row leaves is shown
        return Event(
            sequence_number=0,
            enqueued_time=0.0,
            body=json.dumps(rows if len(rows) > 1 else rows[0]).encode(),
            device_id=device.twin_id,
            model=device.model if device.announces else None,
            message_id=f"{device.twin_id}:{device.serial}" if random.random() < 0.5 else None,
        )

    def _resend(self, device: Device) -> None:
        event = self._random.choice(device.sent[-8:])
        if event.message_id:
            self._put(event)

    def _put(self, event: Event, partition: int | None = None) -> None:
        count = self._simulation.partition_count
        if partition is None:
            partition = home_partition(event.device_id or event.properties.get(TWIN, ""), count)
            if self._random.random() < 0.1:
                partition = self._random.randrange(count)
        self._simulation.services.hub.append(partition, event)

    def _junk(self) -> None:
        device, random = self._random.choice(self.devices), self._random
        partition = random.randrange(self._simulation.partition_count)
        kinds = ("telemetry", "tick", "forward", "replay", "request", "tell", "wish", "")
        properties = {KIND: random.choice(kinds), TWIN: random.choice((device.twin_id, "no twin", ""))}
        match random.randrange(5):
            case 0:
                self._put(_event(random.choice(JUNK), device.twin_id))
            case 1:
                self._put(_event(random.choice(JUNK), None, properties), partition)
            case 2:
                self._put(_event(b"{}", None, {KIND: "tick", "iothub-connection-device-id": "me"}), partition)
            case 3:
                self._put(_event(b'{"serial": 7}', f"stranger-{random.randrange(3)}"))
            case 4:
                device.clock_error = random.choice((0.0, 0.0, -3e9, 3e9, 200.0, -4000.0))

    def _connect(self) -> None:
        self._simulation.services.devices.connected.add(self._random.choice(self.devices).twin_id)

    def _disconnect(self) -> None:
        self._simulation.services.devices.connected.discard(self._random.choice(self.devices).twin_id)

    # Apps and operators.

    def _ask(self) -> None:
        random, at = self._random, START + self._simulation.loop.time()
        device = random.choice(self.devices)
        twin_id = device.twin_id if random.random() < 0.95 else "stranger-0"
        common: dict[str, Any] = {"operation_id": f"op-{len(self._operations)}", "caller": "ann", "requested": at}
        request: Request
        match random.randrange(-1, 8):
            case -1:
                request = Deletion(**common)
            case 0 | 1 | 2 | 3:
                name, wanted = random.choice((("cool", 40.0), ("cool", 90.0), ("ring", None), ("sing", 1)))
                expires = at + random.choice((5.0, 60.0, 600.0))
                request = CommandRequest(name=name, request=wanted, expires=expires, **common)
            case 4 | 5:
                request = EditRequest(
                    changes={random.choice(("place", "colour")): random.choice(("a", None))}, **common
                )
            case _:
                request = Acknowledgement(alert_id=self._alert_of(twin_id), **common)
        self._operations.append((twin_id, request))
        self._submit(twin_id, request)

    def _alert_of(self, twin_id: str) -> str:
        twin = self._simulation.books.home(twin_id).shard.twins.get(twin_id)
        alerts = twin.maintenance.alerts if twin is not None else []
        return alerts[0].alert_id if alerts else "hot-1"

    def _ask_again(self) -> None:
        if self._operations:
            self._submit(*self._random.choice(self._operations[-5:]))

    def _submit(self, twin_id: str, request: Request) -> None:
        app = self._simulation.app
        self._simulation.start(app, self._submitting(app, twin_id, request))

    async def _submitting(self, app: Process, twin_id: str, request: Request) -> None:
        ports = app.ports()
        for _ in range(20):
            try:
                await submit(twin_id, request, ports.documents, ports.sender, self._simulation.partition_count)
            except Unavailable:
                await asyncio.sleep(1.0)
            else:
                self.accepted[twin_id, request.operation_id] = None
                return

    def _replay(self) -> None:
        partition = self._random.randrange(self._simulation.partition_count)
        letters = list(self._simulation.books.ledgers[partition].reference.letters)
        if letters:
            named = {KIND: Kind.REPLAY.value, LETTER: self._random.choice(letters[-6:])}
            self._put(_event(b"{}", None, named), partition)

    def _touch_graph(self) -> None:
        graph, device = self._simulation.services.graph, self._random.choice(self.devices)
        twin = graph.twins.get(device.twin_id)
        if twin is not None:
            noted = {**twin.properties, "note": self._random.random()}
            self._simulation.books.counts["twins changed by others"] += 1
            graph.twins[device.twin_id] = msgspec.structs.replace(twin, etag=graph._next_etag(), properties=noted)

    def _make_twin(self) -> None:
        graph, device = self._simulation.services.graph, self._random.choice(self.devices)
        graph.twins.setdefault(device.twin_id, GraphTwin(device.model, graph._next_etag(), {}))

    def _unmake_twin(self) -> None:
        graph = self._simulation.services.graph
        if graph.twins.pop(self._random.choice(self.devices).twin_id, None) is not None:
            self._simulation.books.counts["twins deleted by others"] += 1

    # Hosts.

    def _tick(self) -> None:
        for partition in range(self._simulation.partition_count):
            if self._random.random() < 0.7:
                self._put(_event(b"{}", None, {KIND: Kind.TICK.value}), partition)

    def _balance(self) -> None:
        host = self._simulation.host
        if not host.alive() or (len(host.alive()) < 3 and self._random.random() < 0.2):
            self._simulation.new_worker()
        for partition in range(self._simulation.partition_count):
            owners = [worker for worker in host.owners(partition) if not worker.is_paused]
            if not owners:
                self.hand_over(partition, None)

    def hand_over(self, partition: int, before: Process | None) -> None:
        """Let another worker take a partition."""
        others = [one for one in self._simulation.host.alive() if one is not before and not one.is_paused]
        worker = self._random.choice(others) if others else self._simulation.new_worker()
        worker.listen(partition)

    def _hand_over(self) -> None:
        partition = self._random.randrange(self._simulation.partition_count)
        before = self._simulation.host.owners(partition)
        for worker in before:
            if self._random.random() < 0.5:
                worker.leave(partition)
            else:  # it has not noticed yet
                self._simulation.loop.call_later(self._random.uniform(0.0, 10.0), self._notice, worker, partition)
        self._simulation.books.counts["hand-overs"] += 1
        self.hand_over(partition, before[0] if before else None)

    def _notice(self, worker: "Worker", partition: int) -> None:
        if not self._simulation.weather.is_fair:
            worker.leave(partition)

    def _overlap(self) -> None:
        partition = self._random.randrange(self._simulation.partition_count)
        self._simulation.books.counts["overlaps"] += 1
        self.hand_over(partition, next(iter(self._simulation.host.owners(partition)), None))

    def _go_back(self) -> None:
        partition = self._random.randrange(self._simulation.partition_count)
        checkpoint = self._simulation.host.checkpoints[partition]
        self._simulation.host.checkpoints[partition] = self._random.choice((0, max(0, checkpoint - 20)))
        self._simulation.books.counts["checkpoints moved back"] += 1
        for worker in self._simulation.host.owners(partition):
            worker.leave(partition)
        self.hand_over(partition, None)

    def _kill(self) -> None:
        alive = self._simulation.host.alive()
        if alive:
            self._simulation.kill(self._random.choice(alive))

    def _pause(self) -> None:
        alive = self._simulation.host.alive()
        if alive:
            self._simulation.pause(self._random.choice(alive))

    def _cancel(self) -> None:
        alive = self._simulation.host.alive()
        if alive:
            self._simulation.cancel(self._random.choice(alive))

    def _jump(self) -> None:
        alive = self._simulation.host.alive()
        if alive:
            self._simulation.books.counts["clock jumps"] += 1
            self._random.choice(alive).clock.skew = self._random.choice((-3600.0, 3600.0, 0.0, 7.0))

    def _expire(self) -> None:
        """Let the oldest events of a partition go, folded or not."""
        partition = self._random.randrange(self._simulation.partition_count)
        hub, ledger = self._simulation.services.hub, self._simulation.books.ledgers[partition]
        to = min(ledger.watermark + 1 + self._random.randint(0, 5), len(hub.partitions[partition]))
        if to > hub.expired[partition]:
            self._simulation.books.counts["expiries"] += 1
            hub.expire(partition, to)

    def _recreate(self) -> None:
        """Let the Event Hub be deleted and made anew; some time later, an operator rebases all partitions."""
        simulation = self._simulation
        ledgers = simulation.books.ledgers
        # A partition that never folded anything cannot tell one hub from another, nor what it never had of a channel.
        if any(ledger.is_elsewhere or ledger.watermark < 0 for ledger in ledgers):
            return
        simulation.books.counts["hubs made anew"] += 1
        simulation.note("world", "the hub is made anew")
        simulation.services.hub.recreate()
        is_new_app = self._random.random() < 0.5
        for worker in simulation.host.alive():
            worker.drop()
            if is_new_app:
                worker.kill()
        if not is_new_app:  # else the trigger's checkpoints stay those of the old hub
            simulation.host.checkpoints[:] = [0] * simulation.partition_count
        self._balance()
        simulation.start(Process(simulation, "operators"), self._rebase_all())

    async def _rebase_all(self) -> None:
        await asyncio.sleep(self._random.choice((1.0, 20.0, 120.0)))
        for partition in range(self._simulation.partition_count):
            while not await self._rebase(partition):
                await asyncio.sleep(2.0)
        host = self._simulation.host
        for partition, events in enumerate(self._simulation.services.hub.partitions):
            if host.checkpoints[partition] > len(events):
                host.checkpoints[partition] = 0
                for worker in host.owners(partition):
                    worker.leave(partition)
        self._balance()

    async def _rebase(self, partition: int) -> bool:
        """Do what the command does; return whether it is known to be done."""
        self._operators += 1
        operator = Process(self._simulation, f"operator{self._operators}")
        ports = operator.ports()
        try:
            to = await find(ports.journal, ports.reader, operator.clock, partition, None)
            await rebase(ports.journal, operator.clock, partition, to, "ada", "", f"{operator.name}.1")
        except Rejected:  # there is nothing to rebase, or not any more
            return True
        except (Unavailable, Fenced, Killed):
            return False
        self._simulation.books.counts["rebases"] += 1
        return True


def _event(body: bytes, device_id: str | None, properties: dict[str, str] | None = None) -> Event:
    return Event(sequence_number=0, enqueued_time=0.0, body=body, device_id=device_id, properties=properties or {})
