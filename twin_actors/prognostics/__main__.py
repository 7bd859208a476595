"""Trains and tries RUL models.

    python -m twin_actors.prognostics train pump       # a minute or two on one core; writes types/pump/rul.json
    python -m twin_actors.prognostics evaluate pump    # tries the RUL model that is there, on a fleet outside training

The same command gives the same model. A twin type that has one has a ``histories.py``, see `Course`.
"""

import argparse
import hashlib
import importlib
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

import kernels
from twin_actors.prognostics import linear_trend
from twin_actors.prognostics.artefact import Artefact, Trial, load, name_of, path_of, save
from twin_actors.prognostics.evaluation import alive, table, trial
from twin_actors.prognostics.histories import Course
from twin_actors.prognostics.model import RulModel
from twin_actors.prognostics.training import learn

UNITS, TEST_UNITS, SEED = 300, 120, 1
CHECK_UNITS = 8
"""Of the small fleet with which a test sees in seconds that the numbers still hold."""


NO_TRIAL = Trial(0, 0, {}, {})


class Size(NamedTuple):
    """What to learn, and from how much."""

    twin_type: str
    units: int
    test_units: int
    seed: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        course = cast("Course", importlib.import_module(f"twin_actors.types.{options.type}.histories"))
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("twin_actors.types."):
            raise
        sys.stderr.write(f"{options.type}: there is no twin_actors/types/{options.type}/histories.py to learn from\n")
        return 2
    if options.command == "train":
        size = Size(options.type, options.units, options.test_units, options.seed)
        train(course, size, options.out or path_of(options.type))
        return 0
    try:
        artefact = load(path_of(options.type))
    except FileNotFoundError:
        sys.stderr.write(f"{options.type} has no RUL model yet: train it first\n")
        return 1
    test = tried(course, artefact, options.test_units, options.seed)
    sys.stdout.write(f"{artefact.name} on {test.units} units outside training, seed {test.seed}\n{table(test)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m twin_actors.prognostics", description="RUL models.")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="learn from simulated histories of failure")
    training.add_argument("--units", type=int, default=UNITS, help=f"to learn from; {UNITS} unless told")
    training.add_argument("--out", type=Path, help="file to write; the type's rul.json unless told")
    evaluation = commands.add_parser("evaluate", help="try the RUL model on a fleet outside training")
    for command in (training, evaluation):
        command.add_argument("type", help="twin type, such as pump")
        command.add_argument("--test-units", type=int, default=TEST_UNITS, help=f"{TEST_UNITS} unless told")
        command.add_argument("--seed", type=int, default=SEED, help=f"{SEED} unless told")
    return parser


def train(course: Course, size: Size, out: Path) -> Artefact:
    """Learn a RUL model, try it, and write it with its papers."""
    started = time.monotonic()
    fleet = course.training_fleet(size.units, size.seed)
    _say(started, f"{size.units} units run to failure, {len(fleet.remaining)} rows")
    learned = learn(fleet, course.WORSE, size.seed)
    _say(started, f"learned with {learned.choice}")
    rows = fleet.remaining > 0.0
    line = linear_trend.choose(fleet.chosen(rows))
    validated = trial(fleet.chosen(rows), learned.unseen[rows], line, units=size.units, seed=size.seed)
    _say(started, f"cross-validated over units\n{table(validated)}")
    untried = Artefact(
        name=name_of(size.twin_type, course.FEATURE_NAMES, learned.bounds, learned.estimate, learned.spread),
        twin_type=size.twin_type,
        command=f"python -m twin_actors.prognostics train {size.twin_type}"
        f" --units {size.units} --test-units {size.test_units} --seed {size.seed}",
        code=code_hash(size.twin_type),
        versions={"python": platform.python_version(), **{name: version(name) for name in ("lightgbm", "numpy")}},
        features=course.FEATURE_NAMES,
        choice=learned.choice,
        bounds=learned.bounds,
        linear_trend=line,
        cross_validation=validated,
        test=NO_TRIAL,
        check=NO_TRIAL,
        estimate=learned.estimate,
        spread=learned.spread,
    )
    test = tried(course, untried, size.test_units, size.seed)
    _say(started, f"outside training\n{table(test)}")
    check = tried(course, untried, CHECK_UNITS, size.seed + 1)
    artefact = msgspec.structs.replace(untried, test=test, check=check)
    save(artefact, out)
    _say(started, f"{artefact.name} written to {out}, {out.stat().st_size // 1000} kB")
    return artefact


def tried(course: Course, artefact: Artefact, units: int, seed: int) -> Trial:
    """Try a RUL model on a fleet outside training."""
    fleet = alive(course.test_fleet(units, seed))
    return trial(fleet, RulModel(artefact).predict(fleet.features), artefact.linear_trend, units=units, seed=seed)


def code_hash(twin_type: str) -> str:
    """Return a hash of the sources that a RUL model of the type is made by: of what it is told, and of how."""
    home, physics = Path(__file__).parents[1], Path(str(kernels.__file__)).parent
    sources = [
        *home.joinpath("prognostics").glob("*.py"),
        *(file for file in home.joinpath("types", twin_type).glob("*.py") if file.name != "rules.py"),  # asks no model
        *(home / name for name in ("turn.py", "quality.py")),
        *physics.glob("*.pyx"),  # not deployed, and not needed where nothing is learned
    ]
    digest = hashlib.sha256()
    for source in sorted(sources, key=lambda path: path.parts[-2:]):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _say(started: float, text: str) -> None:
    sys.stdout.write(f"{time.monotonic() - started:6.1f} s  {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
