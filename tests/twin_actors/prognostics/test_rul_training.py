"""Training: the same fleet gives the same model, no unit is on both sides, and the command does all of it."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from twin_actors.prognostics import __main__ as command
from twin_actors.prognostics import training
from twin_actors.prognostics.artefact import Bounds, load
from twin_actors.prognostics.histories import Histories, Watch
from twin_actors.types.pump import histories as course


def fading_fleet(units: int, seed: int) -> Histories:
    """Units of which one feature says what is left, up to a factor of the unit's own; the other says nothing."""
    random = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), 60)
    remaining = random.uniform(0.0, 1000.0, unit.size)
    told = np.log(10.0 + remaining) + random.normal(0.0, 0.3, units)[unit]
    watch = Watch(np.zeros(1), np.ones(1), "age")
    features = np.stack([told, random.normal(size=unit.size)], axis=1)
    return Histories(features, remaining, unit, np.zeros_like(unit), [watch] * units)


def test_bounds_hold_on_units_that_nobody_has_seen() -> None:
    """As often as meant, within the scatter of a hundred new units."""
    learned = training.learn(fading_fleet(120, 1), (1, 0), 1)
    fresh = fading_fleet(100, 2)
    import lightgbm

    target, spread = (
        np.asarray(lightgbm.Booster(model_str=text).predict(fresh.features))
        for text in (learned.estimate, learned.spread)
    )
    days = learned.bounds.days(target, spread)
    held = (days[:, 1] <= fresh.remaining) & (fresh.remaining <= days[:, 2])
    assert held.mean() == pytest.approx(training.NOMINAL_COVERAGE, abs=0.06)
    assert np.mean((days[:, 2] - days[:, 1])[fresh.remaining < 50.0]) < 150.0, "near the end they are near"


def test_no_unit_is_on_both_sides() -> None:
    """A feature that names the unit helps nobody: cross-validation must not see a unit that it learned from."""
    random = np.random.default_rng(4)
    unit = np.repeat(np.arange(100), 50)
    luck = random.uniform(20.0, 1800.0, 100)
    fleet = Histories(
        luck[unit, np.newaxis] * 0.0 + unit[:, np.newaxis],
        luck[unit],
        unit,
        np.zeros_like(unit),
        [Watch(np.zeros(1), np.ones(1), "luck")] * 100,
    )
    learned = training.learn(fleet, (0,), 1)
    error = np.log(10.0 + learned.unseen[:, 0]) - np.log(10.0 + fleet.remaining)
    assert error.std() > 0.8 * np.log(10.0 + luck).std()
    folds = training._folds(unit, 1)
    assert all(len(set(folds[unit == one].tolist())) == 1 for one in range(100))
    assert np.bincount(folds).tolist() == [1000] * training.FOLDS


def test_bounds_are_on_their_sides_and_never_narrower_than_something() -> None:
    """Whatever the ensembles say: also that the error is negative."""
    days = Bounds(-1.5, 2.0, 0.9).days(np.array([math.log(10.0), 5.0, 50.0, -50.0]), np.array([0.1, -3.0, 0.1, 0.1]))
    assert np.all((days[:, 1] <= days[:, 0]) & (days[:, 0] <= days[:, 2]))
    assert days[1, 1] < days[1, 0] < days[1, 2]
    assert days[0, 0] == pytest.approx(0.0, abs=1e-9)
    assert days[2].tolist() == [1825.0] * 3
    assert days[3].tolist() == [0.0] * 3


def test_the_command_gives_the_same_model_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A small fleet, from simulation to file, twice: every byte of it; another seed gives another model."""
    files = [tmp_path / name for name in ("first.json", "again.json")]
    for file in files:
        assert command.main(["train", "pump", "--units", "8", "--test-units", "2", "--out", str(file)]) == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    artefact = load(files[0])
    assert artefact.command.endswith("train pump --units 8 --test-units 2 --seed 1")
    assert artefact.code == command.code_hash("pump")
    assert artefact.cross_validation.model["all"].rows > 8 * 40
    shown = capsys.readouterr().out
    assert "8 units run to failure" in shown
    assert f"{artefact.name} written to {files[1]}" in shown


def test_another_seed_gives_another_fleet() -> None:
    """And the same seed the same, to the bit; training and test fleets of one seed have nothing in common."""
    first, again, other = (course.training_fleet(2, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.features, again.features, equal_nan=True)
    assert first.features.shape != other.features.shape or not np.array_equal(first.features, other.features)
    blank = np.isnan(first.features[:, course.RATE_COLUMNS]).all(axis=1)
    assert 0.2 < blank.mean() < 0.9, "rows of pumps that were just met are among them"
    assert np.all(first.remaining >= 0.0)
    assert (first.remaining == 0.0).any(), "and rows of pumps beyond their end"


def test_each_unit_counts_the_same() -> None:
    """However many rows it has."""
    unit = np.array([0, 0, 0, 2])
    fleet = Histories(np.zeros((4, 1)), np.ones(4), unit, unit, [])
    assert fleet.weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])


def test_the_deployed_model_is_tried_by_command(capsys: pytest.CaptureFixture[str]) -> None:
    """With its name, so that a table can be put beside a prediction."""
    assert command.main(["evaluate", "pump", "--test-units", "2", "--seed", "9"]) == 0
    shown = capsys.readouterr().out
    assert "pump-rul-" in shown
    assert "on 2 units outside training, seed 9" in shown
    assert "under 30 days" in shown


@pytest.mark.parametrize("twin_type", ["storage_tank", "no_such_type"])
def test_a_type_without_histories_cannot_be_trained(twin_type: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And is told what it lacks."""
    assert command.main(["train", twin_type]) == 2
    assert f"types/{twin_type}/histories.py" in capsys.readouterr().err


def test_artefacts_of_another_shape_are_refused(tmp_path: Path) -> None:
    """A file that lacks a part is no model."""
    file = tmp_path / "rul.json"
    file.write_text('{"name": "pump-rul-1"}', encoding="utf-8")
    with pytest.raises(msgspec.ValidationError):
        load(file)
