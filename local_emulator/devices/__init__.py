"""Devices over the genuine device SDK: simulated pumps, and recordings that play as a device."""
