"""A centrifugal water pump with its motor.

The twin compares what is measured with what physics expects of a pump in good order at the same speed and flow, and its
temperatures with a heat balance. How that becomes health stands in `kernels.pump_condition`, which brings any number of
pumps forward by a reading each: pumps come in fleets, and their devices speak often.

Which pump? The rated curve is that of `kernels.hydraulics.REFERENCE_PUMP`. During its first readings the twin sees
whether the measured head agrees with it (`followsNameplate`). If so, the curve is the yardstick from the first reading
on. If not (an unknown pump), what is usual is learned from the first readings of each symptom, and health is measured
against that; temperatures then count only against their limits.
"""

from collections.abc import Mapping

from kernels.pump_condition import CHANNELS, follow_pumps
from twin_actors.twin import Channel, Fleet, PropertyValue, TwinType
from twin_actors.types.pump.rules import COMMANDS, RULES, SOURCES
from twin_actors.types.pump.state import COLUMN, UPGRADES, State, follows_nameplate
from twin_actors.types.pump.trend import feature_row

BY_NAMEPLATE = frozenset(
    (
        "expectedHead",
        "headResidual",
        "expectedPower",
        "powerResidual",
        "expectedEfficiency",
        "cavitationMargin",
        "expectedMotorTemperature",
        "expectedBearingTemperature",
    )
)
"""Estimates that say nothing of a pump with another nameplate, and are not shown of one."""

SHOWN = {
    "speed": "lastSpeed",
    "flow": "lastFlow",
    "suctionPressure": "lastSuctionPressure",
    "dischargePressure": "lastDischargePressure",
    "power": "lastPower",
    "motorTemperature": "lastMotorTemperature",
    "bearingTemperature": "lastBearingTemperature",
    "oilTemperature": "lastOilTemperature",
    "fluidTemperature": "lastFluidTemperature",
    "vibration": "lastVibration",
}
"""Channel → property; in DTDL a Telemetry and a Property cannot share a name."""


FLEET = Fleet(
    follow=follow_pumps,
    channels=CHANNELS,
    columns={
        "anomalyScore": COLUMN["anomalyScore"],
        "cavitationMargin": COLUMN["estimates.cavitationMargin"],
        **{shown: COLUMN[f"last.{name}"] for name, shown in SHOWN.items()},
    },
)


def properties(state: State) -> Mapping[str, PropertyValue | None]:
    """Return what the graph shows."""
    if not state.time:
        return {}
    follows = follows_nameplate(state.symptoms)
    shown: dict[str, PropertyValue | None] = {
        "isRunning": state.is_running,
        "isCalibrated": bool(state.symptoms) and all(one.is_calibrated for one in state.symptoms.values()),
        "followsNameplate": follows,
        "estimateQuality": state.estimate_quality,
        **{SHOWN[name]: value for name, value in state.last.items() if name in SHOWN},
        **{name: value if follows or name not in BY_NAMEPLATE else None for name, value in state.estimates.items()},
    }
    if state.health is not None:
        shown["health"] = state.health
    if state.anomaly_score is not None:
        shown["anomalyScore"] = state.anomaly_score
    return shown


def features(state: State) -> tuple[float, ...] | None:
    """Return what the RUL model reads of a pump; None before there is enough, and while it stands: then the last
    prediction is the best one.
    """
    if not state.is_running:
        return None
    return feature_row(state.time, state.last, state.symptoms, state.trends)


TWIN = TwinType(
    name="pump",
    model="dtmi:twinfold:Pump;1",
    state=State,
    state_version=2,
    upgrades=UPGRADES,
    receive=FLEET.receive,
    fleet=FLEET,
    properties=properties,
    features=features,
    rules=RULES,
    commands=COMMANDS,
    sources={**SOURCES, **{shown: f"channel {name}" for name, shown in SHOWN.items()}},
    channels=(
        Channel("speed", 0.0, 6000.0, max_rate=1500.0, required=False),
        Channel("flow", 0.0, 2000.0, max_rate=500.0),
        Channel("suctionPressure", 0.0, 5000.0, max_rate=500.0, required=False),
        Channel("dischargePressure", 0.0, 20_000.0, max_rate=2000.0, stuck_after=1800.0),
        Channel("power", 0.0, 1000.0, max_rate=200.0, required=False),
        Channel("current", 0.0, 2000.0, required=False),
        Channel("voltage", 0.0, 15_000.0, required=False),
        Channel("motorTemperature", -40.0, 220.0, max_rate=5.0, required=False),
        Channel("bearingTemperature", -40.0, 200.0, max_rate=5.0, required=False),
        Channel("oilTemperature", -40.0, 200.0, max_rate=5.0, required=False),
        Channel("fluidTemperature", -10.0, 180.0, max_rate=5.0, required=False),
        Channel("ambientTemperature", -50.0, 70.0, required=False),
        Channel("vibration", 0.0, 100.0, required=False),
        Channel("acceleration1", 0.0, 50.0, required=False),
        Channel("acceleration2", 0.0, 50.0, required=False),
    ),
)
