"""The page on alerts and work orders says what the code does: its rows fire, and its order is the one they make."""

import re
from pathlib import Path
from typing import Any

import msgspec

from tests.twin_actors.world import START
from twin_actors import twin
from twin_actors.advisory import Situation, watch
from twin_actors.documents import Collection, Prediction
from twin_actors.maintenance import Maintenance
from twin_actors.outputs import PlaceOrder, PutDocument, SendCommand
from twin_actors.sinks.tables import key_of
from twin_actors.sinks.work_orders import canonical_json
from twin_actors.twin import TwinType

PAGE = Path(__file__).parents[2] / "docs" / "alerts-and-work-orders.md"


class Running(msgspec.Struct, frozen=True):
    """The state of the page's pump."""

    speed: float = 2900.0


def _block(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(block)


def _fire() -> list[Any]:
    """Return what the page's rows leave for the world."""
    rows: dict[str, Any] = dict(vars(twin))
    exec(_block("python"), rows)
    pump = TwinType(
        name="pump",
        model="dtmi:twinfold:Pump;1",
        state=Running,
        receive=lambda state, _message: twin.Turn(state),
        properties=lambda _state: {},
        channels=(),
        rules=rows["RULES"],
        commands=rows["COMMANDS"],
    )
    remembered = Maintenance(prediction=Prediction(41.5, 28.0, 63.25, "pump-rul-1", START))
    outputs: list[Any] = []
    for number, margin in enumerate((0.8, 0.4, 0.375, 0.25, 0.25)):
        time = START + 3.0 * number
        situation = Situation(
            twin_id="pump-7",
            state_version=1041 + number,
            state=Running(),
            signals={"cavitationMargin": margin, "flow": 118.5, "connection": "online"},
            time=time,
            hub_time=time + 1.0,
            reading_time=time,
            previous_time=time,
            position=f"3-{88_210 + number}",
        )
        remembered, made = watch(remembered, pump, situation)
        outputs += made
    return outputs


def test_the_rows_do_what_the_page_says() -> None:
    """One alert, one command at four fifths of the speed, one order; a repeat adds nothing."""
    outputs = _fire()
    alerts = [out for out in outputs if isinstance(out, PutDocument) and out.collection == Collection.ALERTS]
    commands = [out.command for out in outputs if isinstance(out, SendCommand)]
    assert [alert.document.status for alert in alerts] == ["active"]
    assert [(each.name, msgspec.json.decode(each.request), each.desired) for each in commands] == [
        ("setSpeed", 0.8 * 2900.0, "speedSetpoint")
    ]


def test_the_order_is_the_one_that_the_rows_make() -> None:
    """To the letter."""
    (order,) = [out.order for out in _fire() if isinstance(out, PlaceOrder)]
    made = msgspec.json.format(canonical_json(order), indent=2).decode()
    assert _block("json").strip() == made, f"put this on the page:\n{made}"


def test_the_letters_of_keys_are_as_told() -> None:
    """Each pair of the table."""
    rows = [line.split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| in the ")]
    ids, keys = ([cell.strip("|").strip(" ").removesuffix(" |") for cell in row[1:]] for row in rows)
    pairs = dict(zip(ids, keys, strict=True))
    assert len(pairs) == 12
    for letter, key in pairs.items():
        assert key_of(" " if letter == "space" else letter.strip("`")) == key.strip("`")
