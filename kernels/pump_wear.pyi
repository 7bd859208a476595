from typing import NamedTuple

import numpy as np
import numpy.typing as npt

type _Column = npt.NDArray[np.float64]

__test__: dict[str, str]

REFERENCE_WEAR_EFFECTS: WearEffects

class WornPump(NamedTuple):
    density: _Column
    flow: _Column
    metered_flow: _Column
    head: _Column
    pressure_rise: _Column
    power: _Column
    motor_loss: _Column
    bearing_friction: _Column
    vibration: _Column
    acceleration: _Column
    far_acceleration: _Column

class WearEffects(NamedTuple):
    power: float
    friction: float
    usual_vibration: float
    impeller_vibration: float
    bearing_vibration: float
    impacts: float
    leak: float

def worn_pump(
    speed: _Column,
    temperature: _Column,
    static_head: _Column,
    resistance: _Column,
    impeller: _Column,
    bearing: _Column,
    seal: _Column,
    rated_friction: _Column,
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
    power_effect: _Column,
    friction_effect: _Column,
    usual_vibration: _Column,
    impeller_vibration: _Column,
    bearing_vibration: _Column,
    impacts: _Column,
    leak: _Column,
) -> WornPump: ...
