"""What a pump remembers: a row of numbers, as `kernels.pump_condition` reads and writes it, and names for its parts."""

import functools
import itertools
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kernels.pump_condition import (
    BALANCE,
    CALIBRATION_READINGS,
    CHANNELS,
    COLUMNS,
    ESTIMATES,
    NAMEPLATE_TOLERANCE,
    QUALITIES,
    SYMPTOM,
    SYMPTOMS,
    TREND,
    no_pump,
)
from twin_actors.twin import Upgrade

COLUMN = {name: place for place, name in enumerate(COLUMNS)}
"""Part of the row → its place."""

_ROW = struct.Struct(f"<{len(COLUMNS)}d")
_NOTHING = no_pump().tolist()

_LAST = COLUMN[f"last.{CHANNELS[0]}"]
_ESTIMATES = COLUMN[f"estimates.{ESTIMATES[0]}"]
_SYMPTOMS = COLUMN[f"symptoms.{SYMPTOMS[0]}.{SYMPTOM[0]}"]
_TRENDS = COLUMN[f"trends.{SYMPTOMS[0]}.{TREND[0]}"]


class Symptom(msgspec.Struct, frozen=True):
    """What is remembered of a symptom.

    Attributes
    ----------
    fast, slow : float
        The smoothed values.
    time : float
        Event time of the last one, seconds since 1970.
    count : float
        Readings that the baseline has learned from.
    mean, spread : float
        The baseline: mean, and sum of squared differences from it.
    """

    fast: float
    slow: float
    time: float
    count: float
    mean: float
    spread: float

    @property
    def is_calibrated(self) -> bool:
        """Whether the baseline is complete."""
        return self.count >= CALIBRATION_READINGS


class Trend(msgspec.Struct, frozen=True):
    """The long memories of a symptom.

    Attributes
    ----------
    since, time : float
        Event time at which they began, and of what they heard last, seconds since 1970.
    week, month, half_year : float
        The smoothed values.
    """

    since: float
    time: float
    week: float
    month: float
    half_year: float


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """What a pump remembers.

    Attributes
    ----------
    numbers : bytes
        `kernels.pump_condition.COLUMNS`, float64, little-endian.
    """

    numbers: bytes = _ROW.pack(*_NOTHING)

    def __post_init__(self) -> None:
        """Refuse what is no row.

        Raises
        ------
        ValueError
        """
        if len(self.numbers) != _ROW.size:
            raise ValueError(f"a pump has {_ROW.size} bytes of numbers, not {len(self.numbers)}")

    @functools.cached_property
    def row(self) -> tuple[float, ...]:
        """The numbers."""
        return _ROW.unpack(self.numbers)

    @property
    def time(self) -> float:
        """Event time of the newest reading, seconds since 1970; 0 before the first."""
        return self.row[0]

    @functools.cached_property
    def last(self) -> dict[str, float]:
        """Channel → last usable value, in the unit of the channel."""
        return _known(CHANNELS, self.row[_LAST : _LAST + len(CHANNELS)])

    @functools.cached_property
    def estimates(self) -> dict[str, float]:
        """Property → last finite value of what is computed, in the unit of the property."""
        return _known(ESTIMATES, self.row[_ESTIMATES : _ESTIMATES + len(ESTIMATES)])

    @functools.cached_property
    def symptoms(self) -> dict[str, Symptom]:
        """Name → smoothed value and baseline, of what was heard."""
        parts = itertools.batched(self.row[_SYMPTOMS:], len(SYMPTOM), strict=False)
        return {name: Symptom(*part) for name, part in zip(SYMPTOMS, parts, strict=False) if part[3]}

    @functools.cached_property
    def trends(self) -> dict[str, Trend]:
        """Symptom → its long memories, where it has any."""
        parts = itertools.batched(self.row[_TRENDS:], len(TREND), strict=False)
        return {name: Trend(*part) for name, part in zip(SYMPTOMS, parts, strict=False) if not math.isnan(part[0])}

    @property
    def trends_time(self) -> float:
        """Event time at which they were brought forward last, seconds since 1970."""
        return self.row[COLUMN["trendsTime"]]

    @property
    def is_running(self) -> bool:
        """Whether the pump turned in the newest reading."""
        return self.row[COLUMN["isRunning"]] != 0.0

    @property
    def estimate_quality(self) -> str:
        """What the newest estimates stand on."""
        return QUALITIES[int(self.row[COLUMN["estimateQuality"]])]

    @property
    def health(self) -> float | None:
        """From all symptoms and limits so far, 0 to 1; None while there are none."""
        return _or_none(self.row[COLUMN["health"]])

    @property
    def anomaly_score(self) -> float | None:
        """From 0, usual, towards 1; None while there is no symptom."""
        return _or_none(self.row[COLUMN["anomalyScore"]])


def follows_nameplate(symptoms: Mapping[str, Symptom]) -> bool:
    """Return whether the head agreed with the rated curve while the baseline was learned."""
    return "head" in symptoms and abs(symptoms["head"].mean) <= NAMEPLATE_TOLERANCE


def _known(names: Iterable[str], values: Iterable[float]) -> dict[str, float]:
    return {name: value for name, value in zip(names, values, strict=True) if not math.isnan(value)}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


# --- what earlier versions wrote ----------------------------------------------------------------------


def _to_numbers(plain: dict[str, Any]) -> dict[str, Any]:
    """Layout 1 had a field, and a name, for each of them."""
    row = list(_NOTHING)

    def put(name: str, value: float | None) -> None:
        row[COLUMN[name]] = math.nan if value is None else float(value)

    put("time", plain["time"])
    put("isRunning", plain["is_running"])
    put("runningSince", plain["running_since"])
    put("estimateQuality", QUALITIES.index(plain["estimate_quality"]))
    put("health", plain["health"])
    put("anomalyScore", plain["anomaly_score"])
    put("trendsTime", plain.get("trends_time", 0.0))
    for group in ("last", "estimates"):
        for name, value in plain[group].items():
            put(f"{group}.{name}", value)
    for name, value in zip(BALANCE, plain["balance"], strict=False):
        put(f"balance.{name}", value)
    for group, parts in (("symptoms", SYMPTOM), ("trends", TREND)):
        for name, values in plain.get(group, {}).items():
            for part, value in zip(parts, values, strict=True):
                put(f"{group}.{name}.{part}", value)
    return {"numbers": _ROW.pack(*row)}


def _to_fields(plain: dict[str, Any]) -> dict[str, Any]:
    state = State(plain["numbers"])
    balance = tuple(state.row[COLUMN[f"balance.{name}"]] for name in BALANCE)
    fields = {
        "time": state.time,
        "last": state.last,
        "estimates": state.estimates,
        "balance": () if math.isnan(balance[0]) else balance,
        "symptoms": {
            name: (one.fast, one.slow, one.time, int(one.count), one.mean, one.spread)
            for name, one in state.symptoms.items()
        },
        "is_running": state.is_running,
        "running_since": state.row[COLUMN["runningSince"]],
        "estimate_quality": state.estimate_quality,
        "health": state.health,
        "anomaly_score": state.anomaly_score,
    }
    if state.trends_time:  # the first apps of this layout knew no trends
        fields["trends"] = {name: msgspec.structs.astuple(one) for name, one in state.trends.items()}
        fields["trends_time"] = state.trends_time
    return fields


UPGRADES = (Upgrade(from_version=1, up=_to_numbers, down=_to_fields),)
