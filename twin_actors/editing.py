"""What people and simulations set beside what the device says, and which of them is shown."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from twin_actors import documents
from twin_actors.conflict import Contested, Write, choose, reason, write
from twin_actors.documents import Edit, OperationStatus, PropertyValue, Source, SourceValue, document_of, moment
from twin_actors.maintenance import Maintenance, put_operation
from twin_actors.outputs import Output, PutDocument
from twin_actors.quality import event_time
from twin_actors.requests import MAX_TEXT_LENGTH, EditRequest, operation_of
from twin_actors.twin import TwinType

MAX_EDITS = 64
"""Properties that people and simulations may have set on one twin."""

MAX_EDIT_BYTES = 131_072
"""Of all that is kept of them: a twin is written as a whole, whatever changes."""

_encode = msgspec.msgpack.Encoder().encode


class Sensed(msgspec.Struct, frozen=True):
    """What the twin's type shows of its state.

    Attributes
    ----------
    shown : Mapping
        Property → value.
    number : int
        The state version that the last turn made: a value that differs from the last one is the sensor's write of
        this number, so that nothing is kept of properties that nobody else writes.
    time : float
        Event time of the newest reading.
    """

    shown: Mapping[str, PropertyValue | None]
    number: int
    time: float


def edit(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    twin_id: str,
    sensed: Sensed,
    request: EditRequest,
    hub_time: float,
) -> tuple[Maintenance, list[Output]]:
    """Set properties, as far as nothing newer of the same source is known."""
    contested = dict(maintenance.contested)
    time, _ = event_time(request.requested, hub_time)
    late: list[str] = []
    for name, value in request.changes.items():
        before = _with_sensor(contested.get(name, Contested()), name, sensed)
        written = write(before.writes, request.source, value, request.caller, time, request.seen)
        if written is None:
            late.append(name)
        else:
            contested[name] = Contested({**before.writes, request.source: written}, before.shown)
    detail = _too_much(maintenance.contested, contested)
    if detail:
        operation = operation_of(request, OperationStatus.REFUSED, detail)
        return maintenance, [put_operation(twin_id, operation, request.requested)]
    changed = msgspec.structs.replace(maintenance, contested=contested)
    changed, outputs = resolve(changed, twin_type, twin_id, sensed, request.changes)
    detail = f"newer values are kept of {', '.join(late)}" if late else ""
    operation = operation_of(request, OperationStatus.PERSISTED, detail)
    outputs.append(put_operation(twin_id, operation, request.requested))
    return changed, outputs


def _too_much(before: Mapping[str, Contested], after: Mapping[str, Contested]) -> str:
    """Return why so much cannot be kept; empty where it can, or is no more than there was."""
    if len(after) > MAX_EDITS:
        return f"{len(before)} properties were set, at most {MAX_EDITS} are kept"
    size = len(_encode(after))
    if size > MAX_EDIT_BYTES and size > len(_encode(before)):
        return f"what is set on this twin would have {size} bytes, at most {MAX_EDIT_BYTES} are kept: take some away"
    return ""


def resolve(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    twin_id: str,
    sensed: Sensed,
    told: Collection[str] = (),
) -> tuple[Maintenance, list[Output]]:
    """Decide which source is shown of each property that more than the device has written.

    Parameters
    ----------
    maintenance, twin_type, twin_id
    sensed
        What the device says now.
    told
        Properties of which apps are told in any case; of others only where the decision has changed.

    Returns
    -------
    Maintenance
        The same object where nothing has changed.
    list of Output
    """
    outputs: list[Output] = []
    contested = dict(maintenance.contested)
    for name, before in maintenance.contested.items():
        after = _with_sensor(before, name, sensed)
        after = msgspec.structs.replace(after, shown=choose(after.writes, _order(twin_type, name)))
        contested[name] = after
        if after.shown is not before.shown or name in told:
            outputs.append(_put_edit(twin_id, name, after))
    if outputs or contested != maintenance.contested:
        return msgspec.structs.replace(maintenance, contested=contested), outputs
    return maintenance, outputs


def _order(twin_type: TwinType[Any], name: str) -> list[Source]:
    """Return the sources of a property, those first that count more."""
    first = twin_type.priority.get(name, ())
    return [*first, *(source for source in Source if source not in first)]


def _with_sensor(contested: Contested, name: str, sensed: Sensed) -> Contested:
    """Take what the device says for another write, if it is another value."""
    value, before = _kept(sensed.shown.get(name)), contested.writes.get(Source.SENSOR)
    if value == (None if before is None else before.value):
        return contested
    number = sensed.number if before is None else max(sensed.number, before.vector[Source.SENSOR])
    written = Write(Source.SENSOR, value, "", sensed.time, {Source.SENSOR: number})
    return msgspec.structs.replace(contested, writes={**contested.writes, Source.SENSOR: written})


def _kept(value: object) -> PropertyValue | None:
    """Return what a type shows of a property as a record can keep it: what is no plain value (a map, a time) as text.

    A record that no restore can read must not be written.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(value)  # numpy's too
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    return str(value)[:MAX_TEXT_LENGTH].encode(errors="replace").decode()


def _put_edit(twin_id: str, name: str, contested: Contested) -> PutDocument:
    """Return what tells apps of a property: the newest edit, and what the other sources say."""
    newest = _newest(contested)
    said = {source: _said(contested, source) for source in Source if source in contested.writes}
    mine = said.pop(newest.source)
    body = Edit(
        property=name,
        value=mine.value,
        author=mine.author,
        time=mine.time,
        is_shown=mine.is_shown,
        detail=mine.detail,
        source=mine.source,
        vector=mine.vector,
        beside=list(said.values()),
    )
    status = "removed" if newest.value is None else "shown" if mine.is_shown else "kept"
    return PutDocument(0, documents.Collection.EDITS, document_of(twin_id, name, status, newest.time, body))


def put_removed(twin_id: str, name: str, contested: Contested, detail: str) -> PutDocument:
    """Return what tells apps that nothing is left of what was set; whoever writes next has seen nothing of it."""
    newest = _newest(contested)
    body = Edit(
        property=name,
        value=None,
        author=newest.author,
        time=moment(newest.time),
        is_shown=False,
        detail=detail,
        source=newest.source,
    )
    return PutDocument(0, documents.Collection.EDITS, document_of(twin_id, name, "removed", newest.time, body))


def _newest(contested: Contested) -> Write:
    """Return the newest edit; those that were taken away come last."""
    edits = (one for one in contested.writes.values() if one.source is not Source.SENSOR)
    return max(edits, key=lambda one: (one.value is not None, one.time, one.source))


def _said(contested: Contested, source: Source) -> SourceValue:
    one = contested.writes[source]
    return SourceValue(
        source=source,
        value=one.value,
        author=one.author,
        time=moment(one.time),
        is_shown=source is contested.shown,
        detail=reason(contested, source),
        vector=one.vector,
    )
