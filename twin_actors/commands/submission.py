"""Asking something of a twin, and waiting for what becomes of it."""

import uuid
from argparse import ArgumentParser

from twin_actors.commands.output import Result, add_output, item
from twin_actors.commands.ports import Ports
from twin_actors.documents import Collection, Document, OperationStatus, shown
from twin_actors.errors import Rejected
from twin_actors.identity import is_operation_id
from twin_actors.journals import partition_count
from twin_actors.requests import CommandRequest, Request, submit

LOOK_SECONDS = 0.5
"""Between two looks at an operation that is waited for."""

ENDS = {OperationStatus.ANSWERED, OperationStatus.REFUSED, OperationStatus.EXPIRED}


def add_submission(command: ArgumentParser) -> None:
    """Take what every request has."""
    command.add_argument(
        "--operation-id", default=uuid.uuid4().hex, help="repeats with the same id are one operation; new unless said"
    )
    command.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long for its end")
    add_output(command)


async def ask(ports: Ports, twin_id: str, request: Request, wait: float) -> Result:
    """Hand a request to its twin, and return the operation as it stands; at its end, if that comes within the wait."""
    if not is_operation_id(request.operation_id):
        allowed = (
            "begins with a letter or digit, and has up to 64 letters, digits, dots, hyphens, underscores and colons"
        )
        raise Rejected("bad_request", f"{request.operation_id!r} names no operation: an id {allowed}")
    count = await partition_count(ports.journal())
    documents = ports.documents()
    operation = await submit(twin_id, request, documents, ports.sender(), count)
    deadline = ports.clock.elapsed() + wait
    while not _has_ended(request, operation) and ports.clock.elapsed() < deadline:
        await ports.clock.sleep(LOOK_SECONDS)
        known = await documents.get(Collection.OPERATIONS, twin_id, request.operation_id)
        operation = known if known is not None else operation
    return item(shown(operation, ports.clock.now()), _exit_code(request, operation, wait))


def _has_ended(request: Request, operation: Document) -> bool:
    """Whether nothing more becomes of it; only commands go beyond the twin's journal."""
    is_kept = operation.status == OperationStatus.PERSISTED and not isinstance(request, CommandRequest)
    return operation.status in ENDS or is_kept


def _exit_code(request: Request, operation: Document, wait: float) -> int:
    if operation.status in {OperationStatus.REFUSED, OperationStatus.EXPIRED}:
        return 1
    return 3 if wait and not _has_ended(request, operation) else 0
