"""What every twin type promises, one function a promise; `test_twin_contract.py` applies them to all.

A golden snapshot keeps the promise that states written by an earlier version can be read. The first is
written by ``python -m tests.twin_actors.twin_contract NAME``, which replaces none that exists.
"""

import itertools
import json
import math
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from twin_actors.commit import Twin
from twin_actors.dtdl import Interface, parse, to_dtmi, validate_value
from twin_actors.layout import decode_state, rolled_back, upgraded
from twin_actors.messages import Envelope, Event, Quality, Reading, Row, TimerDue, Told
from twin_actors.projection import shown_properties
from twin_actors.registry import Registry, load_registry
from twin_actors.turn import gather, new_twin, run
from twin_actors.twin import Channel, Message, TwinType
from twin_actors.work import Folded, Work

GOLDEN = Path(__file__).parent / "golden"
START = 1_700_000_000.0

# --- what twins are given --------------------------------------------------------------------------


_names = st.text(min_size=1, max_size=8)
_times = st.floats(START, START + 1e7)
_anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False)),
    lambda one: st.one_of(st.lists(one, max_size=2), st.dictionaries(_names, one, max_size=2)),
    max_leaves=4,
)


def _value(channel: Channel) -> st.SearchStrategy[float]:
    return st.one_of(st.floats(channel.low, channel.high), st.sampled_from([channel.low, channel.high]))


def reading_values(twin_type: TwinType[Any]) -> st.SearchStrategy[dict[str, float]]:
    """Good values of any of the channels, down to none."""
    return st.fixed_dictionaries({}, optional={channel.name: _value(channel) for channel in twin_type.channels})


def messages(twin_type: TwinType[Any]) -> st.SearchStrategy[list[Any]]:
    """What the type hears: readings, messages of other twins with any names and bodies, timers."""
    kinds: dict[type, st.SearchStrategy[list[Any]]] = {
        Reading: readings(twin_type),
        Told: st.lists(st.builds(Told, st.just("twin-2"), _names, _anything, _times), max_size=8),
        TimerDue: st.lists(st.builds(TimerDue, _names, _times), max_size=4),
    }
    heard = st.tuples(*(kinds[kind] for kind in kinds if kind in twin_type.hears))
    return heard.map(lambda lists: [one for group in itertools.zip_longest(*lists) for one in group if one is not None])


def readings(twin_type: TwinType[Any]) -> st.SearchStrategy[list[Message]]:
    """Readings of any channels in any quality, some of them late; time runs unevenly."""
    suspects = st.sets(st.sampled_from([channel.name for channel in twin_type.channels]))
    gaps = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1e7))
    one = st.tuples(gaps, reading_values(twin_type), suspects, st.booleans())

    def arrange(rows: list[tuple[float, dict[str, float], set[str], bool]]) -> list[Message]:
        time = START
        arranged: list[Message] = []
        for gap, values, suspect, is_late in rows:
            if is_late:
                arranged.append(Reading(time - gap - 1.0, values, {}, is_late=True))
            else:
                time += gap
                quality = {name: Quality.SUSPECT for name in sorted(suspect) if name in values}
                arranged.append(Reading(time, values, quality))
        return arranged

    return st.lists(one, max_size=12).map(arrange)


def anything_sent(twin_type: TwinType[Any]) -> st.SearchStrategy[list[Row]]:
    """Rows as broken devices send them: values of any kind, or plausible ones, or nothing."""
    junk = st.one_of(
        st.none(), st.booleans(), st.text(max_size=5), st.integers(), st.floats(), st.lists(st.integers(), max_size=2)
    )
    row = st.fixed_dictionaries({}, optional={one.name: st.one_of(_value(one), junk) for one in twin_type.channels})
    gap = st.floats(-100.0, 1e5)
    return st.lists(st.tuples(gap, row), min_size=1, max_size=10).map(
        lambda rows: [Row(START + gap, channels) for gap, channels in rows]
    )


# --- how they are driven ----------------------------------------------------------------------------


def turn(twin_type: TwinType[Any], state: Any, message: Message) -> Any:
    """Apply one message, kernels included, and return the next state."""

    def alone() -> Generator[Any, Any, Any]:
        result = twin_type.receive(state, message)
        return (yield from result) if isinstance(result, Generator) else result

    return gather([alone()])[0].state


def follow(twin_type: TwinType[Any], heard: Sequence[Message]) -> Any:
    """Return the state of a new twin after `heard`."""
    state = twin_type.state()
    for message in heard:
        state = turn(twin_type, state, message)
    return state


def fold(twin_type: TwinType[Any], envelopes: Sequence[Envelope]) -> Folded:
    """Run envelopes through the turns of the runtime."""
    return run([Work(0, new_twin("twin-1", twin_type), twin_type, envelopes)])[0]


def envelope(rows: Sequence[Row], number: int = 1, message_id: str | None = None) -> Envelope:
    """A device message of some rows."""
    now = START + 100_000.0
    event = Event(sequence_number=number, enqueued_time=now, body=b"", device_id="twin-1", message_id=message_id)
    return Envelope(twin_id="twin-1", rows=tuple(rows), event=event, sequence_number=number)


def interface_of(registry: Registry, twin_type: TwinType[Any]) -> Interface:
    """The model of a type, with all it inherits."""
    interface = parse(registry.models())[to_dtmi(twin_type.model)]
    assert isinstance(interface, Interface)
    return interface


encode = msgspec.msgpack.encode

# --- the promises -----------------------------------------------------------------------------------


def state_survives_encoding(twin_type: TwinType[Any], heard: Sequence[Message]) -> None:
    """What is stored is what was known, to the byte."""
    state = follow(twin_type, heard)
    stored = encode(state)
    restored = msgspec.msgpack.decode(stored, type=twin_type.state)
    assert restored == state
    assert encode(restored) == stored


def a_restored_twin_goes_on_as_before(twin_type: TwinType[Any], heard: Sequence[Message], cut: int) -> None:
    """A restart between two messages changes nothing."""
    state = follow(twin_type, heard[:cut])
    restored = msgspec.msgpack.decode(encode(state), type=twin_type.state)
    for message in heard[cut:]:
        restored = turn(twin_type, restored, message)
    assert encode(restored) == encode(follow(twin_type, heard))


def the_same_turn_gives_the_same_bytes(twin_type: TwinType[Any], heard: Sequence[Message]) -> None:
    """No clock, no randomness, no order of sets."""
    assert encode(follow(twin_type, heard)) == encode(follow(twin_type, heard))


def the_state_handed_in_is_unchanged(twin_type: TwinType[Any], heard: Sequence[Message]) -> None:
    """A turn that fails later leaves nothing behind."""
    state = twin_type.state()
    for message in heard:
        before = encode(state)
        following = turn(twin_type, state, message)
        assert encode(state) == before
        state = following


def a_late_reading_moves_nothing_current(
    twin_type: TwinType[Any], heard: Sequence[Message], late: dict[str, float]
) -> None:
    """What arrives behind the newest reading is history."""
    state = follow(twin_type, heard)
    after = turn(twin_type, state, Reading(START - 5.0, late, {}, is_late=True))
    assert dict(twin_type.properties(after)) == dict(twin_type.properties(state))


def repeated_delivery_changes_nothing(twin_type: TwinType[Any], rows: Sequence[Row]) -> None:
    """A message sent again under its id counts as resent and nowhere else."""
    once = fold(twin_type, [envelope(rows, 1, "m")])
    twice = fold(twin_type, [envelope(rows, 1, "m"), envelope(rows, 2, "m")])
    assert once.accepted
    assert (twice.twin.state, twice.twin.reading_count) == (once.twin.state, once.twin.reading_count)
    assert (once.resent, twice.resent) == (0, 1)


def every_property_fits_the_model(twin: Twin, twin_type: TwinType[Any], interface: Interface) -> None:
    """What the graph is shown, it accepts: declared, of the schema, finite."""
    for name, value in shown_properties(twin, twin_type).items():
        declared = interface.properties.get(name)
        assert declared is not None, f"{twin_type.name} shows {name}, which {twin_type.model} does not declare"
        if value is None:
            continue  # takes a shown value away
        mismatch = validate_value(declared.schema, value)
        assert mismatch is None, f"{name} = {value!r} does not fit: {mismatch}"
        assert not isinstance(value, float) or math.isfinite(value)


def whatever_a_device_sends_is_folded(twin_type: TwinType[Any], interface: Interface, rows: Sequence[Row]) -> None:
    """Broken values are judged, not fatal: no turn fails, and what is shown is valid."""
    folded = fold(twin_type, [envelope([row], number) for number, row in enumerate(rows, 1)])
    assert not folded.refused
    assert folded.twin.reading_count == len(rows)
    every_property_fits_the_model(folded.twin, twin_type, interface)


def unknown_fields_are_rejected(twin_type: TwinType[Any]) -> None:
    """A state of a newer version is not silently cut down."""
    stored = msgspec.msgpack.decode(encode(twin_type.state()))
    wider = [*stored, 0] if isinstance(stored, list) else {**stored, "fieldOfTheFuture": 0}
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(encode(wider), type=twin_type.state)


def golden(twin_type: TwinType[Any], layout: int) -> Twin:
    """Return the twin of a golden snapshot."""
    state = (GOLDEN / twin_type.name / f"v{layout}" / "state.msgpack").read_bytes()
    return msgspec.structs.replace(new_twin("twin-1", twin_type), layout=layout, state=state)


def every_golden_snapshot_loads(twin_type: TwinType[Any]) -> None:
    """States that earlier versions wrote are read, and show what is said beside them: what they showed, unless an
    upgrade is meant to show it differently.
    """
    versions = {folder.name for folder in (GOLDEN / twin_type.name).glob("v*")}
    assert versions == {f"v{one}" for one in range(1, twin_type.state_version + 1)}
    for layout in range(1, twin_type.state_version + 1):
        state = decode_state(golden(twin_type, layout), twin_type)
        shown = {name: value for name, value in twin_type.properties(state).items() if value is not None}
        assert shown == json.loads((GOLDEN / twin_type.name / f"v{layout}" / "properties.json").read_bytes())


def every_way_back_leads_back(twin_type: TwinType[Any]) -> None:
    """What was brought up to date and rolled back is what an earlier version of the app wrote."""
    for layout in range(1, twin_type.state_version):
        if all(row.down is not None for row in twin_type.upgrades[layout - 1 :]):
            before = golden(twin_type, layout)
            after = rolled_back(upgraded(before, twin_type), twin_type, layout)
            assert after.layout == layout
            assert msgspec.msgpack.decode(after.state) == msgspec.msgpack.decode(before.state)


def sample(twin_type: TwinType[Any]) -> list[Message]:
    """A quiet hour: every channel moves gently about the lower third of its range."""
    return [
        Reading(
            START + 30.0 * step,
            {
                channel.name: channel.low + (channel.high - channel.low) * (0.3 + 0.01 * math.sin(step + place))
                for place, channel in enumerate(twin_type.channels)
            },
            {},
        )
        for step in range(120)
    ]


def write_golden(twin_type: TwinType[Any]) -> Path:
    """Write the snapshot of the present version, unless there is one."""
    folder = GOLDEN / twin_type.name / f"v{twin_type.state_version}"
    folder.mkdir(parents=True)
    state = follow(twin_type, sample(twin_type))
    (folder / "state.msgpack").write_bytes(encode(state))
    shown = json.dumps(
        {name: value for name, value in twin_type.properties(state).items() if value is not None}, indent=2
    )
    (folder / "properties.json").write_text(shown + "\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    sys.stdout.write(f"{write_golden(load_registry().by_name[sys.argv[1]])}\n")
