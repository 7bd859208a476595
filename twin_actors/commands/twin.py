"""``twin``: the twins as the graph shows them, and what can be asked of them."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime

import msgspec

from twin_actors.commands import roll_back
from twin_actors.commands.errors import NotFound
from twin_actors.commands.graph import TwinView
from twin_actors.commands.output import Result, Row, add_output, cell
from twin_actors.commands.ports import Ports
from twin_actors.commands.submission import add_submission, ask
from twin_actors.commands.verbs import NOT_DONE, Nouns, add_consent, add_noun
from twin_actors.conflict import join, parse_vector, vector_text
from twin_actors.documents import Collection, Edit, Priority, PropertyValue, Source
from twin_actors.dtdl import validate_value
from twin_actors.errors import Rejected
from twin_actors.models import Models, check_command, check_edit
from twin_actors.registry import Registry
from twin_actors.requests import CommandRequest, Deletion, EditRequest
from twin_actors.twin import RUL

LIMIT = 1000
"""Twins that a list has unless more are asked for."""

LOOK_SECONDS = 1.0
"""Between two looks at a twin that is watched."""

EXPIRY_SECONDS = 60.0
"""After which a command is not delivered, unless said."""

CONNECTIONS = ("unknown", "online", "late", "offline")


def add(nouns: Nouns) -> None:
    """Add the noun to the command line."""
    verb = add_noun(nouns, "twin", "the twins, as the graph shows them")
    command = verb("list", "list the twins", list_twins)
    command.add_argument("--type", help="of this twin type only")
    command.add_argument("--connection", choices=CONNECTIONS, help="whose device is so connected")
    command.add_argument("--priority", choices=[one.name.lower() for one in Priority], help="of maintenance")
    command.add_argument("--limit", type=int, default=LIMIT, help=f"at most so many, {LIMIT} unless said")
    add_output(command)
    add_output(_add_id(verb("show", "show a twin with its values, their times and what people set", show)))
    command = _add_id(verb("watch", "print a line for each change of a twin, until Ctrl-C", watch))
    command.add_argument("--seconds", type=float, default=float("inf"), help="end after so many seconds")
    add_output(command)
    command = _add_id(verb("command", "let the device of a twin do something", command_twin))
    command.add_argument("name", help="of the command, as the twin's model has it")
    command.add_argument("--request", help="what the command wants, JSON")
    command.add_argument(
        "--expires-in",
        type=float,
        default=EXPIRY_SECONDS,
        metavar="SECONDS",
        help=f"do not deliver it later, {EXPIRY_SECONDS:g} s unless said",
    )
    add_submission(command)
    command = _add_id(verb("edit", "set properties of a twin by hand, or as a simulation", edit))
    command.add_argument(
        "changes", nargs="+", type=_assignment, metavar="NAME=VALUE", help="a value; nothing takes yours away"
    )
    command.add_argument(
        "--source", type=Source, choices=(Source.MANUAL, Source.SIMULATION), default=Source.MANUAL, help="who says so"
    )
    command.add_argument(
        "--seen",
        type=_vector,
        default={},
        metavar="VECTOR",
        help="the vector that twin show has of the properties: you know their values, and replace them",
    )
    add_submission(command)
    command = _add_id(verb("delete", "forget a twin, and take it out of the graph with its relationships", delete))
    add_consent(command)
    add_submission(command)
    roll_back.add(verb)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _vector(text: str) -> dict[Source, int]:
    try:
        return parse_vector(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _add_id(command: ArgumentParser) -> ArgumentParser:
    command.add_argument("id", help="the twin's id")
    return command


async def list_twins(ports: Ports, arguments: Namespace) -> Result:
    """Return the twins, with what matters first of each."""
    conditions = []
    if arguments.type:
        twin_type = ports.registry.by_name.get(arguments.type)
        if twin_type is None:
            known = ", ".join(ports.registry.by_name)
            raise NotFound(f"there is no twin type {arguments.type}; there are: {known}")
        conditions.append(f"IS_OF_MODEL(T, '{twin_type.model}')")
    if arguments.connection:
        conditions.append(f"T.connection = '{arguments.connection}'")
    if arguments.priority:
        conditions.append(f"T.maintenancePriority = {Priority[arguments.priority.upper()].value}")
    twins, has_more = await ports.graph().find(conditions, arguments.limit)
    if has_more:
        ports.note(f"there are more; --limit {2 * arguments.limit} shows more of them")
    rows = [_summary(twin, ports.registry) for twin in twins]
    table = [{name: row[name] for name in row if not name.startswith(RUL)} for row in rows]
    for line, twin in zip(table, twins, strict=True):
        line["rulDays"] = _remaining(twin)
    return Result(rows, table)


def _summary(twin: TwinView, registry: Registry) -> dict[str, object]:
    twin_type = registry.by_model.get(twin.model)
    priority = twin.value("maintenancePriority")
    return {
        "twinId": twin.twin_id,
        "type": twin.model if twin_type is None else twin_type.name,
        "connection": twin.value("connection"),
        "quality": twin.value("quality"),
        "health": twin.value("health"),
        "maintenancePriority": Priority(priority).name.lower() if isinstance(priority, int) else None,
        "activeAlerts": twin.value("activeAlerts"),
        "lastReadingTime": twin.value("lastReadingTime"),
        **{name: twin.value(name) for name in (RUL, f"{RUL}Lower", f"{RUL}Upper")},
    }


def _remaining(twin: TwinView) -> str | None:
    """Return the days that are left as people write them: estimate, and bounds in brackets."""
    days = [twin.value(name) for name in (RUL, f"{RUL}Lower", f"{RUL}Upper")]
    told = [_few_digits(one) for one in days if isinstance(one, int | float)]
    return f"{told[0]} ({told[1]} to {told[2]})" if len(told) == len(days) else None


def _few_digits(days: float) -> str:
    return f"{days:.2g}" if days < 100.0 else str(int(float(f"{days:.3g}")))


async def show(ports: Ports, arguments: Namespace) -> Result:
    """Return a twin: each value with its time, and what people set beside it."""
    twin = await ports.graph().read(arguments.id)
    told = await _edits(ports, arguments.id)
    edits = {name: one for name, one in told.items() if one.value is not None}
    interface = Models(ports.registry).interface(twin.model)
    units = {} if interface is None else {name: one.unit for name, one in interface.properties.items()}
    version = twin.value("stateVersion")
    version = version if isinstance(version, int) else 0
    properties: dict[str, Row] = {}
    for name in sorted({*twin.properties, *edits}):
        shown, by_hand = twin.properties.get(name), edits.get(name)
        properties[name] = {
            "value": None if shown is None else shown.value,
            "unit": units.get(name),
            "sourceTime": (shown.source_time or shown.updated or None) if shown is not None else None,
            "edit": None if by_hand is None else msgspec.to_builtins(by_hand),
            "vector": vector_text(join([{Source.SENSOR: version}, *_vectors(told.get(name))])),
        }
    cells = ((name, {**row, "edit": _edit_cell(edits.get(name))}) for name, row in properties.items())
    table = [{"property": name, **{key: one for key, one in row.items() if key != "vector"}} for name, row in cells]
    return Result({"twinId": twin.twin_id, "model": twin.model, "etag": twin.etag, "properties": properties}, table)


async def _edits(ports: Ports, twin_id: str) -> dict[str, Edit]:
    """Return what people and simulations have set, by property."""
    found: dict[str, Edit] = {}
    token = ""
    while True:
        page = await ports.documents().list(Collection.EDITS, twin_id=twin_id, token=token)
        for document in page.documents:
            one = msgspec.json.decode(document.body, type=Edit)
            found[one.property] = one
        token = page.token
        if not token:
            return found


def _vectors(edit: Edit | None) -> list[dict[Source, int]]:
    return [] if edit is None else [edit.vector, *(one.vector for one in edit.beside)]


def _edit_cell(edit: Edit | None) -> str | None:
    if edit is None:
        return None
    told = f"{cell(edit.value)} by {edit.author}, {'shown' if edit.is_shown else 'kept'}: {edit.detail}"
    beside = (f"{one.source} says {cell(one.value)}" for one in edit.beside if one.value is not None)
    return "; ".join((told, *beside))


async def watch(ports: Ports, arguments: Namespace) -> Result:
    """Print a line for each change of a twin: the time, and what changed."""
    graph, end = ports.graph(), ports.clock.elapsed() + arguments.seconds
    before: dict[str, object] | None = None
    while True:
        twin = await graph.read(arguments.id)
        now = {name: shown.value for name, shown in twin.properties.items()}
        if before is None or now != before:
            changes = _changes(before or {}, now)
            moment = datetime.fromtimestamp(ports.clock.now(), UTC)
            ports.say(_change_line(moment, changes, arguments.output))
            before = now
        if ports.clock.elapsed() + LOOK_SECONDS > end:
            return Result(None, [])
        await ports.clock.sleep(LOOK_SECONDS)


def _changes(before: dict[str, object], now: dict[str, object]) -> dict[str, object]:
    changed = {name: value for name, value in now.items() if name not in before or before[name] != value}
    return changed | {name: None for name in before if name not in now}


def _change_line(moment: datetime, changes: dict[str, object], output: str) -> str:
    time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if output == "json":
        return msgspec.json.encode({"time": time, "changes": changes}).decode()
    told = (f"{name}={'-' if value is None else cell(value)}" for name, value in changes.items())
    return f"{time}  {' '.join(told)}"


async def command_twin(ports: Ports, arguments: Namespace) -> Result:
    """Let a device do something, if its twin's type and model know of it."""
    wanted = None
    if arguments.request is not None:
        try:
            wanted = msgspec.json.decode(arguments.request)
        except msgspec.DecodeError as error:
            raise Rejected("bad_request", f"--request {arguments.request} is no JSON: {error}") from None
    twin = await ports.graph().read(arguments.id)
    wanted = check_command(Models(ports.registry), twin.model, arguments.name, wanted)
    now = ports.clock.now()
    request = CommandRequest(
        operation_id=arguments.operation_id,
        caller=ports.caller,
        name=arguments.name,
        request=wanted,
        requested=now,
        expires=now + arguments.expires_in,
    )
    return await ask(ports, arguments.id, request, arguments.wait)


async def edit(ports: Ports, arguments: Namespace) -> Result:
    """Set properties, if the twin's model lets others than the device write them."""
    twin = await ports.graph().read(arguments.id)
    models = Models(ports.registry)
    changes = {name: _value(models, twin.model, name, text) for name, text in arguments.changes}
    request = EditRequest(
        operation_id=arguments.operation_id,
        caller=ports.caller,
        changes=check_edit(models, twin.model, changes),
        requested=ports.clock.now(),
        source=arguments.source,
        seen=arguments.seen,
    )
    return await ask(ports, arguments.id, request, arguments.wait)


async def delete(ports: Ports, arguments: Namespace) -> Result:
    """Forget a twin, whether the graph still has it or not."""
    if not arguments.yes:
        ports.note(
            f"nothing was done: with --yes, twin {arguments.id} is forgotten and leaves the graph with its "
            "relationships; take its device away first, or it makes a new twin"
        )
        return Result(None, [], NOT_DONE)
    request = Deletion(operation_id=arguments.operation_id, caller=ports.caller, requested=ports.clock.now())
    return await ask(ports, arguments.id, request, arguments.wait)


def _value(models: Models, model: str, name: str, text: str) -> PropertyValue | None:
    """Return the JSON value that a text is, or else the text itself, whichever fits; None for no text."""
    if not text:
        return None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    interface = models.interface(model)
    declared = None if interface is None else interface.properties.get(name)
    fits = declared is None or validate_value(declared.schema, value) is None
    return value if fits and isinstance(value, bool | int | float | str) else text
