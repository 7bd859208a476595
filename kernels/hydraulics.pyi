from typing import NamedTuple

import numpy as np
import numpy.typing as npt

type _Column = npt.NDArray[np.float64]

__pyx_capi__: dict[str, object]
__test__: dict[str, str]

REFERENCE_PUMP: PumpNameplate

class WaterProperties(NamedTuple):
    density: _Column
    viscosity: _Column
    vapour_pressure: _Column

class PumpCurve(NamedTuple):
    shutoff_head: _Column
    head_slope: _Column
    head_coefficient: _Column
    head_exponent: _Column

class OperatingPoint(NamedTuple):
    flow: _Column
    head: _Column

class Affinity(NamedTuple):
    flow: _Column
    head: _Column
    power: _Column

class PumpPerformance(NamedTuple):
    head: _Column
    efficiency: _Column
    hydraulic_power: _Column
    shaft_power: _Column

class SuctionHead(NamedTuple):
    available: _Column
    required: _Column
    margin: _Column

class PumpEstimate(NamedTuple):
    density: _Column
    head: _Column
    hydraulic_power: _Column
    shaft_power: _Column
    efficiency: _Column
    expected_head: _Column
    expected_power: _Column
    expected_efficiency: _Column
    npsh_available: _Column
    npsh_required: _Column
    cavitation_margin: _Column
    head_residual: _Column
    power_residual: _Column
    efficiency_residual: _Column

class PumpNameplate(NamedTuple):
    rated_speed: float
    shutoff_head: float
    head_slope: float
    head_coefficient: float
    head_exponent: float
    best_flow: float
    best_efficiency: float
    motor_efficiency: float
    npsh_static: float
    npsh_coefficient: float
    suction_area: float
    discharge_area: float

def water_properties(temperature: _Column) -> WaterProperties: ...
def one_point_curve(flow: _Column, head: _Column) -> PumpCurve: ...
def pump_head(
    speed: _Column,
    flow: _Column,
    rated_speed: _Column,
    shutoff_head: _Column,
    head_slope: _Column,
    head_coefficient: _Column,
    head_exponent: _Column,
) -> _Column: ...
def operating_point(
    speed: _Column,
    rated_speed: _Column,
    shutoff_head: _Column,
    head_slope: _Column,
    head_coefficient: _Column,
    head_exponent: _Column,
    static_head: _Column,
    resistance: _Column,
    resistance_exponent: _Column,
) -> OperatingPoint: ...
def affinity(speed: _Column, rated_speed: _Column, flow: _Column, head: _Column, power: _Column) -> Affinity: ...
def pump_performance(
    speed: _Column,
    flow: _Column,
    density: _Column,
    rated_speed: _Column,
    shutoff_head: _Column,
    head_slope: _Column,
    head_coefficient: _Column,
    head_exponent: _Column,
    best_flow: _Column,
    best_efficiency: _Column,
) -> PumpPerformance: ...
def suction_head(
    suction_pressure: _Column,
    speed: _Column,
    flow: _Column,
    temperature: _Column,
    rated_speed: _Column,
    npsh_static: _Column,
    npsh_coefficient: _Column,
    suction_area: _Column,
) -> SuctionHead: ...
def pump_estimate(
    speed: _Column,
    flow: _Column,
    suction_pressure: _Column,
    discharge_pressure: _Column,
    temperature: _Column,
    power: _Column,
    rated_speed: _Column,
    shutoff_head: _Column,
    head_slope: _Column,
    head_coefficient: _Column,
    head_exponent: _Column,
    best_flow: _Column,
    best_efficiency: _Column,
    motor_efficiency: _Column,
    npsh_static: _Column,
    npsh_coefficient: _Column,
    suction_area: _Column,
    discharge_area: _Column,
) -> PumpEstimate: ...
