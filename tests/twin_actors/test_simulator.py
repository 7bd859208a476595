"""The simulator, for some seeds; ``python -m tests.twin_actors.simulator`` plays any number of them."""

import ast
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.twin_actors.simulator.__main__ import play
from tests.twin_actors.simulator.ledger import Broken
from tests.twin_actors.simulator.services import Storage
from tests.twin_actors.simulator.simulation import Simulation
from tests.twin_actors.simulator.weather import Fault
from twin_actors.errors import TwinfoldError

ROOT = Path(__file__).parents[2]
SEEDS = range(30)
STEPS = 120


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The runtime warns of every fault."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_no_seed_breaks_a_promise() -> None:
    """And together they meet every kind of fault, and everything that the runtime does about them."""
    met: Counter[str] = Counter()
    for seed in SEEDS:
        try:
            met += play(seed, STEPS)[1]
        except BaseException as error:
            error.add_note(f"python -m tests.twin_actors.simulator --seed {seed} --steps {STEPS}")
            raise
    for name in (
        *(f"fault: {fault}" for fault in Fault),
        *("claims", "takeovers", "fenced", "seals", "snapshots", "kills", "pauses", "cancellations", "overlaps"),
        *("healed", "lost", "forwarded", "resent", "replayed", "dead letters: turn_failed", "orders", "sweeps"),
        *("commands by rules", "commands by apps", "requests_repeated", "late arrivals", "memories checked"),
        *("tells", "told", "timers", "timers_failed", "hubs made anew", "partitionstopped", "rebases", "forwards_lost"),
        *("twins cooled", "twins warmed", "deleted", "twins that came back"),
    ):
        assert met[name], f"{name}: never, in {len(SEEDS)} seeds"


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    """Whatever the hashes of strings are; and another seed gives another one."""
    seeds = "from tests.twin_actors.simulator.__main__ import play; print(*(play(seed, 60)[0] for seed in (3, 4, 3)))"
    traces = [
        subprocess.run(
            [sys.executable, "-c", seeds],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert traces[0][0] == traces[0][2] != traces[0][1]


class Careless(Storage):
    """Storage that does not look where a record goes: two owners, and no one knows."""

    async def append(self, path: str, position: int, data: bytes) -> None:  # noqa: ARG002  that is the fault
        """Append at the end."""
        await super().append(path, len(self._segments[path]), data)


def test_a_broken_promise_is_found_and_found_again() -> None:
    """What a seed finds, the same seed finds again, at the same place."""
    found: list[str] = []
    for seed in range(20):
        for _ in range(2):
            simulation = Simulation(seed, STEPS)
            simulation.services.storage = Careless(simulation.books)
            try:
                simulation.run()
            except (Broken, TwinfoldError) as error:
                found.append(f"{simulation.loop.time()} {error}")
        if found:
            break
    assert len(found) == 2
    assert found[0] == found[1]


def test_the_runtime_reads_no_clock_and_draws_nothing() -> None:
    """What the simulator cannot replay must not be in the runtime: time, chance and threads are passed in."""
    passed_in = {"time", "random", "threading", "secrets", "multiprocessing", "concurrent"}
    edges = {"clock.py", "settings.py", "__main__.py"}
    modules = [path for path in (ROOT / "twin_actors").glob("*.py") if path.name not in edges]
    modules += (ROOT / "twin_actors").glob("*/memory.py")
    assert len(modules) > 30
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not passed_in & {name.partition(".")[0] for name in names}, f"{path.name} imports {names}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"now", "utcnow", "today"} or _is_clock(node), (
                    f"{path.name}: {ast.unparse(node)}"
                )


def _is_clock(node: ast.Attribute) -> bool:
    """Whether an attribute belongs to a clock that was passed in."""
    return ast.unparse(node.value).endswith("clock")
