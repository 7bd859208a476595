"""A wind turbine of 15,000 signals at once: which of them have left what is usual for them, and how many fail."""
