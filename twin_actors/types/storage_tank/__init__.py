"""An upright cylindrical tank with metered inflow and outflow: what it holds, what it loses, when it is full."""
