"""``alert``, ``work-order`` and ``operation``: what the twins' owners keep for people to look up."""

from argparse import ArgumentParser, Namespace

import msgspec

from twin_actors.commands.errors import NotFound
from twin_actors.commands.output import Result, Row, add_output, item, listing
from twin_actors.commands.ports import Ports
from twin_actors.commands.submission import add_submission, ask
from twin_actors.commands.verbs import AddVerb, Nouns, Run, add_noun
from twin_actors.documents import Collection, Document, OperationStatus, shown
from twin_actors.requests import Acknowledgement

LIMIT = 100
"""Documents that a list has unless more are asked for."""


class Noun(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of document on the command line.

    Attributes
    ----------
    name, description : str
    collection : Collection
    columns : tuple of str
        Of the table of its list.
    statuses : tuple of str
        To choose from; empty where the receiver of the documents names them.
    """

    name: str
    description: str
    collection: Collection
    columns: tuple[str, ...]
    statuses: tuple[str, ...] = ()


ALERT = Noun(
    name="alert",
    description="what people should know of the twins",
    collection=Collection.ALERTS,
    columns=("twinId", "alertId", "status", "severity", "raised", "cleared", "acknowledgedBy", "text"),
    statuses=("active", "cleared"),
)
WORK_ORDER = Noun(
    name="work-order",
    description="maintenance that twins asked for",
    collection=Collection.WORK_ORDERS,
    columns=("twinId", "orderId", "revision", "status", "priority", "created", "due", "title"),
)
OPERATION = Noun(
    name="operation",
    description="commands, edits and acknowledgements, and how far they have come",
    collection=Collection.OPERATIONS,
    columns=("twinId", "operationId", "kind", "name", "request", "caller", "status", "requested", "detail"),
    statuses=tuple(OperationStatus),
)


def add(nouns: Nouns) -> None:
    """Add the nouns to the command line."""
    alert = _add_noun(nouns, ALERT)
    _add_noun(nouns, WORK_ORDER)
    _add_noun(nouns, OPERATION)
    command = alert("acknowledge", "say that you have seen an alert", acknowledge)
    _add_one(command)
    add_submission(command)


def _add_noun(nouns: Nouns, noun: Noun) -> AddVerb:
    verb = add_noun(nouns, noun.name, noun.description)
    command = verb("list", f"list each {noun.name}", _lister(noun))
    command.add_argument("--twin", default="", help="of this twin only")
    command.add_argument("--status", default="", choices=noun.statuses or None, help="with this status only")
    command.add_argument("--limit", type=int, default=LIMIT, help=f"at most so many, {LIMIT} unless said")
    add_output(command)
    command = verb("show", "show one with all it says", _shower(noun))
    _add_one(command)
    add_output(command)
    return verb


def _add_one(command: ArgumentParser) -> None:
    command.add_argument("id", help="its id, as listed")
    command.add_argument("--twin", required=True, help="the twin it is of")


def _lister(noun: Noun) -> Run:
    async def run(ports: Ports, arguments: Namespace) -> Result:
        documents, rows, token = ports.documents(), list[Row](), ""
        while len(rows) < arguments.limit:
            page = await documents.list(
                noun.collection,
                twin_id=arguments.twin,
                status=arguments.status,
                limit=min(LIMIT, arguments.limit - len(rows)),
                token=token,
            )
            rows += [shown(document, ports.clock.now()) for document in page.documents]
            token = page.token
            if not token:
                break
        if token:
            ports.note(f"there are more; --limit {2 * arguments.limit} shows more of them")
        return listing(rows, noun.columns)

    return run


def _shower(noun: Noun) -> Run:
    async def run(ports: Ports, arguments: Namespace) -> Result:
        return item(shown(await _get(ports, noun, arguments), ports.clock.now()))

    return run


async def acknowledge(ports: Ports, arguments: Namespace) -> Result:
    """Say that somebody has seen an alert."""
    await _get(ports, ALERT, arguments)
    request = Acknowledgement(
        operation_id=arguments.operation_id,
        caller=ports.caller,
        alert_id=arguments.id,
        requested=ports.clock.now(),
    )
    return await ask(ports, arguments.twin, request, arguments.wait)


async def _get(ports: Ports, noun: Noun, arguments: Namespace) -> Document:
    document_id = arguments.id
    if noun is WORK_ORDER:  # among the documents of its twin an order goes by the rest of its id
        document_id = document_id.removeprefix(f"{arguments.twin}-")
    document = await ports.documents().get(noun.collection, arguments.twin, document_id)
    if document is None:
        name = noun.name
        raise NotFound(f"twin {arguments.twin} has no {name} {arguments.id}; `{name} list` lists them")
    return document
