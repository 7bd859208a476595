"""The kinds of twins: one folder each, found by `twin_actors.registry`."""
