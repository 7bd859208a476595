"""Devices over the genuine device SDK: simulated pumps, and recordings that play as a device."""

from local_emulator.devices.fleet import PumpFleet
from local_emulator.devices.mapping import Mapping, load_mapping
from local_emulator.devices.replay import ReplayReport, replay

__all__ = ["Mapping", "PumpFleet", "ReplayReport", "load_mapping", "replay"]
