"""Every registered twin type keeps the contract of twins."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.twin_actors import twin_contract as contract
from twin_actors.registry import load_registry
from twin_actors.twin import TwinType

REGISTRY = load_registry()

pytestmark = pytest.mark.parametrize("twin_type", REGISTRY.by_name.values(), ids=REGISTRY.by_name.keys())

# Examples are whole histories, so fewer are enough; the deadline is off because machines are shared.
histories = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@histories
@given(data=st.data())
def test_state_survives_encoding(twin_type: TwinType[Any], data: st.DataObject) -> None:
    """What is stored is what was known."""
    contract.state_survives_encoding(twin_type, data.draw(contract.messages(twin_type)))


@histories
@given(data=st.data())
def test_restored_twin_goes_on_as_before(twin_type: TwinType[Any], data: st.DataObject) -> None:
    """A restart changes nothing."""
    heard = data.draw(contract.messages(twin_type))
    contract.a_restored_twin_goes_on_as_before(twin_type, heard, data.draw(st.integers(0, len(heard))))


@histories
@given(data=st.data())
def test_same_turn_gives_same_bytes(twin_type: TwinType[Any], data: st.DataObject) -> None:
    """Turns are deterministic."""
    contract.the_same_turn_gives_the_same_bytes(twin_type, data.draw(contract.messages(twin_type)))


@histories
@given(data=st.data())
def test_state_handed_in_is_unchanged(twin_type: TwinType[Any], data: st.DataObject) -> None:
    """Turns change nothing in place."""
    contract.the_state_handed_in_is_unchanged(twin_type, data.draw(contract.messages(twin_type)))


@histories
@given(data=st.data())
def test_late_reading_moves_nothing_current(twin_type: TwinType[Any], data: st.DataObject) -> None:
    """Late readings are history."""
    heard = data.draw(contract.messages(twin_type))
    contract.a_late_reading_moves_nothing_current(twin_type, heard, data.draw(contract.reading_values(twin_type)))


@histories
@given(data=st.data())
def test_repeated_delivery_changes_nothing(twin_type: TwinType[Any], data: st.DataObject) -> None:
    """Resent messages are counted and forgotten."""
    contract.repeated_delivery_changes_nothing(twin_type, data.draw(contract.anything_sent(twin_type)))


@histories
@given(data=st.data())
def test_whatever_a_device_sends_is_folded(twin_type: TwinType[Any], data: st.DataObject) -> None:
    """Broken values are judged, and what is shown fits the model."""
    interface = contract.interface_of(REGISTRY, twin_type)
    contract.whatever_a_device_sends_is_folded(twin_type, interface, data.draw(contract.anything_sent(twin_type)))


def test_unknown_fields_are_rejected(twin_type: TwinType[Any]) -> None:
    """A newer state is not cut down."""
    contract.unknown_fields_are_rejected(twin_type)


def test_golden_snapshots_load(twin_type: TwinType[Any]) -> None:
    """Earlier states are read."""
    contract.every_golden_snapshot_loads(twin_type)


def test_ways_back_lead_back(twin_type: TwinType[Any]) -> None:
    """Rolled back is as written."""
    contract.every_way_back_leads_back(twin_type)
