"""A tick sweeps a shard: who has fallen silent, how long will each machine last, what has come due?

A sweep goes through the shard in slices, each a record of its own with the twin at which the next goes on, so that a
sweep that is cut short is continued by the next tick, whoever owns the shard then.
"""

import functools
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from twin_actors.advisory import watch
from twin_actors.alerting import Situation
from twin_actors.commit import PART_BYTES, Twin, size_of
from twin_actors.documents import Prediction
from twin_actors.layout import decode_state
from twin_actors.maintenance import Maintenance
from twin_actors.messages import TimerDue
from twin_actors.outputs import Output
from twin_actors.overdue import is_overdue, overtake, will_be_overdue
from twin_actors.shard import Shard
from twin_actors.telling import DueTimer
from twin_actors.turn import run
from twin_actors.twin import RUL, TwinType
from twin_actors.work import Folded, Work

LATE_AFTER_SECONDS = 30.0
OFFLINE_AFTER_SECONDS = 300.0
"""Silence after which a device counts as late, and as offline."""

COLD_AFTER_SECONDS = 900.0
"""Silence after which a twin of which nothing is expected is kept as bytes."""

SLICE_TWINS = 2_000
"""Twins looked at for one record."""

SLICE_TIMERS = 512
"""Timers whose turns are run for one record, about: what they put out is held in memory, and fits few records."""

OUTPUT_BYTES = 4096
"""What an output takes in a record, generously."""

MOST_DAYS = 36_525.0
"""A prediction beyond a century is none."""

WORTH_TELLING = 0.01
"""A prediction that differs by no more than this part from the last one changes nothing."""

DAYS_WORTH_TELLING = 0.02
"""Nor does one that differs by less: half an hour."""


class RulModel(Protocol):
    """Tells how long machines of a twin type will last."""

    name: str

    def predict(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return estimate, lower and upper bound in days, (n, 3), of features (n, k)."""


log = logging.getLogger(__name__)

type RulModels = Callable[[str], RulModel | None]
"""Twin type's name → its RUL model."""


class Slice(msgspec.Struct, frozen=True):
    """What a part of a sweep changes.

    Attributes
    ----------
    twins : list of Twin
    outputs : list of Output
    swept : str
        The last twin of the part; empty where the sweep is through.
    cooled : list of str
        Twins that no sweep need look at again before they are heard of.
    failed : int
        How often something that a twin type brought along raised; the next sweep tries it again.
    timers, timers_failed : int
        Timers that were due, and those of them whose turn was refused: they are over as well.
    """

    twins: list[Twin]
    outputs: list[Output]
    swept: str
    cooled: list[str]
    failed: int = 0
    timers: int = 0
    timers_failed: int = 0


class _Look(msgspec.Struct):
    """A twin of the slice: decoded, where something can have changed, and what its RUL model is asked with.

    What it was before its timers, and what those led to, are kept beside what it is now.
    """

    before: Twin
    fired: Folded | None
    twin: Twin
    twin_type: TwinType[Any]
    state: Any
    features: tuple[float, ...] | None


def next_to_sweep(shard: Shard, count: int = 1) -> list[str]:
    """Return the twins that a sweep looks at next, left-out ones not among them."""
    twin_ids = list(shard.hot)
    first = twin_ids.index(shard.swept) + 1 if shard.swept in shard.hot else 0
    left_out = shard.caution.left_out
    if not left_out:
        return twin_ids[first : first + count]
    return list(itertools.islice((twin_id for twin_id in twin_ids[first:] if twin_id not in left_out), count))


def sweep(
    shard: Shard,
    types: Mapping[str, TwinType[Any]],
    models: RulModels,
    now: float,
    most_bytes: int = PART_BYTES,
    most_twins: int = SLICE_TWINS,
) -> Slice:
    """Sweep the part of a shard that follows the last one swept.

    Parameters
    ----------
    shard
        Only read.
    types
        Name → twin type.
    models
    now
        The time of the tick.
    most_bytes
        That the slice may write, about.
    most_twins
        That the slice may look at.
    """
    twin_ids = next_to_sweep(shard, most_twins + 1)  # one more says whether the sweep goes on
    failures: list[str] = []
    twins, works = _due(shard, twin_ids[:most_twins], types, now)
    fired = _fire(works, failures)
    looks = [_look(twin, fired.get(twin.twin_id), types, now, failures) for twin in twins]
    predictions = _predict(looks, models, failures)
    changed: list[Twin] = []
    cooled: list[str] = []
    outputs: list[Output] = []
    size = timers = timers_failed = 0
    last = ""
    for look in looks:
        last = look.twin.twin_id
        after, left = _sweep_one(look, predictions.get(last), now, failures)
        if look.fired is not None:
            timers += look.fired.timers
            timers_failed += _tell_refused(look.fired)
        if after is not look.before:
            changed.append(after)
            outputs += left
            size += size_of(after) + OUTPUT_BYTES * len(left)
        elif _is_quiet(look, predictions, shard, now):
            cooled.append(last)
        if size >= most_bytes:
            break
    swept = "" if not twin_ids or last == twin_ids[-1] else last
    if swept and cooled[-1:] == [swept]:
        cooled.pop()  # the sweep goes on behind it
    return Slice(changed, outputs, swept, cooled, len(failures), timers, timers_failed)


def _is_quiet(look: _Look, predictions: Mapping[str, Prediction], shard: Shard, now: float) -> bool:
    """Whether no sweep can change a twin, which this one has not, before it is heard of again."""
    twin = look.twin
    return (
        twin.connection in {"offline", "unknown"}
        and now - max(twin.last_seen_time, twin.last_told_time) >= COLD_AFTER_SECONDS
        and not (twin.maintenance.watches or twin.timers)
        and (look.features is None or twin.twin_id in predictions)
        and not will_be_overdue(twin, look.twin_type, now)
        and shard.shown.get(twin.twin_id) == twin.state_version
    )


def _due(
    shard: Shard, twin_ids: Sequence[str], types: Mapping[str, TwinType[Any]], now: float
) -> tuple[list[Twin], list[Work]]:
    """Return the twins of a slice, which ends where many timers are due, and those of them whose timers are.

    Each twin's are in order of time, then name.
    """
    twins: list[Twin] = []
    works: list[Work] = []
    count = 0
    for twin_id in twin_ids:
        twin = shard.hot[twin_id]
        twins.append(twin)
        if twin.timers:
            time = twin.event_time(now)
            due = sorted((at, name) for name, at in twin.timers.items() if at <= time)
            messages = [DueTimer(message=TimerDue(name, at), hub_time=now) for at, name in due]
            if messages:
                works.append(Work(shard.partition, twin, types[twin.type_name], messages))
            count += len(messages)
            if count >= SLICE_TIMERS:
                break
    return twins, works


def _fire(works: Sequence[Work], failures: list[str]) -> dict[str, Folded]:
    """Run the turns of timers that are due; those set meanwhile wait for the next sweep."""
    fired: dict[str, Folded] = {}
    for folded in run(works):
        if folded.timers:
            fired[folded.twin.twin_id] = folded
        else:
            failures.append(f"the timers of twin {folded.twin.twin_id}")
            log.error("the timers of twin %s wait: %s", folded.twin.twin_id, folded.refused[0][1])
    return fired


def _tell_refused(fired: Folded) -> int:
    """Log the timers whose turns were refused, and count them."""
    for due, refusal in fired.refused:
        assert isinstance(due, DueTimer)
        log.error("timer %s of twin %s is dropped: %s", due.message.name, fired.twin.twin_id, refusal)
    return len(fired.refused)


def _look(
    before: Twin, fired: Folded | None, types: Mapping[str, TwinType[Any]], now: float, failures: list[str]
) -> _Look:
    twin = before if fired is None else fired.twin
    twin_type = types[twin.type_name]
    look = _Look(before, fired, twin, twin_type, None, None)
    predicted = twin.maintenance.prediction
    is_new = predicted is None or predicted.time < twin.last_reading_time
    is_pending = any(watched.alert is None for watched in twin.maintenance.watches.values())
    ask = twin_type.features if is_new else None
    if ask is not None or is_pending or is_overdue(twin, twin_type, now):
        what = f"the state of twin {twin.twin_id}"
        look.state = _contained(what, lambda: decode_state(twin, twin_type), failures)
    if ask is not None and look.state is not None:
        look.features = _contained(f"the features of twin {twin.twin_id}", lambda: ask(look.state), failures)
    return look


def _contained[T](what: str, call: Callable[[], T], failures: list[str]) -> T | None:
    """Call what a twin type brought along; where it raises, its twin is left as it is, and the others are swept."""
    try:
        return call()
    except Exception:
        log.exception("a sweep goes on without %s", what)
        failures.append(what)
        return None


def _predict(looks: Sequence[_Look], models: RulModels, failures: list[str]) -> dict[str, Prediction]:
    """Return the predictions of a slice, one batch a twin type."""
    predictions: dict[str, Prediction] = {}
    asking = [look for look in looks if look.features is not None]
    for name in dict.fromkeys(look.twin_type.name for look in asking):
        model = models(name)
        if model is None:
            continue
        group = [look for look in asking if look.twin_type.name == name]
        features = np.array([look.features for look in group], dtype=np.float64)
        rows = _contained(f"RUL model {model.name}", functools.partial(model.predict, features), failures)
        for look, (estimate, lower, upper) in zip(
            group, [] if rows is None else rows.tolist(), strict=rows is not None
        ):
            if 0.0 <= lower <= estimate <= upper <= MOST_DAYS:
                time = look.twin.last_reading_time
                predictions[look.twin.twin_id] = Prediction(estimate, lower, upper, model.name, time)
    return predictions


def _sweep_one(
    look: _Look, prediction: Prediction | None, now: float, failures: list[str]
) -> tuple[Twin, list[Output]]:
    """Return a twin after the sweep; the same object where nothing changed."""
    twin = look.twin
    connection = _connection(twin, now)
    maintenance, outputs = twin.maintenance, list[Output]() if look.fired is None else look.fired.outputs
    if prediction is not None:
        maintenance = msgspec.structs.replace(maintenance, prediction=prediction)
    if look.state is not None:
        predicted = maintenance
        followed = _contained(
            f"the rules of twin {twin.twin_id}", lambda: _follow_rules(look, predicted, connection, now), failures
        )
        if followed is not None:
            maintenance, outputs = followed[0], outputs + followed[1]
        if (
            maintenance is predicted
            and prediction is not None
            and not _is_news(prediction, twin.maintenance.prediction)
        ):
            maintenance = twin.maintenance
    if connection == twin.connection and maintenance is twin.maintenance:
        return twin, outputs
    state_version = look.before.state_version + 1
    changed = msgspec.structs.replace(twin, connection=connection, maintenance=maintenance, state_version=state_version)
    return changed, outputs


def _follow_rules(
    look: _Look, maintenance: Maintenance, connection: str, now: float
) -> tuple[Maintenance, list[Output]]:
    twin = look.twin
    signals = dict(look.twin_type.properties(look.state))
    if maintenance.prediction is not None:
        signals[RUL] = maintenance.prediction.estimate
    situation = Situation(
        twin_id=twin.twin_id,
        state_version=look.before.state_version + 1,
        state=look.state,
        signals=signals,
        time=twin.event_time(now),
        hub_time=now,
        reading_time=twin.last_heard_time,
        previous_time=twin.last_heard_time,
    )
    outputs: list[Output] = []
    if connection != "offline":  # whether a limit is still passed, nobody knows then
        maintenance, outputs = watch(maintenance, look.twin_type, situation)
    maintenance, more = overtake(maintenance, twin, look.twin_type, situation)
    return maintenance, outputs + more


def _connection(twin: Twin, now: float) -> str:
    silence = now - twin.last_seen_time
    if twin.connection == "unknown" or silence < LATE_AFTER_SECONDS:
        return twin.connection
    return "offline" if silence >= OFFLINE_AFTER_SECONDS else "late"


def _is_news(prediction: Prediction, before: Prediction | None) -> bool:
    """Whether a prediction says something that the last one did not."""
    if before is None or before.model != prediction.model:
        return True
    return any(
        abs(new - old) > max(DAYS_WORTH_TELLING, WORTH_TELLING * old)
        for new, old in (
            (prediction.estimate, before.estimate),
            (prediction.lower, before.lower),
            (prediction.upper, before.upper),
        )
    )
