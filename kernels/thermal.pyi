from typing import NamedTuple

import numpy as np
import numpy.typing as npt

type _Column = npt.NDArray[np.float64]

__test__: dict[str, str]
__pyx_capi__: dict[str, object]

REFERENCE_MACHINE: ThermalNameplate
REFERENCE_FRICTION: float

class MachineTemperatures(NamedTuple):
    motor: _Column
    bearing: _Column
    oil: _Column
    steady_motor: _Column
    steady_bearing: _Column
    steady_oil: _Column

class ThermalNameplate(NamedTuple):
    motor_conductance: float
    motor_capacity: float
    bearing_oil_conductance: float
    bearing_fluid_conductance: float
    bearing_capacity: float
    oil_conductance: float
    oil_capacity: float

def machine_temperatures(
    motor: _Column,
    bearing: _Column,
    oil: _Column,
    motor_loss: _Column,
    bearing_friction: _Column,
    surroundings: _Column,
    fluid: _Column,
    dt: _Column,
    motor_conductance: _Column,
    motor_capacity: _Column,
    bearing_oil_conductance: _Column,
    bearing_fluid_conductance: _Column,
    bearing_capacity: _Column,
    oil_conductance: _Column,
    oil_capacity: _Column,
) -> MachineTemperatures: ...
