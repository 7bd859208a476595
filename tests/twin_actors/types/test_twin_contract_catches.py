"""The contract of twins catches twin types that break it: one faulty type a promise."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import find

from tests.twin_actors import twin_contract as contract
from twin_actors.dtdl import Interface
from twin_actors.messages import Reading, Row, TimerDue, Told
from twin_actors.registry import load_registry
from twin_actors.turn import new_twin
from twin_actors.twin import Channel, Message, Turn, TwinType

HEARD = [Reading(contract.START + step, {"level": float(step)}, {}) for step in range(5)]
ROWS = [Row(contract.START, {"level": 2.0})]
counter = itertools.count(1)


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A state that a faulty turn can do much harm with."""

    level: float = 0.0
    seen: list[float] = []


class OpenState(msgspec.Struct, frozen=True):
    """A state that takes any field."""

    level: float = 0.0


class LossyState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A state with a value that comes back as another: MessagePack has lists, no tuples."""

    seen: Any = ()


def follow(state: State, message: Message) -> Turn[State]:
    """Remember the level: a turn without fault, but for late readings."""
    return Turn(State(message.values.get("level", state.level), state.seen))


def guess(state: State, message: Message) -> Turn[State]:  # noqa: ARG001  a turn takes both
    """Remember how often this process has done so: not what was heard."""
    return Turn(State(float(next(counter))))


def write_in_place(state: State, message: Message) -> Turn[State]:
    """Change the list of the state handed in."""
    state.seen.append(message.time)
    return Turn(State(state.level, state.seen))


def lose(state: LossyState, message: Message) -> Turn[LossyState]:
    """Keep a tuple where the state does not say so."""
    return Turn(LossyState((*state.seen, message.time)))


def forget_after_restart(state: LossyState, message: Message) -> Turn[LossyState]:
    """Begin anew where the past comes back as a list."""
    return lose(LossyState() if isinstance(state.seen, list) else state, message)


def fail(state: State, message: Message) -> Turn[State]:
    """Expect every channel in every reading."""
    return Turn(State(message.values["level"], state.seen))


def make(state: type[Any] = State, receive: Any = follow, shows: Callable[[Any], Any] = lambda _: {}) -> TwinType[Any]:
    """A twin type on the storage tank's model."""
    channels = (Channel("level", 0.0, 10.0),)
    return TwinType(
        name="faulty",
        model="dtmi:twinfold:StorageTank;1",
        state=state,
        receive=receive,
        properties=shows,
        channels=channels,
    )


@pytest.fixture
def interface() -> Interface:
    """The storage tank's model."""
    return contract.interface_of(load_registry(), make())


def test_type_without_fault_passes() -> None:
    """What is caught below is the fault, not the type."""
    contract.state_survives_encoding(make(), HEARD)
    contract.a_restored_twin_goes_on_as_before(make(), HEARD, 2)
    contract.the_same_turn_gives_the_same_bytes(make(), HEARD)
    contract.the_state_handed_in_is_unchanged(make(), HEARD)
    contract.repeated_delivery_changes_nothing(make(), ROWS)
    contract.unknown_fields_are_rejected(make())


@pytest.mark.parametrize(
    ("promise", "arguments"),
    [
        (contract.state_survives_encoding, (make(LossyState, lose), HEARD)),
        (contract.a_restored_twin_goes_on_as_before, (make(LossyState, forget_after_restart), HEARD, 2)),
        (contract.the_same_turn_gives_the_same_bytes, (make(receive=guess), HEARD)),
        (contract.the_state_handed_in_is_unchanged, (make(receive=write_in_place), HEARD)),
        (contract.a_late_reading_moves_nothing_current, (make(shows=lambda s: {"a": s.level}), HEARD, {"level": 9})),
    ],
)  # fmt: skip
def test_faulty_turn_is_caught(promise: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Lost, guessed, shared or moved state breaks the promise it breaks."""
    with pytest.raises(AssertionError):
        promise(*arguments)


@pytest.mark.parametrize(
    "shown", [{"depth": 1.0}, {"volume": "much"}, {"volume": math.nan}, {"quality": 1, "health": 2j}]
)
def test_property_that_does_not_fit_is_caught(shown: dict[str, Any], interface: Interface) -> None:
    """Undeclared, of another schema, or not a number."""
    faulty = make(shows=lambda _: shown)
    with pytest.raises(AssertionError):
        contract.every_property_fits_the_model(new_twin("twin-1", faulty), faulty, interface)


def test_turn_that_fails_is_caught(interface: Interface) -> None:
    """A missing channel is everyday life."""
    with pytest.raises(AssertionError):
        contract.whatever_a_device_sends_is_folded(make(receive=fail), interface, [Row(contract.START, {})])


def test_state_that_takes_any_field_is_caught() -> None:
    """A newer state would be cut down without a word."""
    with pytest.raises(pytest.fail.Exception):
        contract.unknown_fields_are_rejected(make(OpenState))


@pytest.mark.parametrize("hears", [{Reading}, {Told}, {Reading, TimerDue}, {Reading, Told, TimerDue}])
def test_types_are_given_all_that_they_hear(hears: set[type]) -> None:
    """And nothing else."""
    messages = contract.messages(msgspec.structs.replace(make(), hears=frozenset(hears)))
    assert {type(one) for one in find(messages, lambda heard: {type(one) for one in heard} >= hears)} == hears


def test_type_without_golden_snapshot_is_caught() -> None:
    """A new type must write its first."""
    with pytest.raises(AssertionError):
        contract.every_golden_snapshot_loads(make())
