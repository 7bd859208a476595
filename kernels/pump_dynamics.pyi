from typing import NamedTuple

import numpy as np
import numpy.typing as npt

type _Column = npt.NDArray[np.float64]

__test__: dict[str, str]

class PumpState(NamedTuple):
    speed: _Column
    flow: _Column
    thrust_temperature: _Column
    radial_temperature: _Column
    oil_temperature: _Column
    impeller: _Column

def pump_step(
    speed: _Column,
    flow: _Column,
    thrust_temperature: _Column,
    radial_temperature: _Column,
    oil_temperature: _Column,
    impeller: _Column,
    voltage: _Column,
    synchronous_speed: _Column,
    suction_pressure: _Column,
    discharge_pressure: _Column,
    surroundings: _Column,
    wear: _Column,
    *,
    dt: float,
) -> PumpState: ...
