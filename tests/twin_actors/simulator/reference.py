"""What the events of a partition mean, said a second time and plainly: each event once, in order, one after the other.

It shares no code with the runtime's own fold but the hash of homes, and is told only what it cannot know: which
strangers the graph vouched for.
"""

import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tests.twin_actors.simulator.trips import is_dead_end, path_of, step
from tests.twin_actors.simulator.twins import POISON, link
from twin_actors.identity import home_partition
from twin_actors.messages import Event

MONTH = 30 * 86_400.0
SKEW = 300.0
KEYS_KEPT = 64
OPERATIONS_KEPT = 32
FOLLOWING = 256
KINDS = frozenset({"telemetry", "request", "tick", "forward", "replay", "tell"})
STRANGER = frozenset({"no_such_twin", "model_mismatch", "unknown_model", "graph_refuses", "graph_unavailable"})
"""Why a twin that nobody has heard of is none."""


class Known(msgspec.Struct):
    """What a twin must be."""

    readings: int = 0
    count: int = 0
    """Of those that it has heard: a meter hears no late ones."""
    chain: int = 0
    temperature: float | None = None
    scale: float = 0.0
    last_time: float = 0.0
    resent: int = 0
    keys: list[str] = []
    operations: list[str] = []
    told: int = 0
    last_seen: float = 0.0
    last_told: float = 0.0
    timers: dict[str, float] = {}
    plans: dict[str, str] = {}


class Expected(msgspec.Struct):
    """What the record of some events must say."""

    accepted: list[tuple[str, int, bytes]] = []
    letters: dict[str, Event] = {}
    forwards: list[tuple[int, Event]] = []
    tells: dict[str, list[tuple[int, str, object]]] = {}
    """Who tells → (partition, who is told, what), in order."""
    struck: list[str] = []
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    touched: dict[str, None] = {}
    deleted: list[str] = []
    announced: dict[str, bool] = {}
    """Strangers that were given up → whether one of their messages announced a model."""


class Reference:
    """One partition, event by event.

    Attributes
    ----------
    twins : dict
        Twin id → what it must be.
    received : dict
        Source partition → last number of its channel.
    letters : dict
        Every dead letter that ever was: id → what arrived.
    open : dict
        The ids of those that are open.
    unsure : dict
        Source partitions whose next forwards may be among the events lost.
    tick_time : float
        Of the newest tick.
    """

    def __init__(self, partition: int, partition_count: int) -> None:
        self.twins: dict[str, Known] = {}
        self.received: dict[int, int] = {}
        self.letters: dict[str, Event] = {}
        self.open: dict[str, None] = {}
        self.unsure: dict[int, None] = {}
        self.tick_time = 0.0
        self._deletions: set[tuple[str, str]] = set()
        self._renumbered = 0
        self._partition = partition
        self._partition_count = partition_count
        self._vouched: frozenset[str] = frozenset()
        self._condemned: frozenset[str] = frozenset()
        self._nobody: frozenset[str] = frozenset()
        self._now = Expected()

    def interpret(
        self,
        events: Sequence[Event],
        vouched: frozenset[str],
        condemned: frozenset[str],
        nobody: frozenset[str] = frozenset(),
    ) -> Expected:
        """Take the events of one record.

        Parameters
        ----------
        events
        vouched
            The twins that the record changes or deletes: strangers among them were vouched for.
        condemned
            The dead letters that were given up because they kill whoever folds them.
        nobody
            The strangers of which the record says that there was nobody to be deleted.
        """
        self._vouched, self._condemned, self._nobody = vouched, condemned, nobody
        self._now = Expected()
        replayable = dict(self.open)
        for event in events:
            self._take(event, replayable)
        for letter_id in self._now.struck:
            del self.open[letter_id]
        for letter_id in self._now.letters:
            self.open[letter_id] = None
        self.letters |= self._now.letters
        return self._now

    def rebase(self) -> None:
        """Go on in a hub whose events are numbered anew; what was on its way in the old one is gone."""
        self.unsure = dict.fromkeys(range(self._partition_count))
        self._renumbered += 1
        self._deletions.clear()

    def letter_id(self, at: int) -> str:
        """Return the id that the dead letter of an event has."""
        return f"{self._partition}-{at + self._renumbered * 10**15}"

    def _take(self, event: Event, replayable: Mapping[str, None]) -> None:
        at = event.sequence_number
        kind = event.properties.get("twinfold-kind", "")
        if event.device_id is not None or kind in {"telemetry", "request"}:
            self._addressed(event, at)
        elif any(name.startswith("iothub-") for name in event.properties):
            self._refuse(event, at)
        elif kind == "tick":
            self._now.counts["ticks"] += 1
            self.tick_time = event.enqueued_time
        elif kind == "forward":
            self._forwarded(event, at)
        elif kind == "replay":
            self._replayed(event, at, replayable)
        else:
            self._refuse(event, at)

    def _forwarded(self, event: Event, at: int) -> None:
        try:
            source, number, fields = msgspec.msgpack.decode(event.body)
            inner = msgspec.convert(fields, Event)
        except (ValueError, TypeError):  # which a decode or validation error of msgspec is
            self._refuse(event, at)
            return
        if _is_tell(inner):
            inner = msgspec.structs.replace(inner, enqueued_time=event.enqueued_time)
        last = self.received.get(source, 0)
        if number <= last:
            self._now.counts["forwards_repeated"] += 1
            return
        if number != last + 1 and source in self.unsure:
            self._now.counts["forwards_lost"] += number - last - 1
            last = number - 1
        self.unsure.pop(source, None)
        assert number == last + 1, f"event {at} of partition {self._partition} was folded over a hole in its channel"
        self.received[source] = number
        if _home(inner, self._partition_count) == self._partition:
            self._addressed(inner, at)
        else:
            self._refuse(inner, at)

    def _replayed(self, event: Event, at: int, replayable: Mapping[str, None]) -> None:
        letter_id = event.properties.get("twinfold-letter", "")
        if letter_id not in replayable or letter_id in self._now.struck:
            self._now.counts["replays_ignored"] += 1
            return
        self._now.struck.append(letter_id)
        self._now.counts["replayed"] += 1
        inner = self.letters[letter_id]
        if inner.device_id is None and (
            any(name.startswith("iothub-") for name in inner.properties)
            or inner.properties.get("twinfold-kind", "") not in KINDS
        ):
            self._refuse(inner, at)
        else:
            self._addressed(inner, at)

    def _addressed(self, event: Event, at: int) -> None:
        twin_id = event.device_id or event.properties.get("twinfold-twin", "")
        home = _home(event, self._partition_count)
        if home is None:
            self._refuse(event, at)
        elif home != self._partition:
            self._now.forwards.append((home, event))
            self._now.counts["forwarded"] += 1
        elif self.letter_id(at) in self._condemned:
            self._refuse(event, at)
        elif event.device_id is None and event.properties.get("twinfold-kind") == "request":
            self._request(twin_id, event, at)
        elif _is_tell(event):
            self._told(twin_id, event, at)
        else:
            self._hear(twin_id, event, at)

    def _request(self, twin_id: str, event: Event, at: int) -> None:
        asked = _json(event.body)
        if not isinstance(asked, dict) or "operation_id" not in asked:
            self._refuse(event, at)
            return
        operation = asked["operation_id"]
        if (twin_id, operation) in self._deletions:
            self._now.counts["requests_repeated"] += 1
            return
        known = self._known(twin_id)
        if known is None:
            self._now.counts["requests"] += 1  # it is told that there is no such twin
            if asked["type"] == "delete" and twin_id in self._nobody:
                self._deletions.add((twin_id, operation))
        elif asked["type"] == "delete":
            self._delete(twin_id, operation)
        elif operation in known.operations:
            self._now.counts["requests_repeated"] += 1
        else:
            self._now.counts["requests"] += 1
            self._now.touched[twin_id] = None
            known.operations = [*known.operations, operation][-OPERATIONS_KEPT:]

    def _delete(self, twin_id: str, operation: str) -> None:
        """Forget a twin; who comes under its name is another."""
        del self.twins[twin_id]
        self._deletions.add((twin_id, operation))
        self._now.touched.pop(twin_id, None)
        self._now.deleted.append(twin_id)
        self._now.counts["requests"] += 1
        self._now.counts["deleted"] += 1

    def _told(self, twin_id: str, event: Event, at: int) -> None:
        said = _json(event.body)
        if not isinstance(said, dict) or "sender" not in said or said["allowance"] < 0:
            self._refuse(event, at)
            return
        known, path = self._known(twin_id), said["body"]
        if known is None or not _is_kettle(twin_id) or is_dead_end(path):
            self._refuse(event, at)
            return
        known.told += 1
        known.last_told = max(known.last_told, event.enqueued_time)
        known.chain = link(known.chain, zlib.crc32(f"{said['sender']} tells {path}".encode()))
        self._follow(twin_id, known, path, said["time"], said["allowance"], f"{self._partition}-{at}")
        self._now.accepted.append((twin_id, at, event.body))
        self._now.counts["messages"] += 1
        self._now.counts["told"] += 1
        self._now.touched[twin_id] = None

    def _follow(self, twin_id: str, known: Known, path: str, time: float, allowance: int, cause: str) -> None:
        """Do what a path says."""
        done = step(path, twin_id, time)
        for name in done.cancelled:
            known.timers.pop(name, None)
            known.plans.pop(name, None)
        if done.timer is not None:
            name, at, plan = done.timer
            known.timers[name], known.plans[name] = at, plan
        for receiver, rest in done.tells:
            share = (allowance - len(done.tells)) // len(done.tells)
            said = {"sender": twin_id, "name": "go", "time": time, "allowance": share, "cause": cause, "body": rest}
            there = home_partition(receiver, self._partition_count)
            self._now.tells.setdefault(twin_id, []).append((there, receiver, said))
            self._now.counts["tells"] += 1

    def ring(self, left: Mapping[str, Mapping[str, float]]) -> None:
        """Take what a sweep has looked at.

        Parameters
        ----------
        left
            Twins that the record changes → the timers that they have then: who has all that were due was not swept yet.
        """
        for twin_id, timers in left.items():
            known = self.twins[twin_id]
            time = known.last_time + max(0.0, self.tick_time - known.last_seen)
            due = sorted((at, name) for name, at in known.timers.items() if at <= time)
            if any(timers.get(name) != at for at, name in due):
                for at, name in due:
                    self._ring(twin_id, known, name, at)

    def _ring(self, twin_id: str, known: Known, name: str, at: float) -> None:
        if known.timers.get(name) != at:
            return  # an earlier one has moved or cancelled it
        del known.timers[name]
        self._now.counts["timers"] += 1
        self._now.touched[twin_id] = None
        if is_dead_end(known.plans[name]):
            self._now.counts["timers_failed"] += 1
            return
        known.chain = link(known.chain, zlib.crc32(f"{name} at {at}".encode()))
        self._follow(twin_id, known, known.plans[name], at, FOLLOWING, "")

    def _hear(self, twin_id: str, event: Event, at: int) -> None:
        document = _json(event.body)
        rows = document if isinstance(document, list) else [document]
        if not rows or not all(isinstance(row, dict) for row in rows):
            self._refuse(event, at)
            return
        known = self._known(twin_id)
        if known is None:
            self._now.announced[twin_id] = self._now.announced.get(twin_id, False) or event.model is not None
            self._refuse(event, at)
        elif event.message_id and event.message_id in known.keys:
            known.resent += 1
            self._now.counts["resent"] += 1
            self._now.touched[twin_id] = None
        elif any(self._is_poison(twin_id, row) for row in _heard(twin_id, known, event, rows)):
            self._refuse(event, at)
        else:
            self._accept(twin_id, known, event, at, rows)

    def _is_poison(self, twin_id: str, row: dict[str, Any]) -> bool:
        return row.get("serial", POISON[0]) in POISON or (_is_kettle(twin_id) and is_dead_end(path_of(row)))

    def _accept(self, twin_id: str, known: Known, event: Event, at: int, rows: list[dict[str, Any]]) -> None:
        hub_time = _hub_time(event)
        for row in rows:
            time = _time_of(row, hub_time)
            known.readings += 1
            if time >= known.last_time or _is_kettle(twin_id):
                known.count += 1
                known.chain = link(known.chain, row["serial"])
            if time >= known.last_time:
                known.last_time = time
                known.temperature = _plausible(row, "temperature", -50.0, 500.0, known.temperature)
                known.scale = _plausible(row, "scale", 0.0, 1000.0, known.scale)
            if _is_kettle(twin_id):
                self._follow(twin_id, known, path_of(row), time, FOLLOWING, f"{self._partition}-{at}")
        known.last_seen = max(known.last_seen, hub_time)
        if event.message_id:
            known.keys = [*known.keys, event.message_id][-KEYS_KEPT:]
        self._now.accepted.append((twin_id, at, event.body))
        self._now.counts["messages"] += 1
        self._now.counts["readings"] += len(rows)
        self._now.touched[twin_id] = None

    def _known(self, twin_id: str) -> Known | None:
        if twin_id not in self.twins and twin_id in self._vouched:
            self.twins[twin_id] = Known()
        return self.twins.get(twin_id)

    def _refuse(self, event: Event, at: int) -> None:
        self._now.letters[self.letter_id(at)] = event
        self._now.counts["dead_letters"] += 1


def _home(event: Event, partition_count: int) -> int | None:
    twin_id = event.device_id or event.properties.get("twinfold-twin", "")
    return home_partition(twin_id, partition_count) if twin_id.replace("-", "").isalnum() else None


def _hub_time(event: Event) -> float:
    return event.enqueued_time if event.received_time is None else event.received_time


def _time_of(row: Mapping[str, Any], hub_time: float) -> float:
    """Return the time that a row is of."""
    time = row.get("time")
    return hub_time if time is None or not hub_time - MONTH <= time <= hub_time + SKEW else float(time)


def _heard(twin_id: str, known: Known, event: Event, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that a twin hears: late ones are nothing to a meter."""
    if _is_kettle(twin_id):
        return rows
    last, heard = known.last_time, []
    for row in rows:
        time = _time_of(row, _hub_time(event))
        if time >= last:
            last = time
            heard.append(row)
    return heard


def _is_kettle(twin_id: str) -> bool:
    """Whether a machine is of the kind that hears others."""
    return twin_id.startswith("machine-") and int(twin_id[8:]) % 2 == 0


def _is_tell(event: Event) -> bool:
    return event.device_id is None and event.properties.get("twinfold-kind") == "tell"


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _plausible[T](row: Mapping[str, Any], name: str, low: float, high: float, before: T) -> float | T:
    value = row.get(name)
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number and low <= value <= high else before  # type: ignore[arg-type]  # it is a number
