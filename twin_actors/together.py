"""The ordinary messages of twins whose type has a fleet: judged, folded and held against limits as arrays.

Ordinary is a reading of declared channels, at a time that can be, of a twin that no rule has its eye on, and that
passes no limit. Whatever is not is left to the turns one by one, from the beginning of the batch (`turn.py`): both
give the same, this is the quick way for nearly all of them.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from kernels.columns import columns_of
from kernels.signal_quality import judge_steps
from kernels.signal_statistics import SUSPECT
from twin_actors.messages import Envelope, Quality, Row
from twin_actors.quality import FUTURE_SKEW_SECONDS, PAST_SKEW_SECONDS, Signals, packed
from twin_actors.twin import Fleet, TwinType
from twin_actors.work import Folded, Work, message_key, packed_key

MOST_READINGS = 50_000
"""That are laid out at a time: a message may be a list of a hundred thousand empty ones, each a row of arrays."""

log = logging.getLogger(__name__)

QUALITIES = (Quality.GOOD, Quality.SUSPECT, Quality.BAD, Quality.MISSING)
"""By the codes of `kernels.signal_statistics`."""


_encode = msgspec.msgpack.Encoder().encode


class _Heard(msgspec.Struct):
    """The ordinary messages of one type, a step a reading, those of a twin one after the other.

    Attributes
    ----------
    indices : list of int
        Of the works they are from.
    counts : list of int
        Steps of each.
    keys : list of list of int
        Of each message of each.
    seen : list of float
        When the cloud heard the newest message of each.
    states, signals : list of bytes
        Of each.
    times : list of float
        Of each step.
    rows : list of dict
        What each step says.
    """

    indices: list[int] = []
    counts: list[int] = []
    keys: list[list[int]] = []
    seen: list[float] = []
    states: list[bytes] = []
    signals: list[bytes] = []
    times: list[float] = []
    rows: list[dict[str, Any]] = []


class _Judged(msgspec.Struct, frozen=True):
    """What was found of each step, shapes (m, channels), (m,), (m,)."""

    flags: npt.NDArray[np.uint8]
    is_late: npt.NDArray[np.uint8]
    is_usable: npt.NDArray[np.bool_]


class _After(msgspec.Struct, frozen=True):
    """What each twin is after its steps: numbers, what its channels said, the newest time, and whether it is one that
    the turns must look at.
    """

    states: npt.NDArray[np.float64]
    signals: npt.NDArray[np.float64]
    newest: npt.NDArray[np.float64]
    is_odd: npt.NDArray[np.bool_]


def fold_together(works: Sequence[Work]) -> list[Folded | None]:
    """Return what became of each twin; None where its turns must be run one by one."""
    found: list[Folded | None] = [None] * len(works)
    groups: dict[str, list[int]] = {}
    for index, work in enumerate(works):
        if work.twin_type.fleet is not None:
            groups.setdefault(work.twin_type.name, []).append(index)
    for indices in groups.values():
        _fold_group(works, indices, found)
    return found


def _fold_group(works: Sequence[Work], indices: list[int], found: list[Folded | None]) -> None:
    """Fold the twins of one type."""
    twin_type = works[indices[0]].twin_type
    fleet = twin_type.fleet
    assert fleet is not None
    heard = _hear(works, indices, twin_type, fleet)
    if not heard.indices:
        return
    width, counts = len(fleet.channels), np.array(heard.counts, np.intp)
    of, times = np.repeat(np.arange(len(counts)), counts), np.array(heard.times, np.float64)
    values, is_regular = columns_of(heard.rows, {name: place for place, name in enumerate(fleet.channels)})
    after = _After(
        Fleet.matrix(heard.states),
        Fleet.matrix(heard.signals).reshape(-1, width, 3),
        np.array([works[index].twin.last_reading_time for index in heard.indices], np.float64),
        np.zeros(len(counts), np.bool_),
    )
    after.is_odd[of[~is_regular]] = True
    flags, is_late = judge_steps(twin_type.channel_table, after.signals, after.newest, of, times, values)
    usable, suspect = np.where(flags <= SUSPECT, values, math.nan), (flags == SUSPECT).view(np.uint8)
    is_usable = ~np.isnan(usable).all(axis=1)
    steps = np.flatnonzero((is_late == 0) & is_usable)
    columns, signs, limits = twin_type.limits
    try:
        seen = fleet.follow(after.states, of[steps], times[steps], usable[steps], suspect[steps], columns)
        is_past = (seen * signs > limits).any(axis=1)
    except Exception:  # the type's own code: whose message it was, the turns one by one will tell
        log.exception("the fleet of %s fails: its twins are folded one by one", twin_type.name)
        return
    after.is_odd[of[steps[is_past]]] = True
    after.is_odd[np.isinf(after.states).any(axis=1)] = True
    _conclude(works, found, heard, fleet, _Judged(flags, is_late, is_usable), after)


def _hear(works: Sequence[Work], indices: list[int], twin_type: TwinType[Any], fleet: Fleet) -> _Heard:
    """Gather the messages of twins, as far as they are ordinary."""
    heard = _Heard()
    head, size, names = *_frame_of(twin_type), "\n".join(fleet.channels)
    for index in indices:
        work, mark = works[index], len(heard.times)
        twin = work.twin
        keys = _read(work, heard)
        is_state = twin.layout == twin_type.state_version and len(twin.state) == size and twin.state.startswith(head)
        is_watched = twin.maintenance.watches or twin.maintenance.contested
        if keys is None or not is_state or is_watched or len(heard.times) > MOST_READINGS:
            del heard.times[mark:], heard.rows[mark:], heard.seen[len(heard.indices) :]
            continue
        signals = twin.signals
        if signals.__class__ is not Signals or signals.names != names:
            signals = packed(signals, fleet.channels)
        heard.indices.append(index)
        heard.counts.append(len(heard.times) - mark)
        heard.keys.append(keys)
        heard.states.append(twin.state[len(head) :])
        heard.signals.append(signals.numbers)
    return heard


def _frame_of(twin_type: TwinType[Any]) -> tuple[bytes, int]:
    """Return how the state of a type with a fleet begins before its numbers, encoded, and how long it is."""
    state = twin_type.state()
    encoded = _encode(state)
    return encoded[: len(encoded) - len(state.numbers)], len(encoded)


def _read(work: Work, heard: _Heard) -> list[int] | None:
    """Take the rows of a twin's messages; return the keys of the messages, or None where one is not ordinary."""
    if not work.envelopes:  # all that it hears is that it is deleted
        return None
    recent, seen = work.recent_keys, 0.0
    keys: list[int] = []
    once: set[int] = set()
    for envelope in work.envelopes:
        if envelope.__class__ is not Envelope:
            return None
        event = envelope.event
        key = message_key(event.message_id)
        if key:
            # Among the recent ones it may be the end of one and the beginning of the next: the turns find out.
            if key in once or (recent and packed_key(key) in recent):
                return None
            once.add(key)
        keys.append(key)
        hub_time = event.received_time
        if hub_time is None:
            hub_time = event.enqueued_time
        seen = max(seen, hub_time)
        for row in envelope.rows:
            if row.__class__ is not Row:
                return None
            time = hub_time if row.time is None else row.time
            if not hub_time - PAST_SKEW_SECONDS <= time <= hub_time + FUTURE_SKEW_SECONDS:
                return None
            heard.times.append(time)
            heard.rows.append(row.channels)
    heard.seen.append(seen)
    return keys


def _conclude(
    works: Sequence[Work],
    found: list[Folded | None],
    heard: _Heard,
    fleet: Fleet,
    judged: _Judged,
    after: _After,
) -> None:
    """Say what became of the twins that are ordinary to the end."""
    numbers, signals = after.states.tobytes(), after.signals.tobytes()
    head, _ = _frame_of(works[heard.indices[0]].twin_type)
    state_size, signal_size = len(numbers) // len(heard.indices), len(signals) // len(heard.indices)
    names = "\n".join(fleet.channels)
    flags, is_late = _flags(judged.flags, fleet.channels), judged.is_late.tolist()
    step = 0
    for place, (index, count, keys, seen, newest, is_odd) in enumerate(
        zip(
            heard.indices,
            heard.counts,
            heard.keys,
            heard.seen,
            after.newest.tolist(),
            after.is_odd.tolist(),
            strict=True,
        )
    ):
        first, step = step, step + count
        if is_odd:
            continue
        envelopes, twin = works[index].envelopes, works[index].twin
        is_well = step - 1 not in flags and not is_late[step - 1]
        is_new, version = seen >= twin.last_seen_time, twin.state_version + 1
        changed = replace(
            twin,
            state=head + numbers[place * state_size : (place + 1) * state_size],
            state_version=version,
            signals=Signals(names, signals[place * signal_size : (place + 1) * signal_size]),
            reading_count=twin.reading_count + count,
            last_reading_time=newest,
            last_seen_time=seen if is_new else twin.last_seen_time,
            connection="online" if is_new else twin.connection,
            quality=Quality.GOOD if is_well else _overall(judged, flags, first, step, twin.quality),
            turned=version,
        )
        if flags:
            accepted = list(zip(envelopes, keys, _rows(envelopes, flags, first), strict=True))
        else:
            accepted = [(envelope, key, []) for envelope, key in zip(envelopes, keys, strict=True)]
        found[index] = Folded(changed, accepted, [])


def _rows(
    envelopes: Sequence[Envelope], flags: dict[int, dict[str, Quality]], step: int
) -> Iterator[list[dict[str, Quality]]]:
    """Yield the qualities of the rows of each message, the first of which is this step."""
    for envelope in envelopes:
        after = step + len(envelope.rows)
        rows = [flags.get(one, {}) for one in range(step, after)]
        yield rows if any(rows) else []
        step = after


def _flags(codes: npt.NDArray[np.uint8], channels: tuple[str, ...]) -> dict[int, dict[str, Quality]]:
    """Return step → channel → quality, of all that is not good."""
    flags: dict[int, dict[str, Quality]] = {}
    for step, channel in zip(*(one.tolist() for one in np.nonzero(codes)), strict=True):
        flags.setdefault(step, {})[channels[channel]] = QUALITIES[codes[step, channel]]
    return flags


def _overall(judged: _Judged, flags: dict[int, dict[str, Quality]], first: int, end: int, before: Quality) -> Quality:
    """Return the quality of the newest reading that is not late, as a whole."""
    for step in range(end - 1, first - 1, -1):
        if not judged.is_late[step]:
            if step not in flags:
                return Quality.GOOD
            return Quality.SUSPECT if judged.is_usable[step] else Quality.BAD
    return before
