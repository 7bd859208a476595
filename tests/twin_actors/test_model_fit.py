"""What may be asked of twins of a model: values as the model has them, or every fault with its place."""

import msgspec
import pytest

from tests.functions.http_world import ROOM, VALVE, registry
from twin_actors.models import Misfit, Models, check_command, check_edit


@pytest.fixture(scope="module")
def models() -> Models:
    """A valve's."""
    return Models(registry())


@pytest.mark.parametrize(
    ("name", "request_", "taken"),
    [
        ("move", 40, b"40.0"),
        ("move", 3000.0, b"3000.0"),
        ("close", None, b"null"),
        ("plan", {"at": 5}, b'{"at":5}'),
    ],
)
def test_a_command_that_fits_is_as_the_model_has_it(models: Models, name: str, request_: object, taken: bytes) -> None:
    """JSON does not tell 40 from 40.0, the model does."""
    assert msgspec.json.encode(check_command(models, VALVE, name, request_)) == taken


@pytest.mark.parametrize(
    ("name", "request_", "fault"),
    [
        ("move", None, "double is wanted"),
        ("move", "far", "double is wanted"),
        ("move", True, "double is wanted"),
        ("move", -1, "between 0 and 3000 is taken"),
        ("move", 3001.0, "between 0 and 3000 is taken"),
        ("move", 10**400, "a number beyond 64 bits, no number, or text that is no Unicode"),
        ("move", float("nan"), "a number beyond 64 bits, no number, or text that is no Unicode"),
        ("close", 1, "leave it out"),
        ("plan", {"at": 1.5}, "long is wanted at at"),
        ("plan", {"at": 2**63}, "a number beyond 64 bits, no number, or text that is no Unicode"),
        ("plan", {"elsewhere": 1}, "not declared at elsewhere"),
    ],
)
def test_a_command_that_does_not_fit(models: Models, name: str, request_: object, fault: str) -> None:
    """The fault is in its request."""
    with pytest.raises(Misfit) as caught:
        check_command(models, VALVE, name, request_)
    assert (caught.value.reason, caught.value.faults) == ("model_mismatch", (("request", fault),))


@pytest.mark.parametrize("name", ["undeclared", "fly", ""])
def test_an_unknown_command_names_those_that_are_known(models: Models, name: str) -> None:
    """One that the model has and the type does not is none either: its guard rails are missing."""
    with pytest.raises(Misfit, match=r"command_not_found: .* take these commands: close, move, plan"):
        check_command(models, VALVE, name, None)


def test_an_edit_that_fits_is_as_the_model_has_it(models: Models) -> None:
    """Numbers of the schema's kind; None takes a value away."""
    changes = {"opening": 5, "turns": 3.0, "automaticControl": None}
    taken = b'{"opening":5.0,"turns":3,"automaticControl":null}'
    assert msgspec.json.encode(check_edit(models, VALVE, changes)) == taken


def test_every_fault_of_an_edit_is_named(models: Models) -> None:
    """And what could be set."""
    with pytest.raises(Misfit) as caught:
        check_edit(models, VALVE, {"lift": 1, "colour": "red", "opening": "wide", "turns": 1.5, "automaticControl": 1})
    assert [name for name, _ in caught.value.faults] == ["lift", "colour", "opening", "turns", "automaticControl"]
    assert caught.value.detail == f"of {VALVE}, these can be set: automaticControl, opening, turns"
    with pytest.raises(Misfit, match="no property is named"):
        check_edit(models, VALVE, {})


def test_twins_of_other_models_are_not_asked(models: Models) -> None:
    """They have nobody who would hear it."""
    with pytest.raises(Misfit, match="foreign_model"):
        check_command(models, ROOM, "close", None)
    with pytest.raises(Misfit, match="foreign_model"):
        check_edit(models, ROOM, {"area": 1})
