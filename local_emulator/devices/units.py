"""Units of measurement: a number in one is ``number · scale + zero`` in the SI unit of its dimension."""

from typing import NamedTuple

from local_emulator.devices.errors import MappingError


class Unit(NamedTuple):
    """What a unit measures, and how it becomes the SI unit."""

    dimension: str
    scale: float = 1.0
    zero: float = 0.0


class Conversion(NamedTuple):
    """An affine change of units: ``number · factor + offset``."""

    factor: float = 1.0
    offset: float = 0.0

    def __call__(self, number: float) -> float:
        """Convert a number."""
        return number * self.factor + self.offset


_FAHRENHEIT_ZERO = 459.67 * 5.0 / 9.0

UNITS = {
    "Pa": Unit("pressure"),
    "kPa": Unit("pressure", 1e3),
    "MPa": Unit("pressure", 1e6),
    "mbar": Unit("pressure", 1e2),
    "bar": Unit("pressure", 1e5),
    "psi": Unit("pressure", 6894.757293168361),
    "m3/s": Unit("volume flow"),
    "m3/h": Unit("volume flow", 1.0 / 3600.0),
    "l/s": Unit("volume flow", 1e-3),
    "l/min": Unit("volume flow", 1e-3 / 60.0),
    "l/h": Unit("volume flow", 1e-3 / 3600.0),
    "K": Unit("temperature"),
    "degC": Unit("temperature", 1.0, 273.15),
    "degF": Unit("temperature", 5.0 / 9.0, _FAHRENHEIT_ZERO),
    "m/s2": Unit("acceleration"),
    "g": Unit("acceleration", 9.80665),
    "m/s": Unit("velocity"),
    "mm/s": Unit("velocity", 1e-3),
    "in/s": Unit("velocity", 0.0254),
    "V": Unit("voltage"),
    "mV": Unit("voltage", 1e-3),
    "kV": Unit("voltage", 1e3),
    "A": Unit("current"),
    "mA": Unit("current", 1e-3),
    "W": Unit("power"),
    "kW": Unit("power", 1e3),
    "MW": Unit("power", 1e6),
    "hp": Unit("power", 745.6998715822702),
    "1/s": Unit("frequency of rotation"),
    "Hz": Unit("frequency of rotation"),
    "rpm": Unit("frequency of rotation", 1.0 / 60.0),
    "m": Unit("length"),
    "mm": Unit("length", 1e-3),
    "s": Unit("time"),
    "min": Unit("time", 60.0),
    "h": Unit("time", 3600.0),
    "1": Unit("ratio"),
    "%": Unit("ratio", 1e-2),
}


def conversion(unit: str, to: str) -> Conversion:
    """Return how a number in `unit` becomes one in `to`.

    Raises
    ------
    MappingError
        A unit is not known, or they measure different things.
    """
    if unit == to:
        return Conversion()
    source, target = _unit(unit), _unit(to)
    if source.dimension != target.dimension:
        raise MappingError(f"{unit} is a {source.dimension} and {to} a {target.dimension}: neither becomes the other")
    return Conversion(source.scale / target.scale, (source.zero - target.zero) / target.scale)


def _unit(name: str) -> Unit:
    try:
        return UNITS[name]
    except KeyError:
        raise MappingError(
            f"unit {name!r} is not known; known are {', '.join(UNITS)}; or give factor and offset instead"
        ) from None
