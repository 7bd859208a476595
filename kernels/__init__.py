"""Physics: numpy arrays in, numpy arrays out; no I/O, no clock, no logging."""
