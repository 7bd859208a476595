"""What becomes of an app's request when its twin folds it."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from twin_actors import documents
from twin_actors.documents import Edit, OperationStatus, PropertyValue, document_of, moment
from twin_actors.maintenance import (
    Maintenance,
    ManualValue,
    command_of,
    command_outputs,
    put_alert,
    put_operation,
)
from twin_actors.outputs import Output, PutDocument
from twin_actors.requests import Acknowledgement, CommandRequest, EditRequest, Request, operation_of
from twin_actors.twin import TwinType

RECENT_OPERATIONS = 32
"""How many operation ids a twin remembers, to do a repeated one once."""

MAX_EDITS = 64
"""Properties that people may have set on one twin."""

MAX_WAITING = 16
"""Commands of one twin that may wait for its device."""


def take(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    twin_id: str,
    state_version: int,
    sensed: Mapping[str, PropertyValue | None],
    request: Request,
    hub_time: float,
    waiting: int,
) -> tuple[Maintenance, list[Output]] | None:
    """Apply a request.

    Parameters
    ----------
    maintenance, twin_type, twin_id
    state_version
        That the commit will give the twin.
    sensed
        What the twin's type shows of its state.
    request
    hub_time
        When the mailbox took it.
    waiting
        How many commands wait for the device.

    Returns
    -------
    tuple or None
        None where this operation was taken before.
    """
    if request.operation_id in maintenance.operations:
        return None
    outputs: list[Output]
    if isinstance(request, CommandRequest):
        outputs = _command(twin_type, twin_id, state_version, request, hub_time, waiting)
    elif isinstance(request, EditRequest):
        maintenance, outputs = _edit(maintenance, twin_type, twin_id, sensed, request)
    else:
        assert isinstance(request, Acknowledgement)  # what deletes a twin is no turn of it
        maintenance, outputs = _acknowledge(maintenance, twin_id, request, hub_time)
    operations = [*maintenance.operations, request.operation_id][-RECENT_OPERATIONS:]
    return msgspec.structs.replace(maintenance, operations=operations), outputs


def refused(twin_id: str, request: Request, detail: str, hub_time: float) -> PutDocument:
    """Return the output that tells an app why nothing came of its request."""
    return put_operation(twin_id, operation_of(request, OperationStatus.REFUSED, detail), hub_time)


def _command(
    twin_type: TwinType[Any], twin_id: str, state_version: int, request: CommandRequest, hub_time: float, waiting: int
) -> list[Output]:
    row = command_of(twin_type, request.name)
    if row is None:
        known = ", ".join(one.name for one in twin_type.commands) or "none"
        return [refused(twin_id, request, f"{twin_type.name} has no command {request.name}; it has: {known}", hub_time)]
    asked = request.request
    if isinstance(asked, int | float) and not isinstance(asked, bool) and not row.low <= asked <= row.high:
        limits = f"{row.low:g} to {row.high:g}"
        return [refused(twin_id, request, f"{asked:g} is outside the limits of {row.name}: {limits}", hub_time)]
    if waiting >= MAX_WAITING:
        detail = f"{waiting} commands wait for the device, no more are kept; ask again when it is back"
        return [refused(twin_id, request, detail, hub_time)]
    if hub_time > request.expires:
        operation = operation_of(request, OperationStatus.EXPIRED, "it expired before its twin heard of it")
        return [put_operation(twin_id, operation, hub_time)]
    return list(command_outputs(twin_id, row, operation_of(request, OperationStatus.PERSISTED), state_version))


def _edit(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    twin_id: str,
    sensed: Mapping[str, PropertyValue | None],
    request: EditRequest,
) -> tuple[Maintenance, list[Output]]:
    edits = dict(maintenance.edits)
    for name, value in request.changes.items():
        before = edits.get(name)
        if before is None or before.time <= request.requested:  # of one source the newest counts, not the last to come
            edits[name] = ManualValue(value, request.caller, request.requested, is_shown=False)
    if len(edits) > MAX_EDITS:
        detail = f"people have set {len(maintenance.edits)} properties, at most {MAX_EDITS} are kept"
        return maintenance, [refused(twin_id, request, detail, request.requested)]
    changed = msgspec.structs.replace(maintenance, edits=edits)
    changed, outputs = resolve_edits(changed, twin_type, twin_id, sensed, request.changes)
    outputs.append(put_operation(twin_id, operation_of(request, OperationStatus.PERSISTED), request.requested))
    return changed, outputs


def resolve_edits(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    twin_id: str,
    sensed: Mapping[str, PropertyValue | None],
    told: Collection[str] = (),
) -> tuple[Maintenance, list[Output]]:
    """Decide which of people's values are shown beside what the device says now.

    Parameters
    ----------
    maintenance, twin_type, twin_id
    sensed
        What the twin's type shows of its state.
    told
        Properties of which apps are told in any case; of others only where the decision has changed.

    Returns
    -------
    Maintenance
        The same object where no decision has changed.
    list of Output
    """
    outputs: list[Output] = []
    edits = dict(maintenance.edits)
    for name, edit in maintenance.edits.items():
        is_shown, detail = (False, "taken away") if edit.value is None else resolve(name, twin_type, sensed)
        if is_shown == edit.is_shown and name not in told:
            continue
        edits[name] = msgspec.structs.replace(edit, is_shown=is_shown)
        outputs.append(put_edit(twin_id, name, edits[name], detail))
    return (msgspec.structs.replace(maintenance, edits=edits) if outputs else maintenance), outputs


def put_edit(twin_id: str, name: str, edit: ManualValue, detail: str) -> PutDocument:
    """Return the output that shows to apps what a person set."""
    body = Edit(
        property=name,
        value=edit.value,
        author=edit.author,
        time=moment(edit.time),
        is_shown=edit.is_shown,
        detail=detail,
    )
    status = "removed" if edit.value is None else "shown" if edit.is_shown else "kept"
    return PutDocument(0, documents.Collection.EDITS, document_of(twin_id, name, status, edit.time, body))


def resolve(name: str, twin_type: TwinType[Any], sensed: Mapping[str, PropertyValue | None]) -> tuple[bool, str]:
    """Return whether a person's value of a property is shown, and why."""
    if name in twin_type.manual_first:
        return True, "a person's value counts first for this property"
    if sensed.get(name) is not None:
        return False, "the device's value counts more than a person's: it is shown, this one is kept"
    return True, "no other source has a value"


def _acknowledge(
    maintenance: Maintenance, twin_id: str, request: Acknowledgement, hub_time: float
) -> tuple[Maintenance, list[Output]]:
    for name, watch in maintenance.watches.items():
        if watch.alert is None or watch.alert.alert_id != request.alert_id:
            continue
        if watch.alert.acknowledged_by:
            detail = f"{watch.alert.acknowledged_by} had acknowledged it before"
            operation = operation_of(request, OperationStatus.PERSISTED, detail)
            return maintenance, [put_operation(twin_id, operation, hub_time)]
        alert = msgspec.structs.replace(
            watch.alert, acknowledged_by=request.caller, acknowledged=moment(request.requested)
        )
        watches = {**maintenance.watches, name: msgspec.structs.replace(watch, alert=alert)}
        operation = operation_of(request, OperationStatus.PERSISTED)
        outputs: list[Output] = [put_alert(twin_id, alert, hub_time), put_operation(twin_id, operation, hub_time)]
        return msgspec.structs.replace(maintenance, watches=watches), outputs
    return maintenance, [refused(twin_id, request, f"no alert {request.alert_id} is active", hub_time)]
