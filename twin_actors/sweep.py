"""A tick sweeps a shard: who has fallen silent, how long will each machine last, what has come due?

A sweep goes through the shard in slices, each a record of its own with the twin at which the next goes on, so that a
sweep that is cut short is continued by the next tick, whoever owns the shard then.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from twin_actors.advisory import Situation, watch
from twin_actors.commit import Twin
from twin_actors.documents import Prediction
from twin_actors.outputs import Output
from twin_actors.shard import Shard
from twin_actors.turn import decode_state
from twin_actors.twin import RUL, TwinType

LATE_AFTER_SECONDS = 30.0
OFFLINE_AFTER_SECONDS = 300.0
"""Silence after which a device counts as late, and as offline."""

SLICE_TWINS = 2_000
"""Twins looked at for one record."""

SLICE_BYTES = 1024 * 1024
"""How much of changed twins one record may write, so that it fits one append."""

TWIN_BYTES = 1024
SIGNAL_BYTES = 96
OUTPUT_BYTES = 4096
"""What a twin, each of its signals and each output take in a record, beside the state, generously."""

WORTH_TELLING = 0.01
"""A prediction that differs by no more than this part from the last one changes nothing."""

DAYS_WORTH_TELLING = 0.02
"""Nor does one that differs by less: half an hour."""


class RulModel(Protocol):
    """Tells how long machines of a twin type will last."""

    name: str

    def predict(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return estimate, lower and upper bound in days, (n, 3), of features (n, k)."""


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
    """

    twins: list[Twin]
    outputs: list[Output]
    swept: str


class _Look(msgspec.Struct):
    """A twin of the slice, decoded."""

    twin: Twin
    twin_type: TwinType[Any]
    state: Any
    features: tuple[float, ...] | None


def sweep(shard: Shard, types: Mapping[str, TwinType[Any]], models: RulModels, now: float) -> Slice:
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
    """
    twin_ids = list(shard.twins)
    first = twin_ids.index(shard.swept) + 1 if shard.swept in shard.twins else 0
    part = twin_ids[first : first + SLICE_TWINS]
    looks = [_look(shard.twins[twin_id], types) for twin_id in part]
    predictions = _predict(looks, models)
    changed: list[Twin] = []
    outputs: list[Output] = []
    size = 0
    for look in looks:
        after, left = _sweep_one(look, predictions.get(look.twin.twin_id), now)
        if after is not look.twin:
            changed.append(after)
            outputs += left
            size += TWIN_BYTES + len(after.state) + SIGNAL_BYTES * len(after.signals) + OUTPUT_BYTES * len(left)
        if size >= SLICE_BYTES:
            break
    last = look.twin.twin_id if looks else ""
    return Slice(changed, outputs, "" if not twin_ids or last == twin_ids[-1] else last)


def _look(twin: Twin, types: Mapping[str, TwinType[Any]]) -> _Look:
    """Decode what a twin needs to be looked at; nothing where nothing can have changed."""
    twin_type = types[twin.type_name]
    before = twin.maintenance.prediction
    if twin_type.features is None or (before is not None and before.time >= twin.last_reading_time):
        is_pending = any(watched.alert is None for watched in twin.maintenance.watches.values())
        return _Look(twin, twin_type, decode_state(twin, twin_type) if is_pending else None, None)
    state = decode_state(twin, twin_type)
    return _Look(twin, twin_type, state, twin_type.features(state))


def _predict(looks: Sequence[_Look], models: RulModels) -> dict[str, Prediction]:
    """Return the predictions of a slice, one batch a twin type."""
    predictions: dict[str, Prediction] = {}
    asking = [look for look in looks if look.features is not None]
    for name in dict.fromkeys(look.twin_type.name for look in asking):
        model = models(name)
        if model is None:
            continue
        group = [look for look in asking if look.twin_type.name == name]
        rows = model.predict(np.array([look.features for look in group], dtype=np.float64))
        for look, (estimate, lower, upper) in zip(group, rows.tolist(), strict=True):
            if math.isfinite(estimate) and math.isfinite(lower) and math.isfinite(upper):
                time = look.twin.last_reading_time
                predictions[look.twin.twin_id] = Prediction(estimate, lower, upper, model.name, time)
    return predictions


def _sweep_one(look: _Look, prediction: Prediction | None, now: float) -> tuple[Twin, list[Output]]:
    """Return a twin after the sweep; the same object where nothing changed."""
    twin = look.twin
    maintenance = twin.maintenance
    outputs: list[Output] = []
    connection = _connection(twin, now)
    if prediction is not None:
        maintenance = msgspec.structs.replace(maintenance, prediction=prediction)
    predicted = maintenance
    if look.state is not None and connection != "offline":
        signals = dict(look.twin_type.properties(look.state))
        if maintenance.prediction is not None:
            signals[RUL] = maintenance.prediction.estimate
        situation = Situation(
            twin_id=twin.twin_id,
            state_version=twin.state_version + 1,
            state=look.state,
            signals=signals,
            # Event time goes on while nothing is heard, by the cloud's clock.
            time=twin.last_reading_time + max(0.0, now - twin.last_seen_time),
            hub_time=now,
            reading_time=twin.last_reading_time,
        )
        maintenance, outputs = watch(maintenance, look.twin_type, situation)
    if prediction is not None and maintenance is predicted and not _is_news(prediction, twin.maintenance.prediction):
        maintenance = twin.maintenance
    if connection == twin.connection and maintenance is twin.maintenance:
        return twin, []
    return (
        msgspec.structs.replace(
            twin, connection=connection, maintenance=maintenance, state_version=twin.state_version + 1
        ),
        outputs,
    )


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
