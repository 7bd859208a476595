"""Rows of a twin type that fit neither each other nor the model are named, all at once."""

import math
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.twin_actors.kettle import COOL, HOT, KETTLE, TYPE
from twin_actors.documents import Priority, PropertyValue, Severity
from twin_actors.dtdl import Interface, parse, to_dtmi
from twin_actors.registry import load_registry
from twin_actors.rows import row_faults
from twin_actors.twin import CONNECTION, Channel, Command, Escalation, Frames, Rule, Source, Upgrade


def _property(name: str, schema: str = "double", *, writable: bool = False) -> dict[str, PropertyValue]:
    return {"@type": "Property", "name": name, "schema": schema, "writable": writable}


MODEL: dict[str, Any] = {
    "@context": "dtmi:dtdl:context;3",
    "@id": KETTLE,
    "@type": "Interface",
    "extends": "dtmi:twinfold:Twin;1",
    "contents": [
        {"@type": "Telemetry", "name": "temperature", "schema": "double"},
        {"@type": "Telemetry", "name": "scale", "schema": "double"},
        {"@type": "Telemetry", "name": "tension", "schema": {"@type": "Array", "elementSchema": "float"}},
        {"@type": "Telemetry", "name": "counts", "schema": {"@type": "Array", "elementSchema": "integer"}},
        _property("temperatureNow"),
        _property("coolTo", writable=True),
        _property("isOn", "boolean"),
        _property("place", "string", writable=True),
        {"@type": "Command", "name": "cool", "request": {"name": "to", "schema": "double"}},
        {"@type": "Command", "name": "ring"},
    ],
}


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A state whose fields have no names."""


RULE = replace(HOT, signal="temperatureNow")
QUIET = Rule(name="quiet", signal="temperature", absent_for=60.0, text="Not a word.")
UNHEEDED = Escalation(after_seconds=60.0, severity=Severity.CRITICAL, priority=Priority.HIGH)
RING: Command[Any] = Command(name="ring")


@pytest.fixture(scope="module")
def interface() -> Interface:
    """A kettle's model."""
    return parse([*load_registry().models()[:1], MODEL])[to_dtmi(KETTLE)]


def _faults(interface: Interface, **changes: Any) -> list[str]:
    return row_faults(replace(TYPE, **({"rules": (RULE,)} | changes)), interface)


def test_good_rows_have_no_fault(interface: Interface) -> None:
    """Limits may touch what they limit; an override that no rule needs may be missing."""
    assert _faults(interface) == []
    assert _faults(interface, rules=(replace(RULE, clears_at=90.0), replace(RULE, name="B-2", clears_at=90.0))) == []
    assert _faults(interface, rules=(replace(RULE, above=None, below=80.0),)) == []
    assert _faults(interface, commands=(replace(COOL, low=5.0, high=5.0), replace(RING, override="nowhere"))) == []
    assert _faults(interface, rules=(replace(RULE, command="ring"),), commands=(RING,)) == []
    assert _faults(interface, rules=(), commands=(replace(COOL, argument=None),)) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "too hot"}, "rule 'too hot': name it with at most 64 letters, digits and hyphens"),
        ({"name": "heiß"}, "rule 'heiß': name it"),
        ({"name": ""}, "rule '': name it"),
        ({"name": "h" * 65}, "name it with at most 64"),
        ({"signal": "temperature"}, "it watches temperature: the model has no such property"),
        ({"above": None}, "set above, below or absent_for, one of the three"),
        ({"below": 10.0}, "set above, below or absent_for, one of the three"),
        ({"clears_at": 90.5}, "it clears at 90.5, which is not good: set clears_at to at most 90"),
        ({"clears_at": float("nan")}, "set clears_at to at most 90"),
        ({"above": None, "below": 90.0, "clears_at": 89.0}, "set clears_at to at least 90"),
        ({"command": "freeze"}, "it gives command freeze, which has no row: write one"),
        ({"only_while": "hot"}, "only_while is for rules on silence"),
        ({"absent_for": 10.0}, "one of the three"),
        (
            {"escalations": (UNHEEDED, replace(UNHEEDED, priority=Priority.CRITICAL))},
            "escalation 2 comes after 60 s: each comes later than the one before",
        ),
        ({"escalations": (replace(UNHEEDED, after_seconds=float("nan")),)}, "escalation 1 comes after nan s"),
        ({"escalations": (replace(UNHEEDED, after_seconds=0.0),)}, "escalation 1 comes after 0 s"),
        ({"escalations": (replace(UNHEEDED, severity=Severity.INFO),)}, "escalation 1 must be more severe or more"),
        ({"escalations": (replace(UNHEEDED, priority=HOT.priority, severity=HOT.severity),)}, "must be more severe"),
        ({"escalates_until_cleared": True}, "escalates_until_cleared without escalations says nothing"),
    ],
)
def test_a_rule_that_does_not_fit(interface: Interface, changes: dict[str, Any], fault: str) -> None:
    """It is named with what to do."""
    (found,) = _faults(interface, rules=(replace(RULE, **changes),))
    assert found.startswith(f"rule {changes.get('name', 'hot')!r}: ")
    assert fault in found


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"signal": "temperatureNow"}, "it misses temperatureNow: name one of the type's channels, or connection"),
        ({"absent_for": 0.0}, "absent_for is 0: set it to the seconds of silence that are too many"),
        ({"absent_for": float("nan")}, "absent_for is nan"),
        ({"clears_at": 1.0}, "leave out clears_at and for_seconds"),
        ({"for_seconds": 1.0}, "leave out clears_at and for_seconds"),
        ({"command": "cool"}, "it gives a command to a device that is silent"),
        (
            {"only_while": "place"},
            "only_while names place: the model has no Property of that name that is true or false",
        ),
        ({"only_while": "steam"}, "only_while names steam"),
    ],
)
def test_a_rule_on_silence_that_does_not_fit(interface: Interface, changes: dict[str, Any], fault: str) -> None:
    """It is named with what to do."""
    assert _faults(interface, rules=(QUIET, replace(QUIET, name="q", signal=CONNECTION, only_while="isOn"))) == []
    (found,) = _faults(interface, rules=(replace(QUIET, **changes),))
    assert fault in found


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (Command(name="sing"), "command 'sing': the model has no such Command"),
        (replace(COOL, low=51.0), "command 'cool': nothing is between low 51 and high 50"),
        (replace(COOL, high=float("nan")), "nothing is between"),
        (replace(COOL, desired="temperatureNow"), "desired names temperatureNow: the model has no writable property"),
        (replace(COOL, desired="nowhere"), "desired names nowhere: the model has no writable property"),
        (replace(RING, desired="coolTo"), "command 'ring': it takes no request, so no desired property"),
        (replace(COOL, override="nowhere"), "override names nowhere: the model has no writable property"),
        (replace(COOL, override="temperatureNow"), "override names temperatureNow"),
        (replace(RING, override="temperatureNow"), "override names temperatureNow"),
        (replace(COOL, argument=None), "a rule gives it and it wants a request: set argument"),
    ],
)
def test_a_command_that_does_not_fit(interface: Interface, row: Command[Any], fault: str) -> None:
    """It is named with what to do."""
    (found,) = _faults(interface, commands=(row, *(one for one in (COOL, RING) if one.name != row.name)))
    assert fault in found


THREADS = (Channel("thread-1", 0.0, 1.0), Channel("thread-2", 0.0, 1.0))
FRAMES = Frames(telemetry="tension", channels=THREADS)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"telemetry": "warp"}, "the model has no Telemetry warp that is an Array of float or double"),
        ({"telemetry": "temperature"}, "the model has no Telemetry temperature that is an Array"),
        ({"telemetry": "counts"}, "the model has no Telemetry counts that is an Array of float or double"),
        ({"channels": ()}, "0 channels are declared"),
        ({"channels": (THREADS[0], THREADS[0])}, "two channels are named 'thread-1'"),
        ({"channels": (Channel("thread", -math.inf, 1.0),)}, "channel thread: set low and high to finite limits"),
        ({"channels": (Channel("thread", 2.0, 1.0),)}, "channel thread: set low and high to finite limits"),
        ({"channels": (Channel("thread", 0.0, 1.0, max_rate=0.0),)}, "channel thread: max_rate must be positive"),
        ({"channels": (Channel("thread", 0.0, 1.0, stuck_after=5.0),)}, "frames know no stuck_after"),
        ({"channels": (Channel("thread", 0.0, 1.0, required=False),)}, "every channel is required"),
        ({"time_constant_seconds": 0.0}, "time_constant_seconds must be positive"),
    ],
)
def test_frames_that_do_not_fit(interface: Interface, changes: dict[str, Any], fault: str) -> None:
    """The statistics of such channels would mean nothing."""
    assert _faults(interface, frames=FRAMES) == []
    (found,) = _faults(interface, frames=replace(FRAMES, **changes))
    assert f"frames: {fault}" in found or fault in found


def test_a_thousand_faulty_channels_are_told_by_ten(interface: Interface) -> None:
    """One line of code made them."""
    channels = tuple(Channel(f"thread-{number}", 2.0, 1.0) for number in range(1000))
    assert len(_faults(interface, frames=replace(FRAMES, channels=channels))) == 10


def test_all_faults_are_told(interface: Interface) -> None:
    """Of every row, and of the type."""
    assert _faults(
        interface,
        rules=(RULE, RULE, replace(RULE, name="two", above=None, command="freeze")),
        commands=(COOL, COOL, RING),
        priority={"colour": (), "price": (), "place": (Source.MANUAL, Source.SENSOR, Source.MANUAL)},
        channels=(Channel("temperature", 0.0, 1.0), Channel("steam", 0.0, 1.0)),
    ) == [
        "its model.json has no Telemetry for channels steam",
        "two rules are named 'hot': rename one",
        "command cool has two rows: take one away",
        "rule 'two': set above, below or absent_for, one of the three",
        "rule 'two': it gives command freeze, which has no row: write one, it is what guards the command",
        "priority names colour, price: the model has no such property",
        "the priority of place has a source twice: name each once, the one that counts most first",
    ]


UP = Upgrade(from_version=1, up=dict)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"state_version": 2}, "its state has layout 2 and upgrades from: none; there must be one row for each of 1"),
        ({"upgrades": (UP,)}, "its state has layout 1 and upgrades from: 1; there must be none"),
        ({"state_version": 0}, "there must be none; layouts count from 1"),
        ({"state_version": 3, "upgrades": (UP,)}, "upgrades from: 1; there must be one row for each of 1 to 2"),
        ({"state_version": 3, "upgrades": (replace(UP, from_version=2), UP)}, "upgrades from: 2, 1"),
        ({"state_version": 2, "upgrades": (UP,), "state": Listed}, "take array_like away"),
    ],
)
def test_layouts_that_do_not_follow_each_other(interface: Interface, changes: dict[str, Any], fault: str) -> None:
    """There is a row from each to the next."""
    found = _faults(interface, **changes)
    assert any(fault in one for one in found), found


def test_layouts_that_follow_each_other(interface: Interface) -> None:
    """Nothing is wrong with them."""
    assert _faults(interface, state_version=3, upgrades=(UP, replace(UP, from_version=2))) == []
