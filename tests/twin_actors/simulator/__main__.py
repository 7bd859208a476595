"""``python -m tests.twin_actors.simulator [--seed N | --seeds A..B] [--steps N] [--minutes M] [-v]``.

The exit code is 0 where every promise held, 1 where one was broken: the last line then reproduces it.
"""

import argparse
import gc
import logging
import signal
import sys
import time
import traceback
from collections import Counter

from tests.twin_actors.simulator.simulation import Simulation
from tests.twin_actors.simulator.weather import Fault

STEPS = 200
RARE = (
    *("kills", "pauses", "cancellations", "overlaps", "expiries", "lost", "healed", "seals", "snapshots", "takeovers"),
    *("tells", "told", "timers", "timers_failed", "dead letters: too_many_hops"),
    *("twins cooled", "twins warmed", "deleted", "twins that came back"),
    *("hubs made anew", "partitionstopped", "rebases", "forwards_lost"),
)


SEED_SECONDS = 120
"""What one seed may take: a runtime that goes in circles without waiting for anything is broken as well."""


class Endless(Exception):
    """The runtime goes in circles."""


def _end(_signal: int, _frame: object) -> None:
    raise Endless(f"nothing came of {SEED_SECONDS} s")


def play(seed: int, steps: int, *, is_verbose: bool = False) -> tuple[str, Counter[str]]:
    """Play one seed; return what tells its trace from others, and what happened in it."""
    simulation = Simulation(seed, steps, is_verbose=is_verbose)
    trace = simulation.run()
    return trace, simulation.books.counts


def main(arguments: list[str] | None = None) -> int:
    """Play seeds until one breaks a promise, or time is up."""
    options = _options(arguments)
    logging.disable(logging.NOTSET if options.verbose else logging.CRITICAL)
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="           %(levelname)s %(message)s", stream=sys.stdout)
    gc.freeze()
    signal.signal(signal.SIGALRM, _end)
    started, played = time.monotonic(), 0
    totals: Counter[str] = Counter()
    for seed in options.seeds:
        if options.minutes is not None and time.monotonic() - started > 60.0 * options.minutes:
            break
        signal.alarm(SEED_SECONDS)
        try:
            trace, counts = play(seed, options.steps, is_verbose=options.verbose)
        except Exception as error:  # noqa: BLE001  whatever a broken runtime raises
            traceback.print_exception(error, file=sys.stdout)
            _say(f"seed {seed}: {type(error).__name__}: {error}")
            _say(f"python -m tests.twin_actors.simulator --seed {seed} --steps {options.steps}")
            return 1
        totals.update(counts)
        played += 1
        if options.verbose:
            _say(f"seed {seed}: trace {trace}")
    signal.alarm(0)
    _report(totals, played, options.steps, time.monotonic() - started)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.twin_actors.simulator", description=__doc__)
    parser.add_argument("--seed", dest="seeds", type=lambda text: range(int(text), int(text) + 1), help="one seed")
    parser.add_argument("--seeds", type=_span, help="A..B, both included")
    parser.add_argument("--steps", type=int, default=STEPS, help="what happens before faults stop")
    parser.add_argument("--minutes", type=float, help="no seed begins later")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the trace")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or range(100)
    return options


def _span(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first), int(last) + 1)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _report(totals: Counter[str], played: int, steps: int, seconds: float) -> None:
    """Print what was covered; what never happened is named."""
    for name in (*(f"fault: {fault}" for fault in Fault), *RARE):
        totals.setdefault(name, 0)
    for name in sorted(totals):
        _say(f"{totals[name]:9d}  {name}" + ("" if totals[name] else "  NEVER"))
    _say(f"{played} seeds of {steps} steps in {seconds:.1f} s ({played / max(seconds, 1e-9):.1f} a second): all held")


if __name__ == "__main__":
    sys.exit(main())
