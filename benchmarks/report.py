"""How a benchmark says what it found."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence


def machine() -> str:
    """Return what this was measured on."""
    return f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def tell(question: str, figures: Mapping[str, object]) -> None:
    """Print the figures, as JSON with ``--json``."""
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"question": question, "machine": machine(), **figures}) + "\n")
        return
    sys.stdout.write(f"{question}\n{machine()}\n")
    for name, figure in figures.items():
        sys.stdout.write(f"  {name}: {figure}\n")
