import numpy as np
import numpy.typing as npt

__test__: dict[str, str]

GOOD: int
SUSPECT: int
BAD: int
MISSING: int

def no_signals(machines: int, channels: int) -> npt.NDArray[np.float64]: ...
def judge_steps(
    channels: npt.NDArray[np.float64],
    signals: npt.NDArray[np.float64],
    last_time: npt.NDArray[np.float64],
    machine: npt.NDArray[np.intp],
    time: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]: ...
