from typing import Any

import numpy as np
import numpy.typing as npt

__test__: dict[str, str]

def columns_of(
    rows: list[dict[str, Any]], places: dict[str, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]: ...
