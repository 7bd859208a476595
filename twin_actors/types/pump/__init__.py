"""A centrifugal water pump with its motor: physics beside measurement, health from the difference."""
