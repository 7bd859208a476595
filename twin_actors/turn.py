"""One turn a message: ``(state, message) → state``, for all twins of a batch side by side.

Everything here is pure and can be replayed. Each twin's messages run in order in a generator of
its own; where turns ask for a kernel, the requests of all twins are gathered into one call.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from twin_actors.advisory import watch
from twin_actors.alerting import Situation
from twin_actors.asking import take
from twin_actors.commit import Twin
from twin_actors.editing import Sensed, resolve
from twin_actors.errors import Rejected
from twin_actors.frames import WideRow
from twin_actors.layout import decode_state, encode_state, upgraded
from twin_actors.messages import Envelope, Quality, Reading, Row
from twin_actors.outputs import Output, SendCommand
from twin_actors.overdue import break_silence
from twin_actors.quality import judge, overall, packed, unpacked
from twin_actors.requests import AddressedRequest
from twin_actors.telling import MAX_FOLLOWING, AddressedTell, DueTimer, Said
from twin_actors.together import fold_together
from twin_actors.twin import Fleet, Frame, KernelRequest, PropertyValue, Turn, TwinType
from twin_actors.wide import Hearing, listen, overall_quality, row_flags
from twin_actors.work import RECENT_KEYS, Folded, Work, message_key, unpacked_keys

type Turns[T] = Generator[KernelRequest, Any, T]

_encode = msgspec.msgpack.Encoder().encode

MAX_OUTPUTS = 32
"""Outputs of one message, beyond which its rules are applied to its last row only: what a device kept for hours may
pass a limit hundreds of times."""


def run(works: Sequence[Work]) -> list[Folded]:
    """Run the turns of a batch, and return what became of each twin, in the order given."""
    together = fold_together(works)
    alone = iter(one_by_one([work for work, folded in zip(works, together, strict=True) if folded is None]))
    return [next(alone) if folded is None else folded for folded in together]


def one_by_one(works: Sequence[Work]) -> list[Folded]:
    """Run the turns of a batch as `run` does, without a thought for fleets."""
    return gather([_fold(work) for work in works])


def gather[T](turns: Sequence[Turns[T]]) -> list[T]:
    """Run generators side by side, answering equal kernel requests with one array call.

    A kernel that raises for the gathered rows is called row by row, so that only the twin whose
    row it was is told.
    """
    results: dict[int, T] = {}
    waiting: dict[int, KernelRequest] = {}
    answers: list[tuple[int, Any]] = [(index, None) for index in range(len(turns))]
    while answers:
        waiting.clear()
        for index, answer in answers:
            turn = turns[index]
            try:
                waiting[index] = turn.throw(answer) if isinstance(answer, Exception) else turn.send(answer)
            except StopIteration as stop:
                results[index] = stop.value
        answers = _answer(waiting)
    return [results[index] for index in range(len(turns))]


def _answer(waiting: dict[int, KernelRequest]) -> list[tuple[int, Any]]:
    groups: dict[tuple[Any, int], list[int]] = {}
    answers: list[tuple[int, Any]] = []
    for index, request in waiting.items():
        if isinstance(request, KernelRequest):
            groups.setdefault((request.kernel, len(request.arguments)), []).append(index)
        else:
            answers.append((index, TypeError(f"receive yielded {request!r}; it may yield only ask(…)")))
    for (kernel, _), indices in groups.items():
        rows = [waiting[index].arguments for index in indices]
        try:
            results = kernel(rows) if isinstance(kernel, Fleet) else call(kernel, rows)
            answers += list(zip(indices, results, strict=True))  # all rows, or none
        except Exception as error:  # noqa: BLE001  a kernel's fault belongs to a row: find whose
            if len(rows) == 1:
                answers.append((indices[0], error))
            else:
                answers += [_answer({index: waiting[index]})[0] for index in indices]
    return answers


def call(kernel: Any, rows: Sequence[tuple[float, ...]]) -> list[Any]:  # noqa: ANN401  any kernel
    """Call a kernel with rows gathered into columns, and return its results row by row."""
    result = kernel(*np.array(rows, dtype=np.float64).T.copy())
    if not isinstance(result, tuple):
        return list(result.tolist())
    make = getattr(type(result), "_make", tuple)
    return [make(row) for row in zip(*(column.tolist() for column in result), strict=True)]


def new_twin(twin_id: str, twin_type: TwinType[Any], state_version: int = 0, *, is_announced: bool = False) -> Twin:
    """Return a twin that has heard nothing yet."""
    return Twin(
        twin_id=twin_id,
        type_name=twin_type.name,
        layout=twin_type.state_version,
        state=_encode(twin_type.state()),
        state_version=state_version,
        is_announced=is_announced,
    )


def _fold(work: Work) -> Turns[Folded]:  # noqa: C901  one case for each kind of message, in one frame: it is the hot path
    try:
        folded = Folded(upgraded(work.twin, work.twin_type), [], [])
        state = decode_state(folded.twin, work.twin_type)
    except Rejected as refusal:
        return Folded(work.twin, [], [(envelope, refusal) for envelope in work.envelopes])
    recent = dict.fromkeys(unpacked_keys(work.recent_keys))
    for envelope in work.envelopes:
        key = message_key(envelope.event.message_id) if isinstance(envelope, Envelope) else 0
        if key in recent:
            folded.resent += 1
            continue
        try:
            if isinstance(envelope, Envelope):
                state, folded.twin, flags, outputs = yield from _turn(work, state, folded, envelope)
            elif isinstance(envelope, AddressedRequest):
                _ask(work, state, folded, envelope)
                continue
            else:
                if isinstance(envelope, DueTimer) and not _take_timer(folded, envelope):
                    continue
                state, folded.twin, outputs = yield from _hear(work, state, folded.twin, envelope)
                flags = []
        except Exception as error:  # noqa: BLE001  turns are deterministic: one failure is final
            folded.refused.append((envelope, _refusal(work.twin_type, error)))
            state = decode_state(folded.twin, work.twin_type)  # the turn may have changed parts of it in place
            continue
        if key:
            recent[key] = None
            if len(recent) > RECENT_KEYS:
                del recent[next(iter(recent))]
        folded.outputs += outputs
        if not isinstance(envelope, DueTimer):  # which the twin has in itself, and no event brought
            folded.accepted.append((envelope, key, flags if any(flags) else []))
    if folded.is_changed:
        folded.twin = msgspec.structs.replace(
            folded.twin,
            state_version=work.twin.state_version + 1,
            resent_count=work.twin.resent_count + folded.resent,
        )
    return folded


def _ask(work: Work, state: object, folded: Folded, asked: AddressedRequest) -> None:
    """Apply what an app asks."""
    twin = folded.twin
    sensed = Sensed(work.twin_type.properties(state), twin.turned or twin.state_version, twin.last_heard_time)
    taken = take(
        folded.twin.maintenance,
        work.twin_type,
        folded.twin.twin_id,
        work.twin.state_version + 1,
        sensed,
        asked.request,
        asked.event.enqueued_time,
        work.waiting + sum(isinstance(output, SendCommand) for output in folded.outputs),
    )
    if taken is None:
        folded.repeated += 1
        return
    folded.requests += 1
    folded.twin = msgspec.structs.replace(folded.twin, maintenance=taken[0])
    folded.outputs += taken[1]


def _take_timer(folded: Folded, due: DueTimer) -> bool:
    """Take a timer off its twin, whatever its turn will say; return whether it still is what was due."""
    timers = dict(folded.twin.timers)
    if timers.pop(due.message.name, None) != due.message.time:
        return False  # an earlier turn has moved or cancelled it
    folded.timers += 1
    folded.twin = msgspec.structs.replace(folded.twin, timers=timers)
    return True


def _refusal(twin_type: TwinType[Any], error: Exception) -> Rejected:
    if isinstance(error, Rejected):
        return error
    return Rejected("turn_failed", f"{twin_type.name} raised {type(error).__name__}: {error}")


def _listen(work: Work, folded: Folded, first: Row | WideRow) -> Hearing | None:
    """Return what hears the frames of a message, None where it brings readings; refuse what the type does not hear."""
    if isinstance(first, WideRow):
        return listen(work.twin_type, folded.twin.signal_epoch, folded.statistics or work.statistics, first)
    if Reading not in work.twin_type.hears:
        raise _not_heard(work.twin_type, "a device's readings")
    return None


def _overall(heard: Reading | Frame) -> Quality:
    return overall(heard) if isinstance(heard, Reading) else overall_quality(heard)


def _turn(
    work: Work,
    state: Any,  # noqa: ANN401  the type's own state
    folded: Folded,
    envelope: Envelope,
) -> Turns[tuple[Any, Twin, list[dict[str, Quality]], list[Output]]]:
    """Fold one message, all of its rows or none."""
    event, twin_type, twin = envelope.event, work.twin_type, folded.twin
    hearing = _listen(work, folded, envelope.rows[0])
    said: Said | None = None
    hub_time = event.enqueued_time if event.received_time is None else event.received_time
    signals, last_time, quality, maintenance = (
        unpacked(twin.signals),
        twin.last_reading_time,
        twin.quality,
        twin.maintenance,
    )
    flags: list[dict[str, Quality]] = []
    outputs: list[Output] = []
    shown: Mapping[str, PropertyValue | None] | None = None
    heard: Reading | Frame
    for number, row in enumerate(envelope.rows, 1):
        shown = None
        if isinstance(row, Row):
            heard, signals = judge(twin_type.channels, signals, row, hub_time, last_time)
            result = twin_type.receive(state, heard)
            flags.append(heard.quality)
        else:
            assert hearing is not None
            heard = hearing.hear(row, hub_time, last_time)
            result = twin_type.receive(state, heard)
            flags.append(row_flags(heard))
        turn = (yield from result) if isinstance(result, Generator) else result
        state = turn.state
        if turn.outputs:
            said = said or Said.of(twin_type, twin, f"{work.partition}-{envelope.sequence_number}")
            said.take(turn.outputs, heard.time, MAX_FOLLOWING)
        if heard.is_late:
            continue
        before, last_time, quality = last_time, heard.time, _overall(heard)
        if (twin_type.rules or maintenance.watches) and (len(outputs) < MAX_OUTPUTS or number == len(envelope.rows)):
            shown = _shown(twin_type, state)
            situation = Situation(
                twin_id=twin.twin_id,
                state_version=work.twin.state_version + 1,
                state=state,
                signals=shown,
                time=last_time,
                hub_time=hub_time,
                reading_time=last_time,
                previous_time=before,
                position=f"{work.partition}-{envelope.sequence_number}",
            )
            maintenance, left = watch(maintenance, twin_type, situation)
            outputs += left
    encoded, state = encode_state(twin_type, state)
    if shown is None:
        shown = _shown(twin_type, state)
    version = work.twin.state_version + 1
    if maintenance.contested:
        maintenance, left = resolve(maintenance, twin_type, twin.twin_id, Sensed(shown, version, last_time))
        outputs += left
    outputs += [] if said is None else said.forwards
    after = msgspec.structs.replace(
        twin,
        state=encoded,
        signals=signals if twin_type.fleet is None else packed(signals, twin_type.fleet.channels),
        reading_count=twin.reading_count + len(envelope.rows),
        last_reading_time=last_time,
        last_seen_time=max(twin.last_seen_time, hub_time),
        connection="online" if hub_time >= twin.last_seen_time else twin.connection,
        quality=quality,
        maintenance=maintenance,
        timers=twin.timers if said is None else said.timers,
        signal_epoch=twin.signal_epoch if hearing is None else hearing.statistics.epoch,
        turned=version,
    )
    if maintenance.watches:
        after, left = break_silence(twin, after, twin_type, hub_time)
        outputs += left
    if hearing is not None:  # nothing can fail any more
        folded.statistics = hearing.statistics
        folded.frames[envelope.sequence_number] = (hearing.times, hearing.quality)
    return state, after, flags, outputs


def _hear(
    work: Work,
    state: Any,  # noqa: ANN401  the type's own state
    twin: Twin,
    heard: AddressedTell | DueTimer,
) -> Turns[tuple[Any, Twin, list[Output]]]:
    """Apply one message that no device sent: what another twin tells, or a timer."""
    twin_type, message = work.twin_type, heard.message
    if type(message) not in twin_type.hears:
        raise _not_heard(twin_type, f"{message.name!r}: no {type(message).__name__}")
    result = twin_type.receive(state, message)
    turn: Turn[Any] = (yield from result) if isinstance(result, Generator) else result
    position, last_told_time = "", twin.last_told_time
    if isinstance(heard, AddressedTell):
        position, last_told_time = f"{work.partition}-{heard.sequence_number}", max(last_told_time, heard.hub_time)
    said = Said.of(twin_type, twin, position)
    said.take(turn.outputs, message.time, heard.allowance)
    encoded, state = encode_state(twin_type, turn.state)
    shown = _shown(twin_type, state)
    after = msgspec.structs.replace(
        twin,
        state=encoded,
        timers=said.timers,
        last_told_time=last_told_time,
        turned=work.twin.state_version + 1,
    )
    maintenance, outputs = twin.maintenance, list[Output](said.forwards)
    if twin_type.rules and twin.connection != "offline":
        situation = Situation(
            twin_id=twin.twin_id,
            state_version=work.twin.state_version + 1,
            state=state,
            signals=shown,
            time=twin.event_time(heard.hub_time),
            hub_time=heard.hub_time,
            reading_time=after.last_heard_time,
            previous_time=twin.last_heard_time,
            position=position,
        )
        maintenance, left = watch(maintenance, twin_type, situation)
        outputs += left
    if maintenance.contested:
        sensed = Sensed(shown, work.twin.state_version + 1, after.last_heard_time)
        maintenance, left = resolve(maintenance, twin_type, twin.twin_id, sensed)
        outputs += left
    return state, msgspec.structs.replace(after, maintenance=maintenance), outputs


def _not_heard(twin_type: TwinType[Any], what: str) -> Rejected:
    return Rejected("not_heard", f"{twin_type.name} does not hear {what}; name it in `hears` of the type if it should")


def _shown(twin_type: TwinType[Any], state: object) -> Mapping[str, PropertyValue | None]:
    """Return what a state shows, all of it finite."""
    shown = twin_type.properties(state)
    for name, value in shown.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise Rejected(
                "not_finite",
                f"{twin_type.name} would show {name} = {value}; its receive must fall back instead",
            )
    return shown
