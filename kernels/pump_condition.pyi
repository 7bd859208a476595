import numpy as np
import numpy.typing as npt

__test__: dict[str, str]

REFERENCE_FRICTION: float
CHANNELS: tuple[str, ...]
ESTIMATES: tuple[str, ...]
SYMPTOMS: tuple[str, ...]
BALANCE: tuple[str, ...]
SYMPTOM: tuple[str, ...]
TREND: tuple[str, ...]
COLUMNS: tuple[str, ...]
QUALITIES: tuple[str, ...]
CALIBRATION_READINGS: int
FAST_SECONDS: float
SLOW_SECONDS: float
FREE_SCALES: float
LOST_SCALES: float
UNUSUAL_SCALES: float
NAMEPLATE_TOLERANCE: float
LEAST_PART: float
LIMITS: dict[str, tuple[float, float]]
LEAST_SCALE: dict[str, float]
MEMORY_DAYS: tuple[float, float, float]
STRIDE_SECONDS: float
ASSUMED: dict[str, float]

def no_pump() -> npt.NDArray[np.float64]: ...
def follow_pumps(
    states: npt.NDArray[np.float64],
    pump: npt.NDArray[np.intp],
    time: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    suspect: npt.NDArray[np.uint8],
    columns: npt.NDArray[np.intp],
) -> npt.NDArray[np.float64]: ...
def remember_pumps(states: npt.NDArray[np.float64]) -> None: ...
