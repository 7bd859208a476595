"""Which commands a pump obeys, which it refuses, and what it answers."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from local_emulator.devices.commands import REMEMBERED_OPERATIONS, Answer, Commands
from local_emulator.devices.pump_commands import pump_commands
from local_emulator.devices.pumps import PumpGroup
from local_emulator.devices.wear import Wear

NOW = 1_795_248_000.0


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _order(operation: str, version: int, *, lasts: float = 60.0, **content: Any) -> dict[str, Any]:
    return {"operationId": operation, "stateVersion": version, "expires": _moment(NOW + lasts), **content}


class Machine:
    """Notes what it is told, and has a clock that stands still."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.commands = Commands({"set": self._do, "stop": self._do}, {"setpoint": "set"}, clock=lambda: NOW)

    def _do(self, request: object) -> Answer:
        if request == "bad":
            return Answer(400, {"error": "bad"})
        self.done.append(request)
        return Answer(200, {"now": request})

    def call(self, operation: str, version: int, request: object, name: str = "set", **options: float) -> Answer:
        """Call a command."""
        return self.commands.call(name, _order(operation, version, request=request, **options))

    def wish(self, operation: str, version: int, value: object, **options: float) -> dict[str, Any]:
        """Set the desired property, as its seventh version."""
        return self.commands.wish({"setpoint": _order(operation, version, value=value, **options), "$version": 7})


def test_an_operation_is_done_once() -> None:
    """A repeat is answered as the first time, whatever it asks for, even if it has expired since."""
    machine = Machine()
    assert machine.call("a", 1, 5) == (200, {"now": 5})
    assert machine.call("a", 1, 6, lasts=-1.0) == (200, {"now": 5})
    assert machine.wish("a", 1, 5) == {"setpoint": {"value": 5, "ac": 200, "av": 7, "ad": "obeyed"}}
    assert machine.done == [5]


def test_the_same_id_for_another_command_is_another_operation() -> None:
    """What was answered to one says nothing of the other; a wish is its command."""
    machine = Machine()
    machine.call("a", 1, 5)
    assert machine.call("a", 1, 6, "stop") == (200, {"now": 6})
    assert machine.call("a", 1, 7, "stop") == (200, {"now": 6})
    machine.wish("a", 1, 8)
    assert machine.done == [5, 6]


def test_the_last_operations_are_remembered() -> None:
    """So many; one before them is done again."""
    machine = Machine()
    for number in range(REMEMBERED_OPERATIONS + 1):
        machine.call(str(number), 1, number)
    machine.call("1", 1, "not again")
    machine.call("0", 1, "again")
    assert machine.done == [*range(REMEMBERED_OPERATIONS + 1), "again"]


@pytest.mark.parametrize("lasts", [0.0, -1.0])
def test_what_has_expired_is_not_done(lasts: float) -> None:
    """Neither called nor desired; of the latter nothing is reported."""
    machine = Machine()
    status, payload = machine.call("a", 1, 5, lasts=lasts)
    assert (status, list(payload)) == (410, ["error"])
    assert machine.wish("b", 1, 5, lasts=lasts) == {}
    assert machine.done == []


def test_what_is_older_than_what_was_obeyed_is_not_done() -> None:
    """A call by its name; a wish by all, because a command may have ended it."""
    machine = Machine()
    machine.call("a", 5, "a")
    assert machine.call("b", 4, "b").status == 409
    assert machine.wish("c", 4, "c") == {}
    assert machine.call("d", 5, "d").status == 200
    assert machine.call("e", 3, "e", "stop").status == 200
    machine.call("f", 9, "f", "stop")
    assert machine.wish("g", 8, "g") == {}
    assert machine.wish("h", 9, "h")["setpoint"]["ac"] == 200
    assert machine.call("i", 8, "i").status == 409
    assert machine.done == ["a", "d", "e", "f", "h"]


def test_a_refused_command_makes_nothing_older() -> None:
    """Only what was obeyed counts."""
    machine = Machine()
    assert machine.call("a", 9, "bad").status == 400
    assert machine.call("b", 8, 1).status == 200


@pytest.mark.parametrize(
    "payload",
    [
        None,
        5,
        {},
        {"request": 5},
        {**_order("a", 1), "stateVersion": "1"},
        {**_order("a", 1), "expires": "soon"},
        {**_order("a", 1), "expires": "2026-11-21T08:00:00"},
    ],
)
def test_what_is_no_command_is_a_bad_request(payload: object) -> None:
    """400 to who calls; the desired property is reported as refused, and left alone where it is not there."""
    machine = Machine()
    assert machine.commands.call("set", payload).status == 400
    reported = machine.commands.wish({"setpoint": payload, "$version": 2})
    assert reported.get("setpoint", {"ac": 400})["ac"] == 400
    assert bool(reported) == (payload is not None)
    assert machine.done == []


def test_an_unknown_command_is_not_found() -> None:
    """404, with the names that there are."""
    status, payload = Machine().commands.call("start", _order("a", 1))
    assert status == 404
    assert "set, stop" in payload["error"]


def _pump(damage: float = 0.0) -> tuple[PumpGroup, Commands]:
    group = PumpGroup(2, seed=1, wear=Wear.new(2)._replace(bearing=np.array([0.0, damage])))
    group.step(1.0)
    return group, pump_commands(group, 1)


@pytest.mark.parametrize("request_", [None, "2000", True, -1.0, 3200.5, [2000.0], {"speed": 2000.0}])
def test_a_speed_is_a_number_in_range(request_: object) -> None:
    """Anything else is a bad request, and the pump stays as it is."""
    group, commands = _pump()
    speed = group.step(1.0)["speed"][1]
    far = "9999-12-31T00:00:00Z"
    order = {"operationId": "a", "stateVersion": 1, "expires": far, "request": request_}
    assert commands.call("setSpeed", order).status == 400
    assert group.step(1.0)["speed"][1] == pytest.approx(speed, abs=20.0)


def test_a_pump_obeys() -> None:
    """It answers with the speed it goes to; only it, not its neighbour."""
    group, commands = _pump()
    order = {"stateVersion": 1, "expires": "9999-12-31T00:00:00Z"}
    for speed in (0, 3200, 2500.0):
        answer = commands.call("setSpeed", {**order, "operationId": str(speed), "request": speed})
        assert answer == (200, {"speed": speed})
    shown = [group.step(1.0)["speed"] for _ in range(10)][-1]
    assert shown[1] == pytest.approx(2500.0, abs=20.0)
    assert shown[0] > 2700.0
    assert commands.call("resume", {**order, "operationId": "b", "request": 1}).status == 400
    resumed = commands.call("resume", {**order, "operationId": "c", "request": None})
    assert resumed.status == 200
    assert resumed.payload["speed"] == pytest.approx(group._state()["speed"][1] * 2950.0)
    assert [group.step(1.0)["speed"][1] for _ in range(10)][-1] == pytest.approx(resumed.payload["speed"], abs=20.0)


def test_a_pump_that_has_tripped_says_so() -> None:
    """It cannot obey: 423, and its desired speed is reported with that."""
    group, commands = _pump(damage=1.0)
    assert group.has_tripped(1)
    order = {"operationId": "a", "stateVersion": 1, "expires": "9999-12-31T00:00:00Z"}
    assert commands.call("setSpeed", {**order, "request": 2000.0}).status == 423
    reported = commands.wish({"speedSetpoint": {**order, "value": 2000.0}, "$version": 3})
    assert reported["speedSetpoint"] == {
        "value": 2000.0,
        "ac": 423,
        "av": 3,
        "ad": "the pump has tripped: a part of it is gone",
    }
