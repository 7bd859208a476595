"""What can be measured, and in which units.

A semantic type says what a number means and picks a family of units. Version 2 has these in its core
context, version 3 in the extension ``quantitativeTypes``, which added some.
"""

from collections.abc import Mapping

_UNITS: Mapping[str, tuple[str, ...]] = {
    family: tuple(units.split())
    for family, units in {
        "AccelerationUnit": "centimetrePerSecondSquared gForce metrePerSecondSquared",
        "AngleUnit": "degreeOfArc minuteOfArc radian secondOfArc turn",
        "AngularAccelerationUnit": "radianPerSecondSquared",
        "AngularVelocityUnit": "degreePerSecond radianPerSecond revolutionPerMinute revolutionPerSecond",
        "AreaUnit": (
            "acre hectare squareCentimetre squareFoot squareInch squareKilometre squareMetre squareMillimetre"
        ),
        "CapacitanceUnit": "farad microfarad millifarad nanofarad picofarad",
        "ChargeUnit": "coulomb",
        "CurrentUnit": "ampere microampere milliampere",
        "DataRateUnit": (
            "bitPerSecond bytePerSecond exbibitPerSecond exbibytePerSecond gibibitPerSecond "
            "gibibytePerSecond kibibitPerSecond kibibytePerSecond mebibitPerSecond mebibytePerSecond "
            "tebibitPerSecond tebibytePerSecond yobibitPerSecond yobibytePerSecond zebibitPerSecond "
            "zebibytePerSecond"
        ),
        "DataSizeUnit": (
            "bit byte exbibit exbibyte gibibit gibibyte kibibit kibibyte mebibit mebibyte tebibit "
            "tebibyte yobibit yobibyte zebibit zebibyte"
        ),
        "DensityUnit": "gramPerCubicMetre kilogramPerCubicMetre",
        "EnergyUnit": "electronvolt gigajoule joule kilojoule kilowattHour megaelectronvolt megajoule",
        "ForceUnit": "newton ounce pound ton",
        "FrequencyUnit": "gigahertz hertz kilohertz megahertz",
        "IlluminanceUnit": "footcandle lux",
        "InductanceUnit": "henry microhenry millihenry",
        "LengthUnit": (
            "astronomicalUnit centimetre foot inch kilometre metre micrometre mile millimetre nanometre nauticalMile"
        ),
        "LuminanceUnit": "candelaPerSquareMetre",
        "LuminousFluxUnit": "lumen",
        "LuminousIntensityUnit": "candela",
        "MagneticFluxUnit": "maxwell weber",
        "MagneticInductionUnit": "tesla",
        "MassFlowRateUnit": "gramPerHour gramPerSecond kilogramPerHour kilogramPerSecond",
        "MassUnit": "gram kilogram microgram milligram slug tonne",
        "PowerUnit": "gigawatt horsepower kilowatt kilowattHourPerYear megawatt microwatt milliwatt watt",
        "PressureUnit": (
            "bar inchesOfMercury inchesOfWater kilopascal millibar millimetresOfMercury pascal poundPerSquareInch"
        ),
        "ResistanceUnit": "kiloohm megaohm milliohm ohm",
        "SoundPressureUnit": "bel decibel",
        "TemperatureUnit": "degreeCelsius degreeFahrenheit kelvin",
        "TimeUnit": "day hour microsecond millisecond minute nanosecond second year",
        "TorqueUnit": "newtonMetre",
        "Unitless": "percent unity",
        "VelocityUnit": (
            "centimetrePerSecond kilometrePerHour kilometrePerSecond knot metrePerHour metrePerSecond "
            "milePerHour milePerSecond"
        ),
        "VoltageUnit": "kilovolt megavolt microvolt millivolt volt",
        "VolumeFlowRateUnit": "litrePerHour litrePerSecond millilitrePerHour millilitrePerSecond",
        "VolumeUnit": "cubicCentimetre cubicFoot cubicInch cubicMetre fluidOunce gallon litre millilitre",
    }.items()
}
"""Units by family, in both versions."""

_ADDED_UNITS: Mapping[str, tuple[str, ...]] = {
    family: tuple(units.split())
    for family, units in {
        "ApparentEnergyUnit": "gigavoltAmpereHour kilovoltAmpereHour megavoltAmpereHour voltAmpereHour",
        "ApparentPowerUnit": "gigavoltAmpere kilovoltAmpere megavoltAmpere millivoltAmpere voltAmpere",
        "ChargeUnit": "ampereHour milliampereHour",
        "CurrentUnit": "kiloampere",
        "DensityUnit": "microgramPerCubicMetre milligramPerCubicMetre",
        "EnergyUnit": (
            "britishThermalUnit gigawattHour kiloBritishThermalUnit megawattHour milliwattHour terawattHour wattHour"
        ),
        "FrequencyUnit": "millihertz",
        "IonizingRadiationDoseUnit": "gray microgray microsievert milligray millisievert sievert",
        "IrradianceUnit": "wattPerSquareMetre",
        "MagneticInductionUnit": "gauss",
        "MassFlowRateUnit": "massPoundPerHour",
        "MassUnit": "massPound",
        "PowerUnit": (
            "britishThermalUnitPerHour gigajoulePerHour joulePerHour joulePerSecond "
            "kiloBritishThermalUnitPerHour kilojoulePerHour kilojoulePerSecond megajoulePerHour "
            "tonOfRefrigeration"
        ),
        "PressureUnit": "decapascal hectopascal",
        "RadioactivityUnit": "becquerel gigabecquerel kilobecquerel megabecquerel",
        "ReactiveEnergyUnit": (
            "gigavoltAmpereReactiveHour kilovoltAmpereReactiveHour megavoltAmpereReactiveHour voltAmpereReactiveHour"
        ),
        "ReactivePowerUnit": (
            "gigavoltAmpereReactive kilovoltAmpereReactive megavoltAmpereReactive "
            "millivoltAmpereReactive voltAmpereReactive"
        ),
        "Unitless": "partsPerBillion partsPerMillion partsPerQuadrillion partsPerTrillion",
        "VolumeFlowRateUnit": (
            "cubicFootPerMinute cubicMetrePerHour cubicMetrePerMinute cubicMetrePerSecond gallonPerHour "
            "gallonPerMinute litrePerMinute millilitrePerMinute"
        ),
    }.items()
}
"""Units that only version 3 has."""

_TYPES: Mapping[str, tuple[str, ...]] = {
    family: tuple(units.split())
    for family, units in {
        "AccelerationUnit": "Acceleration",
        "AngleUnit": "Angle Latitude Longitude",
        "AngularAccelerationUnit": "AngularAcceleration",
        "AngularVelocityUnit": "AngularVelocity",
        "AreaUnit": "Area",
        "CapacitanceUnit": "Capacitance",
        "ChargeUnit": "ElectricCharge",
        "CurrentUnit": "Current",
        "DataRateUnit": "DataRate",
        "DataSizeUnit": "DataSize",
        "DensityUnit": "Density Humidity",
        "EnergyUnit": "Energy",
        "ForceUnit": "Force Thrust",
        "FrequencyUnit": "Frequency",
        "IlluminanceUnit": "Illuminance",
        "InductanceUnit": "Inductance",
        "LengthUnit": "Distance Length",
        "LuminanceUnit": "Luminance",
        "LuminousFluxUnit": "LuminousFlux",
        "LuminousIntensityUnit": "LuminousIntensity",
        "MagneticFluxUnit": "MagneticFlux",
        "MagneticInductionUnit": "MagneticInduction",
        "MassFlowRateUnit": "MassFlowRate",
        "MassUnit": "Mass",
        "PowerUnit": "Luminosity Power",
        "PressureUnit": "Pressure",
        "ResistanceUnit": "Resistance",
        "SoundPressureUnit": "SoundPressure",
        "TemperatureUnit": "Temperature",
        "TimeUnit": "TimeSpan",
        "TorqueUnit": "Torque",
        "Unitless": "RelativeHumidity",
        "VelocityUnit": "Velocity",
        "VoltageUnit": "Voltage",
        "VolumeFlowRateUnit": "VolumeFlowRate",
        "VolumeUnit": "Volume",
    }.items()
}
"""Semantic types by the family of their units, in both versions."""

_ADDED_TYPES: Mapping[str, tuple[str, ...]] = {
    family: tuple(units.split())
    for family, units in {
        "ApparentEnergyUnit": "ApparentEnergy",
        "ApparentPowerUnit": "ApparentPower",
        "IonizingRadiationDoseUnit": "IonizingRadiationDose",
        "IrradianceUnit": "Irradiance",
        "PowerUnit": "EnergyRate",
        "RadioactivityUnit": "Radioactivity",
        "ReactiveEnergyUnit": "ReactiveEnergy",
        "ReactivePowerUnit": "ReactivePower",
        "Unitless": "Concentration RelativeDensity",
    }.items()
}
"""Semantic types that only version 3 has."""


def _family_by_type(*tables: Mapping[str, tuple[str, ...]]) -> Mapping[str, str]:
    return {name: family for table in tables for family, names in table.items() for name in names}


def _units_by_family(*tables: Mapping[str, tuple[str, ...]]) -> Mapping[str, frozenset[str]]:
    families = {family for table in tables for family in table}
    return {family: frozenset(unit for table in tables for unit in table.get(family, ())) for family in families}


UNIT_FAMILY: Mapping[int, Mapping[str, str]] = {
    2: _family_by_type(_TYPES),
    3: _family_by_type(_TYPES, _ADDED_TYPES),
}
"""The family of units of each semantic type, by version of the language."""

UNITS: Mapping[int, Mapping[str, frozenset[str]]] = {
    2: _units_by_family(_UNITS),
    3: _units_by_family(_UNITS, _ADDED_UNITS, {"EnergyRateUnit": _UNITS["PowerUnit"] + _ADDED_UNITS["PowerUnit"]}),
}
"""The units of each family, by version of the language."""
