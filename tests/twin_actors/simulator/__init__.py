"""The deterministic simulator: the real runtime, many workers in one process, everything around it in memory.

``python -m tests.twin_actors.simulator --seed 17`` plays one seed: what devices, apps, hosts and faults do is drawn
from it, time is virtual, and the same seed gives the same trace everywhere. From top to bottom: `__main__` plays
seeds, `simulation` plays one, `schedule` draws what happens, `host` is Azure Functions, `network` is what lies between
a worker and the services, `services` are the services, `ledger` holds every record against the promises, `reference`
says in plain code what the events of a partition mean, `loop` is time.
"""
