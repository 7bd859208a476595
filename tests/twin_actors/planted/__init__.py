"""Known bugs, planted one at a time in a copy of the runtime: each must be caught by a named test and by the simulator.

A proof that catches nothing proves nothing. ``python -m tests.twin_actors.planted`` makes the copies, runs the named
tests and the simulator in each, and in a copy without a bug, which must pass the same run.
"""
