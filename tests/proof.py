"""``python -m tests.proof [--minutes M] [--seeds A..B]``: the long proofs, and what they covered.

The exit code is 1 where any failed; the last lines then play it again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.budget import Report, span

REPOSITORY = Path(__file__).parents[1]
PROOFS = 5
"""So many tests take a share of the time: each plays seeds until it is used up."""


class Part(NamedTuple):
    """A program, and its share of the time."""

    name: str
    share: float
    command: list[str]


def main(arguments: list[str] | None = None) -> int:
    """Run everything, whatever fails, and tell what was covered."""
    options = _options(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        reports_file = Path(folder, "reports")
        failed = [part.name for part in _parts(options) if _run(part, options, reports_file)]
        lines = reports_file.read_bytes().splitlines() if reports_file.exists() else []
    reports = [msgspec.json.decode(line, type=Report) for line in lines]
    _tell(reports, failed, time.monotonic() - started)
    return 1 if failed else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--minutes", type=float, default=12.0, help="for all of it; what has begun is finished")
    parser.add_argument("--seeds", type=span, default=span("1..100000"), help="A..B, both included")
    return parser.parse_args(arguments)


def _parts(options: argparse.Namespace) -> list[Part]:
    seeds = f"{options.seeds[0]}..{options.seeds[-1]}"
    simulator = ["-m", "tests.twin_actors.simulator", "--seeds", seeds, "--minutes", str(0.2 * options.minutes)]
    planted = ["-m", "tests.twin_actors.planted", "--seconds", str(24.0 * options.minutes)]
    return [
        Part("simulator", 0.2, simulator),
        Part("planted bugs", 0.4, planted),
        Part("tests", 0.4, ["-m", "pytest", "-v", "--durations=25", "-m", "proof", "-p", "no:cacheprovider"]),
    ]


def _run(part: Part, options: argparse.Namespace, reports: Path) -> bool:
    """Run a part with its share; return whether it failed."""
    seconds = 60.0 * options.minutes * part.share
    sys.stdout.write(f"proof: {part.name}, about {seconds:.0f} s\n")
    sys.stdout.flush()
    environment = {
        **os.environ,
        "PROOF_SEEDS": f"{options.seeds[0]}..{options.seeds[-1]}",
        "PROOF_SECONDS": str(seconds / PROOFS),
        "PROOF_REPORT": str(reports),
    }
    return subprocess.run([sys.executable, *part.command], cwd=REPOSITORY, env=environment, check=False).returncode != 0


def _tell(reports: list[Report], failed: list[str], seconds: float) -> None:
    """Print what was covered, what time has cut, and how to play again what failed."""
    lines = [f"proof: covered in {seconds:.0f} s, besides what the simulator says above:"]
    for report in reports:
        cut = ", cut by time" if report.is_cut else ""
        lines.append(f"  {report.name}: seeds {report.first}..{report.last}{cut}, {report.seconds:.0f} s")
        lines += [f"    {count:8d}  {name}" for name, count in sorted(report.counts.items())]
    lines += [f"  FAILED, again: {report.reproduce}" for report in reports if report.reproduce]
    lines.append(f"proof: {f'FAILED: {", ".join(failed)}' if failed else 'all held'}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
