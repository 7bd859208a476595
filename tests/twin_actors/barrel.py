"""A twin type as three versions of an app have it: renamed, then split; ``python -m tests.twin_actors.barrel`` writes
the golden snapshot of each version that has none.
"""

import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from tests.twin_actors.twin_contract import GOLDEN, write_golden
from twin_actors.messages import Reading
from twin_actors.twin import Channel, Turn, TwinType, Upgrade

MODEL = "dtmi:test:Barrel;1"


class First(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Layout 1: the level in per cent."""

    percent: float = 0.0
    heard: int = 0


class Second(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Layout 2: the level as a part of 1."""

    level: float = 0.0
    heard: int = 0


class Third(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Layout 3: the highest level ever is remembered too."""

    level: float = 0.0
    highest: float = 0.0
    heard: int = 0


def first(state: First, message: Reading) -> Turn[First]:
    """Follow the newest reading."""
    level = state.percent if message.is_late else message.values.get("percent", state.percent)
    return Turn(First(level, state.heard + 1))


def second(state: Second, message: Reading) -> Turn[Second]:
    """Follow the newest reading."""
    level = state.level if message.is_late else message.values.get("percent", 100.0 * state.level) / 100.0
    return Turn(Second(level, state.heard + 1))


def third(state: Third, message: Reading) -> Turn[Third]:
    """Follow the newest reading."""
    level = state.level if message.is_late else message.values.get("percent", 100.0 * state.level) / 100.0
    return Turn(Third(level, max(state.highest, level), state.heard + 1))


def shown(level: float, heard: int) -> Mapping[str, float]:
    """What each version shows."""
    return {"fillPercent": round(level, 6), "heard": heard}


def rename(state: dict[str, Any]) -> dict[str, Any]:
    """Lead from layout 1 to 2."""
    return {"level": state["percent"] / 100.0, "heard": state["heard"]}


def rename_back(state: dict[str, Any]) -> dict[str, Any]:
    """Lead from layout 2 to 1."""
    return {"percent": 100.0 * state["level"], "heard": state["heard"]}


def remember(state: dict[str, Any]) -> dict[str, Any]:
    """Lead from layout 2 to 3: the highest level known is the present one."""
    return {**state, "highest": state["level"]}


def forget(state: dict[str, Any]) -> dict[str, Any]:
    """Lead from layout 3 to 2."""
    return {name: value for name, value in state.items() if name != "highest"}


_RENAME = Upgrade(from_version=1, up=rename, down=rename_back)
_REMEMBER = Upgrade(from_version=2, up=remember, down=forget)
_CHANNELS = (Channel("percent", 0.0, 100.0),)

BARREL_1 = TwinType(
    name="barrel",
    model=MODEL,
    state=First,
    receive=first,
    properties=lambda state: shown(state.percent, state.heard),
    channels=_CHANNELS,
)
BARREL_2 = TwinType(
    name="barrel",
    model=MODEL,
    state=Second,
    receive=second,
    properties=lambda state: shown(100.0 * state.level, state.heard),
    channels=_CHANNELS,
    state_version=2,
    upgrades=(_RENAME,),
)
BARREL_3 = TwinType(
    name="barrel",
    model=MODEL,
    state=Third,
    receive=third,
    properties=lambda state: shown(100.0 * state.level, state.heard),
    channels=_CHANNELS,
    state_version=3,
    upgrades=(_RENAME, _REMEMBER),
)
BARRELS: tuple[TwinType[Any], ...] = (BARREL_1, BARREL_2, BARREL_3)

if __name__ == "__main__":
    for version in BARRELS:
        if not (GOLDEN / "barrel" / f"v{version.state_version}").exists():
            sys.stdout.write(f"{write_golden(version)}\n")
