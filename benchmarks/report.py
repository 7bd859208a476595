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
    """Print the figures; with ``--json`` one object: a figure's median under its name, the rest under ``spread``."""
    spreads = {name: figure for name, figure in figures.items() if isinstance(figure, Mapping) and "median" in figure}
    if "--json" in sys.argv:
        flat = {name: spreads[name]["median"] if name in spreads else figure for name, figure in figures.items()}
        told = {"question": question, "machine": machine(), **flat, "spread": spreads}
        sys.stdout.write(json.dumps(told) + "\n")
        return
    sys.stdout.write(f"{question}\n{machine()}\n")
    for name, figure in figures.items():
        said = _said(figure)
        if name in spreads:
            said = f"{_said(spreads[name]['median'])}  ({_said(spreads[name]['min'])} to {_said(spreads[name]['max'])})"
        sys.stdout.write(f"  {name}: {said}\n")


def _said(figure: object) -> str:
    if not isinstance(figure, float):
        return str(figure)
    return f"{figure:.4g}" if abs(figure) < 1000.0 else f"{figure:,.0f}"
