"""Plant each bug in a copy, and see that the named test and the simulator find it."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.twin_actors.planted.bugs import BUGS, Bug
from tests.twin_actors.planted.copying import copy, misfit, plant, run

SIMULATOR = "tests.twin_actors.simulator"
FAILED = 1
"""What pytest and the simulator return when they have found something; anything else is no finding."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all, or the bugs whose names contain a word; return 1 where one was not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.twin_actors.planted", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only bugs whose names contain this")
    parser.add_argument("--by", choices=("test", "simulator", "both"), default="both", help="what must find them")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no bug is begun after so many")
    options = parser.parse_args(arguments)
    bugs = [bug for bug in BUGS if options.word in bug.name]
    started, faults, done = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "clean"
        copy(clean)
        faults += _clean_run(clean, bugs, options.by)
        for number, bug in enumerate(bugs):
            if time.monotonic() - started > options.seconds:
                break
            root = Path(folder) / str(number)
            shutil.copytree(clean, root, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            found = _hunt(bug, root, options.by)
            shutil.rmtree(root)
            missed = "" if all(found.values()) else "  NOT CAUGHT"
            faults += bool(missed)
            done += 1
            words = ", ".join(f"{by}: {how or 'nothing'}" for by, how in found.items())
            print(f"{done}/{len(bugs)} {bug.name}: {words}{missed}", flush=True)  # noqa: T201  the report
    print(f"planted bugs: {done} of {len(bugs)} tried, {faults} faults, {time.monotonic() - started:.0f} s")  # noqa: T201
    return 1 if faults else 0


def _clean_run(root: Path, bugs: Sequence[Bug], by: str) -> int:
    """Run in the copy without a bug what must fail in the others; return the number of failures."""
    faults = 0
    if by != "simulator":
        tests = sorted({bug.test for bug in bugs})
        result = run(root, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
        print(f"no bug, {len(tests)} named tests: {result.stdout.strip().splitlines()[-1]}", flush=True)  # noqa: T201
        faults += result.returncode != 0
    if by != "test":
        seeds = max((bug.seeds for bug in bugs), default=1)
        result = run(root, "-m", SIMULATOR, "--seeds", f"0..{seeds}")
        passed = "all well" if result.returncode == 0 else (result.stdout + result.stderr)[-2000:]
        print(f"no bug, seeds 0..{seeds}: {passed}", flush=True)  # noqa: T201  the report
        faults += result.returncode != 0
    return faults


def _hunt(bug: Bug, root: Path, by: str) -> dict[str, str]:
    """Plant a bug; return who found it how, an empty text where nobody did."""
    for change in bug.changes:
        reason = misfit(change, root)
        if reason:
            return {"planting": ""} | {reason: ""}
        plant(change, root)
    found: dict[str, str] = {}
    if by != "simulator":
        result = run(root, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", bug.test)
        found["test"] = _failed_test(result.stdout) if result.returncode == FAILED else ""
    if by != "test":
        result = run(root, "-m", SIMULATOR, "--seeds", f"0..{bug.seeds}")
        last = (result.stdout.strip().splitlines() or [""])[-1]
        found["simulator"] = last if result.returncode == FAILED else ""
    return found


def _failed_test(output: str) -> str:
    failed = [line for line in output.splitlines() if line.startswith("FAILED ")]
    return failed[0].removeprefix("FAILED ").partition(" - ")[0] if failed else ""


if __name__ == "__main__":
    sys.exit(main())
