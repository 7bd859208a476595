"""What is left to do for the world when a twin is deleted: its alerts end, what waits for its device is called off, the
graph lets go of it.
"""

from collections.abc import Collection, Mapping

import msgspec

from twin_actors.asking import refused
from twin_actors.commit import Deleted, Twin
from twin_actors.documents import OperationStatus, moment
from twin_actors.editing import put_removed
from twin_actors.errors import Rejected
from twin_actors.maintenance import put_alert, put_operation
from twin_actors.outputs import Output, PutDocument, RemoveTwin, SendCommand
from twin_actors.requests import AddressedRequest, Deletion, operation_of
from twin_actors.shard import Shard
from twin_actors.sinks import ANY_VERSION

NO_SUCH_TWIN = "no_such_twin"


def deleted(twin: Twin, asked: AddressedRequest) -> Deleted:
    """Return what a record says of a deletion."""
    return Deleted(twin.twin_id, asked.request.operation_id, twin.state_version, twin.maintenance.number)


def never_was(asked: Mapping[str, AddressedRequest], newcomers: Mapping[str, Twin | Rejected]) -> list[Deleted]:
    """Return what a record says of deletions of nobody: a repeat is done as well, whoever comes between."""
    strangers = ((one, newcomers.get(twin_id)) for twin_id, one in asked.items())
    return [
        Deleted(one.twin_id, one.request.operation_id, 0)
        for one, stranger in strangers
        if isinstance(stranger, Rejected) and stranger.reason == NO_SUCH_TWIN
    ]


def farewell(twin: Twin, asked: AddressedRequest, model: str) -> list[Output]:
    """Return what follows from the deletion of a twin whose type has this model."""
    twin_id, time, request = twin.twin_id, asked.event.enqueued_time, asked.request
    outputs: list[Output] = [
        put_alert(twin_id, msgspec.structs.replace(alert, cleared=moment(time)), time)
        for alert in twin.maintenance.alerts
    ]
    outputs += [
        put_removed(twin_id, name, contested, "the twin was deleted")
        for name, contested in twin.maintenance.contested.items()
    ]
    # What the graph shows of a twin that it was not asked about yet is not known to be older, nor to be this twin.
    outputs.append(
        RemoveTwin(0, twin_id, ANY_VERSION, model) if twin.is_unmet else RemoveTwin(0, twin_id, twin.state_version)
    )
    outputs.append(put_operation(twin_id, operation_of(request, OperationStatus.PERSISTED), time))
    return outputs


def called_off(command: SendCommand, time: float) -> PutDocument:
    """Return what tells apps that a command is not given any more."""
    detail = "its twin was deleted"
    operation = msgspec.structs.replace(command.operation, status=OperationStatus.REFUSED, detail=detail)
    return put_operation(command.command.twin_id, operation, time)


def waiting_commands(shard: Shard, twin_ids: Collection[str]) -> list[SendCommand]:
    """Return the commands of some twins that wait for their devices."""
    if not twin_ids:
        return []
    commands = (entry for entry in shard.outbox.values() if isinstance(entry, SendCommand))
    return [command for command in commands if command.command.twin_id in twin_ids]


def of_nobody(twin_id: str, asked: AddressedRequest, reason: str, detail: str) -> PutDocument:
    """Return what tells apps that the twin they asked is none: deleting such a one is done."""
    time = asked.event.enqueued_time
    if isinstance(asked.request, Deletion) and reason == NO_SUCH_TWIN:
        operation = operation_of(asked.request, OperationStatus.PERSISTED, "there was no such twin")
        return put_operation(twin_id, operation, time)
    return refused(twin_id, asked.request, f"{reason}: {detail}", time)
