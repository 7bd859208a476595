"""Whether the rows of a twin type fit each other and its model: a fault here is a fault of the code, told at start."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from twin_actors.documents import Severity
from twin_actors.dtdl import Array, Interface, Primitive
from twin_actors.twin import CONNECTION, RUL, Command, Fleet, Frames, Rule, TwinType

MAX_FRAME_CHANNELS = 65_536
"""As many float32 values as a message has room for."""

MAX_FRAME_LIMIT = 1e100
"""Statistics square the values."""

MAX_FRAME_FAULTS = 10
"""That are told: thousands of channels are made by one line."""

_WIDE_SCHEMAS = (Array(Primitive("float")), Array(Primitive("double")))
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")


def row_faults(twin_type: TwinType[Any], interface: Interface) -> list[str]:
    """Return what is wrong with the rows of a type whose model this is, and what to do about it."""
    faults: list[str] = []
    missing = [channel.name for channel in twin_type.channels if channel.name not in interface.telemetries]
    if missing:
        faults.append(f"its model.json has no Telemetry for channels {', '.join(missing)}")
    if twin_type.frames is not None:
        found = _frames_faults(twin_type.frames, interface)
        faults += (f"frames: {fault}" for fault in itertools.islice(found, MAX_FRAME_FAULTS))
    faults += (f"two rules are named {name!r}: rename one" for name in _twice(rule.name for rule in twin_type.rules))
    faults += (f"command {name} has two rows: take one away" for name in _twice(row.name for row in twin_type.commands))
    for rule in twin_type.rules:
        faults += (f"rule {rule.name!r}: {fault}" for fault in _rule_faults(rule, twin_type, interface))
    given = {rule.command for rule in twin_type.rules}
    for row in twin_type.commands:
        faults += (f"command {row.name!r}: {fault}" for fault in _command_faults(row, row.name in given, interface))
    unknown = sorted(twin_type.priority.keys() - interface.properties.keys())
    if unknown:
        faults.append(f"priority names {', '.join(unknown)}: the model has no such property")
    faults += (
        f"the priority of {name} has a source twice: name each once, the one that counts most first"
        for name, sources in twin_type.priority.items()
        if len(set(sources)) < len(sources)
    )
    if twin_type.fleet is not None:
        faults += (f"fleet: {fault}" for fault in _fleet_faults(twin_type, twin_type.fleet))
    return [*faults, *_layout_faults(twin_type)]


def _fleet_faults(twin_type: TwinType[Any], fleet: Fleet) -> Iterator[str]:
    if twin_type.receive != fleet.receive:
        yield "what folds one message must be what folds many: set receive to that of the fleet"
    if fleet.channels != tuple(channel.name for channel in twin_type.channels):
        yield "its channels must be those of the type, in their order"
    if twin_type.state.__struct_fields__ != ("numbers",):
        yield "the state must have one field, numbers: bytes"
        return
    width = len(twin_type.state().numbers) // 8
    wrong = [name for name, column in fleet.columns.items() if not 0 <= column < width]
    if wrong:
        yield f"columns names {', '.join(wrong)}: a state has {width} numbers"
    limited = {rule.signal for rule in twin_type.rules if rule.absent_for is None} - {RUL}
    missing = sorted(limited - fleet.columns.keys())
    if missing:
        yield f"rules limit {', '.join(missing)}: say in columns where that stands, or no limit is seen"


def _layout_faults(twin_type: TwinType[Any]) -> Iterator[str]:
    rows, version = [row.from_version for row in twin_type.upgrades], twin_type.state_version
    if version < 1 or rows != list(range(1, version)):
        there = ", ".join(map(str, rows)) or "none"
        wanted = f"one row for each of 1 to {version - 1}, in order" if version > 1 else "none; layouts count from 1"
        yield f"its state has layout {version} and upgrades from: {there}; there must be {wanted}"
    if twin_type.upgrades and twin_type.state.__struct_config__.array_like:
        yield "upgrades go by the names of fields, and its state has none: take array_like away"


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _frames_faults(frames: Frames, interface: Interface) -> Iterator[str]:
    declared = interface.telemetries.get(frames.telemetry)
    if declared is None or declared.schema not in _WIDE_SCHEMAS:
        yield f"the model has no Telemetry {frames.telemetry} that is an Array of float or double"
    if not 1 <= len(frames.channels) <= MAX_FRAME_CHANNELS:
        yield f"{len(frames.channels)} channels are declared; 1 to {MAX_FRAME_CHANNELS} fit a message"
    twice = _twice(channel.name for channel in frames.channels)
    if twice:
        yield f"two channels are named {twice[0]!r}: rename one"
    if not 0.0 < frames.time_constant_seconds < math.inf:
        yield "time_constant_seconds must be positive and finite"
    for channel in frames.channels:
        if not -MAX_FRAME_LIMIT <= channel.low <= channel.high <= MAX_FRAME_LIMIT:
            yield f"channel {channel.name}: set low and high to finite limits, the lower first"
        if not channel.max_rate > 0.0:
            yield f"channel {channel.name}: max_rate must be positive"
        if channel.stuck_after != math.inf or not channel.required:
            yield f"channel {channel.name}: frames know no stuck_after, and every channel is required: leave both out"


def _rule_faults(rule: Rule, twin_type: TwinType[Any], interface: Interface) -> Iterator[str]:
    if not _NAME.fullmatch(rule.name):
        yield "name it with at most 64 letters, digits and hyphens: ids of alerts and operations are made of it"
    conditions = [one for one in (rule.above, rule.below, rule.absent_for) if one is not None]
    if len(conditions) != 1:
        yield "set above, below or absent_for, one of the three"
    elif rule.absent_for is not None:
        yield from _silence_faults(rule, twin_type, interface)
    else:
        yield from _limit_faults(rule, interface)
    if rule.command and rule.command not in {row.name for row in twin_type.commands}:
        yield f"it gives command {rule.command}, which has no row: write one, it is what guards the command"
    yield from _escalation_faults(rule)


def _limit_faults(rule: Rule, interface: Interface) -> Iterator[str]:
    if rule.signal not in interface.properties:
        yield f"it watches {rule.signal}: the model has no such property"
    if rule.only_while:
        yield "only_while is for rules on silence: leave it out, or set absent_for instead of a limit"
    if rule.above is not None and not rule.clears_at <= rule.above:
        yield f"it clears at {rule.clears_at:g}, which is not good: set clears_at to at most {rule.above:g}"
    elif rule.below is not None and not rule.clears_at >= rule.below:
        yield f"it clears at {rule.clears_at:g}, which is not good: set clears_at to at least {rule.below:g}"


def _silence_faults(rule: Rule, twin_type: TwinType[Any], interface: Interface) -> Iterator[str]:
    assert rule.absent_for is not None
    if rule.signal != CONNECTION and rule.signal not in {channel.name for channel in twin_type.channels}:
        yield f"it misses {rule.signal}: name one of the type's channels, or {CONNECTION} for the device as a whole"
    if not 0.0 < rule.absent_for < math.inf:
        yield f"absent_for is {rule.absent_for:g}: set it to the seconds of silence that are too many"
    if not math.isnan(rule.clears_at) or rule.for_seconds:
        yield "a silence ends with the next reading, and absent_for is its time: leave out clears_at and for_seconds"
    if rule.command:
        yield "it gives a command to a device that is silent: leave it out, it would obey when nobody wants it any more"
    condition = interface.properties.get(rule.only_while)
    if rule.only_while and not (condition is not None and condition.schema == Primitive("boolean")):
        yield f"only_while names {rule.only_while}: the model has no Property of that name that is true or false"


def _escalation_faults(rule: Rule) -> Iterator[str]:
    order = list(Severity)
    steps = [(0.0, order.index(rule.severity), rule.priority)]
    steps += [(step.after_seconds, order.index(step.severity), step.priority) for step in rule.escalations]
    for number, ((before, *milder), (after, *worse)) in enumerate(itertools.pairwise(steps), 1):
        if not before < after < math.inf:
            yield f"escalation {number} comes after {after:g} s: each comes later than the one before it"
        if worse == milder or worse != [max(pair) for pair in zip(milder, worse, strict=True)]:
            yield f"escalation {number} must be more severe or more urgent than what it follows, and neither less"
    if rule.escalates_until_cleared and not rule.escalations:
        yield "escalates_until_cleared without escalations says nothing: leave it out"


def _command_faults(row: Command[Any], is_given: bool, interface: Interface) -> Iterator[str]:
    declared = interface.commands.get(row.name)
    if declared is None:
        yield "the model has no such Command"
    elif declared.request is None and row.desired:
        yield "it takes no request, so no desired property can stand for it: leave desired out"
    elif declared.request is not None and is_given and row.argument is None and not declared.request.nullable:
        yield "a rule gives it and it wants a request: set argument to what is asked for"
    if not row.low <= row.high:
        yield f"nothing is between low {row.low:g} and high {row.high:g}"
    if row.desired:
        yield from _writable_fault("desired", row.desired, interface)
    if is_given or row.override in interface.properties:
        yield from _writable_fault("override", row.override, interface)


def _writable_fault(field: str, name: str, interface: Interface) -> Iterator[str]:
    declared = interface.properties.get(name)
    if declared is None or not declared.writable:
        yield f"{field} names {name}: the model has no writable property of that name"
