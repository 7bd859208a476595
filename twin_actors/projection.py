"""The graph as a view of the state: fenced by ETags, coalesced, within a time budget.

Nothing here is remembered for ever: what is owed follows from the state versions, and what the
graph shows is read from the graph.
"""

import asyncio
import itertools
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from twin_actors.clock import Clock
from twin_actors.commit import Twin
from twin_actors.documents import Source
from twin_actors.errors import Rejected, Unanswered, Unavailable
from twin_actors.layout import decode_state
from twin_actors.maintenance import shown_maintenance
from twin_actors.shard import Shard
from twin_actors.sinks import Absent, Graph, GraphTwin, Refused, Stale, Throttled
from twin_actors.twin import PropertyValue, TwinType

SECONDS_BETWEEN_PATCHES = 0.1
"""Azure Digital Twins takes ten updates a second of one twin."""

PATCHES_AT_ONCE = 8

log = logging.getLogger(__name__)

AUDITS = 32
"""Quiet twins that one tick compares with the graph."""

ATTEMPTS = 3
"""How often a twin that others write too is read and written again in one round."""


def shown_properties(twin: Twin, twin_type: TwinType[Any]) -> dict[str, PropertyValue | None]:
    """Return all that the graph shows of a twin, what every twin shows and what its type adds; None hides.

    Raises
    ------
    Rejected
        Its state cannot be brought up to date, or its type's `properties` raise.
    """
    common: dict[str, PropertyValue] = {
        "readingCount": twin.reading_count,
        "connection": twin.connection,
        "stateVersion": twin.state_version,
        "quality": twin.quality.value,
    }
    if twin.last_reading_time:
        common["lastReadingTime"] = datetime.fromtimestamp(twin.last_reading_time, UTC).isoformat()
    if twin.signal_epoch is not None:
        common["statisticsEpoch"] = twin.signal_epoch.number
        common["statisticsSince"] = datetime.fromtimestamp(twin.signal_epoch.since, UTC).isoformat()
    state = decode_state(twin, twin_type)
    try:
        shown = dict(twin_type.properties(state))
    except Exception as error:  # the type's own code: its fault is this twin's, the others are shown
        raise Rejected(
            "properties_failed",
            f"what {twin_type.name} shows of a state cannot be said ({type(error).__name__}: {error}); mend "
            "`properties` and deploy it: the next tick shows it",
        ) from error
    for name, contested in twin.maintenance.contested.items():
        if contested.shown is None:
            shown.setdefault(name, None)  # what was taken away is taken out of the graph
        elif contested.shown is not Source.SENSOR:
            shown[name] = contested.writes[contested.shown].value
    return {**shown, **common, **shown_maintenance(twin.maintenance, twin_type)}


class Projection:
    """Brings the graph up to date with the twins of one shard.

    Parameters
    ----------
    graph, clock
    types
        Name → twin type.
    patches_per_second
        This shard's share of what the instance takes.
    """

    def __init__(
        self, graph: Graph, clock: Clock, types: Mapping[str, TwinType[Any]], patches_per_second: float
    ) -> None:
        self.parked: dict[str, str] = {}
        self.met: dict[str, int] = {}
        self.throttled = 0
        self._graph = graph
        self._clock = clock
        self._types = types
        self._known: dict[str, GraphTwin] = {}
        self._not_before: dict[str, float] = {}
        self._rate = patches_per_second
        self._allowance = patches_per_second
        self._counted_at = clock.elapsed()
        self._paused_until = 0.0
        self._owed_since: dict[str, float] = {}
        self._unaudited: list[str] = []

    def unpark(self) -> None:
        """Give twins that the graph refused another try."""
        self.parked.clear()

    def forget(self, twin_ids: Iterable[str]) -> None:
        """Remember nothing of twins that will not be shown soon."""
        for twin_id in twin_ids:
            self.parked.pop(twin_id, None)
            self._known.pop(twin_id, None)
            self._not_before.pop(twin_id, None)

    async def show(self, shard: Shard, budget_seconds: float, already: Mapping[str, int]) -> list[tuple[str, int]]:
        """Patch twins that the graph does not show as they are, the longest unshown first.

        Parameters
        ----------
        shard
        budget_seconds
            No patch begins later than this.
        already
            Twin id → version known to be shown that no record says yet.

        Returns
        -------
        list
            (twin id, state version) now shown.
        """
        deadline = self._clock.elapsed() + budget_seconds
        shown: list[tuple[str, int]] = []
        for group in itertools.batched(self._due(shard, already), PATCHES_AT_ONCE, strict=False):
            now = self._clock.elapsed()
            if now >= deadline or now < self._paused_until:
                break
            outcomes = await asyncio.gather(*(self._show(twin) for twin in group))
            shown += [(twin.twin_id, twin.state_version) for twin, done in zip(group, outcomes, strict=True) if done]
        return shown

    async def is_answered(self) -> bool:
        """Whether the graph answers: that there is no such twin is an answer too."""
        try:
            await self._graph.read("twinfold-does-the-graph-answer")
        except Unavailable:
            return False
        except (Absent, Refused):
            pass
        return True

    def lag_seconds(self, shard: Shard, already: Mapping[str, int]) -> float:
        """Return how long a twin has been owed to the graph, the longest; parked ones do not count.

        What an earlier owner owed is as old as this one.
        """
        now, since = self._clock.elapsed(), self._owed_since
        self._owed_since = {
            twin.twin_id: since.get(twin.twin_id, now)
            for twin in shard.owed()
            if twin.state_version > already.get(twin.twin_id, -1) and twin.twin_id not in self.parked
        }
        return now - min(self._owed_since.values(), default=now)

    async def audit(self, shard: Shard, budget_seconds: float) -> None:
        """Compare some twins that should be shown with the graph, and repair what others did to it.

        Parameters
        ----------
        shard
        budget_seconds
            No look begins later than this.
        """
        deadline = self._clock.elapsed() + budget_seconds
        for group in itertools.batched(self._next_audited(shard), PATCHES_AT_ONCE, strict=False):
            now = self._clock.elapsed()
            if now >= deadline or now < self._paused_until:
                return
            await asyncio.gather(*(self._audit(twin) for twin in group))
            self.forget(twin.twin_id for twin in group if twin.twin_id in shard.cold)

    def _next_audited(self, shard: Shard) -> list[Twin]:
        """Return the next twins of the round that goes through all of them; those that are owed are shown anyway."""
        if not self._unaudited:
            self._unaudited = list(shard.twins)
        taken = self._unaudited[-AUDITS:]
        del self._unaudited[-AUDITS:]
        owed = {twin.twin_id for twin in shard.owed()}
        return [shard.twins[twin_id] for twin_id in taken if twin_id in shard.twins and twin_id not in owed]

    async def _audit(self, twin: Twin) -> None:
        """Show a twin again where the graph does not show it as it is."""
        try:
            known = await self._graph.read(twin.twin_id)
            wanted = shown_properties(twin, self._types[twin.type_name])
        except Absent:
            self._known.pop(twin.twin_id, None)
        except Throttled as error:
            self.throttled += 1
            self._paused_until = self._clock.elapsed() + error.retry_after_seconds
            return
        except (Unavailable, Refused, Rejected):
            return
        else:
            is_newer = known.state_version > twin.state_version
            if is_newer or all(known.properties.get(name) == value for name, value in wanted.items()):
                return  # or its next owner has shown more already
            self._known.pop(twin.twin_id, None)
            if known.model == self._types[twin.type_name].model:
                self._known[twin.twin_id] = known
        if self._allowance >= 1.0:
            self._allowance -= 1.0
            log.warning("the graph did not show twin %s as it is: it is shown again", twin.twin_id)
            await self._show(twin)

    def held_back_seconds(self, shard: Shard, already: Mapping[str, int]) -> float:
        """Return how long until every twin may be patched that was patched a moment ago; 0 where none waits."""
        now = self._clock.elapsed()
        waiting = (
            self._not_before[twin.twin_id] - now
            for twin in shard.owed()
            if twin.state_version > already.get(twin.twin_id, -1)
            and twin.twin_id not in self.parked
            and self._not_before.get(twin.twin_id, 0.0) > now
        )
        return max(waiting, default=0.0) if now >= self._paused_until else 0.0

    def _due(self, shard: Shard, already: Mapping[str, int]) -> list[Twin]:
        now = self._clock.elapsed()
        self._allowance = min(max(self._rate, 1.0), self._allowance + self._rate * (now - self._counted_at))
        self._counted_at = now
        due = [
            twin
            for twin in shard.owed()
            if twin.state_version > already.get(twin.twin_id, -1)
            and twin.twin_id not in self.parked
            and twin.twin_id not in shard.leaving  # until who was there before has gone
            and self._not_before.get(twin.twin_id, 0.0) <= now
        ]
        due.sort(key=lambda twin: self._not_before.get(twin.twin_id, 0.0))
        del due[int(self._allowance) :]
        self._allowance -= len(due)
        return due

    async def _show(self, twin: Twin) -> bool:
        """Bring one twin up to date; return whether the graph now shows it."""
        twin_type = self._types[twin.type_name]
        try:
            wanted = shown_properties(twin, twin_type)
        except Rejected as error:
            return self._park(twin, error)
        self._not_before[twin.twin_id] = self._clock.elapsed() + SECONDS_BETWEEN_PATCHES
        for _ in range(ATTEMPTS):
            try:
                return await self._write(twin, twin_type.model, wanted)
            except (Stale, Unanswered):
                self._known.pop(twin.twin_id, None)  # read it again, then decide
            except Throttled as error:
                self.throttled += 1
                self._paused_until = self._clock.elapsed() + error.retry_after_seconds
                return False
            except Unavailable:
                self._known.pop(twin.twin_id, None)
                return False
            except (Absent, Refused) as error:
                self._known.pop(twin.twin_id, None)
                return self._park(twin, error)
        return False

    def _park(self, twin: Twin, error: Exception) -> bool:
        """Leave a twin that cannot be shown, until the next tick."""
        self.parked[twin.twin_id] = str(error)
        log.warning("the graph does not show twin %s: %s", twin.twin_id, error)
        return False

    async def _write(self, twin: Twin, model: str, wanted: Mapping[str, PropertyValue | None]) -> bool:
        twin_id = twin.twin_id
        known = self._known.get(twin_id)
        if known is None:
            try:
                known = await self._graph.read(twin_id)
            except Absent:
                if twin.is_unmet:
                    self.met[twin_id] = 0
                    return False
                if not twin.is_announced:
                    raise
                present = {name: value for name, value in wanted.items() if value is not None}
                etag = await self._graph.create(twin_id, model, present, twin.last_reading_time)
                self._known[twin_id] = GraphTwin(model, etag, present)
                return True
            if known.model != model:
                raise Refused(f"twin {twin_id} has model {known.model} in the graph, not {model}")
            if twin.is_unmet:
                self.met[twin_id] = max(known.state_version, 0)
                return False
            if known.state_version >= twin.state_version:
                return True  # another owner has shown this or more
        changes = {name: value for name, value in wanted.items() if known.properties.get(name) != value}
        etag = await self._graph.patch(twin_id, changes, twin.last_reading_time, known.etag)
        merged = {**known.properties, **wanted}
        kept = {name: value for name, value in merged.items() if value is not None}
        self._known[twin_id] = GraphTwin(model, etag, kept)
        return True
