"""What becomes of an app's request when its twin folds it."""

from typing import Any

import msgspec

from twin_actors.documents import OperationStatus, moment
from twin_actors.editing import Sensed, edit
from twin_actors.maintenance import (
    Maintenance,
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

MAX_WAITING = 16
"""Commands of one twin that may wait for its device."""


def take(
    maintenance: Maintenance,
    twin_type: TwinType[Any],
    twin_id: str,
    state_version: int,
    sensed: Sensed,
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
        maintenance, outputs = edit(maintenance, twin_type, twin_id, sensed, request, hub_time)
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
