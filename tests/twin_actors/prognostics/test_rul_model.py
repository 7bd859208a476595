"""The pump's RUL model as it is kept: what it promises of any answer, and the numbers that stand in its papers."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_emulator.devices.pumps import PumpGroup
from tests.twin_actors.twin_contract import START
from twin_actors.prognostics.artefact import MOST_DAYS, Scores, Trial, name_of, path_of
from twin_actors.prognostics.evaluation import alive, table, trial
from twin_actors.prognostics.histories import Histories
from twin_actors.prognostics.model import RulModel, rul_model
from twin_actors.turn import gather
from twin_actors.types.pump import histories as course
from twin_actors.types.pump.trend import FEATURE_NAMES
from twin_actors.types.pump.twin import features

REPOSITORY = Path(__file__).parents[3]
NAN = math.nan

numbers = st.one_of(st.just(NAN), st.floats(-100.0, 100.0), st.floats())


@pytest.fixture(scope="module")
def pump_model() -> RulModel:
    """The RUL model that is deployed."""
    model = rul_model("pump")
    assert model is not None
    return model


@pytest.fixture(scope="module")
def checked(pump_model: RulModel) -> tuple[Histories, npt.NDArray[np.float64], Trial]:
    """A small fleet outside training, what the model says of it, and its scores: made again, not read."""
    check = pump_model.artefact.check
    fleet = alive(course.test_fleet(check.units, check.seed))
    predicted = pump_model.predict(fleet.features)
    line = pump_model.artefact.linear_trend
    return fleet, predicted, trial(fleet, predicted, line, units=check.units, seed=check.seed)


def close(scores: Scores) -> list[object]:
    """Scores as they must be met: where a machine rounds otherwise, single rows may fall on another side of a split."""
    return [
        pytest.approx(scores.rows, abs=2),
        pytest.approx(scores.mean_absolute_days, rel=0.02, abs=1.0),
        pytest.approx(scores.root_mean_square_days, rel=0.02, abs=1.0),
        None if scores.coverage is None else pytest.approx(scores.coverage, abs=0.02),
        None if scores.width_days is None else pytest.approx(scores.width_days, rel=0.02, abs=1.0),
    ]


def test_its_papers_still_hold(pump_model: RulModel, checked: tuple[Histories, object, Trial]) -> None:
    """Errors and coverage on the small fleet are those that were written down when it was trained."""
    recorded, again = pump_model.artefact.check, checked[2]
    for now, then in ((again.model, recorded.model), (again.linear_trend, recorded.linear_trend)):
        assert set(now) == set(then)
        for part, scores in now.items():
            found = [getattr(scores, name) for name in scores.__struct_fields__]
            assert found == close(then[part]), part


def test_stated_coverage_is_the_part_of_the_truth_between_the_bounds(
    checked: tuple[Histories, npt.NDArray[np.float64], Trial],
) -> None:
    """Counted here unit by unit, the other way round."""
    fleet, predicted, tried = checked
    shares = []
    for unit in np.unique(fleet.unit):
        rows = np.flatnonzero(fleet.unit == unit)
        held = [predicted[row, 1] <= min(fleet.remaining[row], MOST_DAYS) <= predicted[row, 2] for row in rows]
        shares.append(sum(held) / len(held))
    assert tried.model["all"].coverage == pytest.approx(np.mean(shares), abs=1e-4)


def test_it_beats_the_straight_line(pump_model: RulModel, checked: tuple[Histories, object, Trial]) -> None:
    """In every part of the large fleet when it was trained, and now on the small one, over all of it."""
    test = pump_model.artefact.test
    for part in ("all", "under 180 days", "under 30 days"):
        assert test.model[part].mean_absolute_days < test.linear_trend[part].mean_absolute_days, part
        assert test.model[part].root_mean_square_days < test.linear_trend[part].root_mean_square_days, part
    model, line = checked[2].model["all"], checked[2].linear_trend["all"]
    assert model.mean_absolute_days < line.mean_absolute_days
    assert model.root_mean_square_days < line.root_mean_square_days
    assert pump_model.artefact.test.units >= 100


def test_bounds_hold_as_often_as_meant_on_units_like_those_of_training(pump_model: RulModel) -> None:
    """By cross-validation; outside training they hold less often, and the papers say how often."""
    artefact = pump_model.artefact
    meant = artefact.bounds.nominal_coverage
    assert artefact.cross_validation.model["all"].coverage == pytest.approx(meant, abs=0.02)
    outside = artefact.test.model["all"].coverage
    assert outside is not None
    assert 0.7 < outside < meant


def test_it_is_named_for_what_it_says(pump_model: RulModel) -> None:
    """The name is a hash of all that decides a prediction, the file small, its features those of the twin."""
    artefact = pump_model.artefact
    deciding = (artefact.features, artefact.bounds, artefact.estimate, artefact.spread)
    assert pump_model.name == artefact.name == name_of("pump", *deciding)
    assert pump_model.name.startswith("pump-rul-")
    assert pump_model.feature_names == FEATURE_NAMES
    assert path_of("pump").stat().st_size < 400_000
    assert artefact.command.startswith("python -m twin_actors.prognostics train pump --")
    assert "all" in table(artefact.test)


@settings(max_examples=60)
@given(st.lists(st.lists(numbers, min_size=len(FEATURE_NAMES), max_size=len(FEATURE_NAMES)), min_size=1, max_size=5))
def test_any_features_give_ordered_finite_days(rows: list[list[float]]) -> None:
    """Also where nothing is known, or nothing makes sense; and each twin's answer is its own."""
    model = rul_model("pump")
    assert model is not None
    days = model.predict(np.array(rows))
    estimate, lower, upper = days.T
    assert np.all(np.isfinite(days))
    assert np.all((lower >= 0.0) & (lower <= estimate) & (estimate <= upper) & (upper <= MOST_DAYS))
    alone = np.concatenate([model.predict(np.array([row])) for row in rows])
    assert np.array_equal(alone, days)


def test_worse_symptoms_never_mean_a_longer_life(
    pump_model: RulModel, checked: tuple[Histories, object, Trial]
) -> None:
    """Vibration, heat and lost head, each alone, on rows of a simulated fleet."""
    rows = checked[0].features
    before = pump_model.predict(rows)[:, 0]
    for name, change in {"vibration.level": 1.0, "bearingTemperature.rise": 5.0, "head.level": -0.05}.items():
        worse = rows.copy()
        worse[:, FEATURE_NAMES.index(name)] += change
        assert np.all(pump_model.predict(worse)[:, 0] <= before + 1e-9), name


def test_no_rows_and_wrong_rows(pump_model: RulModel) -> None:
    """None give none; another number of features is a fault that is named."""
    assert pump_model.predict(np.empty((0, len(FEATURE_NAMES)))).shape == (0, 3)
    with pytest.raises(ValueError, match=r"takes rows of 32 features, got \(2, 3\)"):
        pump_model.predict(np.zeros((2, 3)))


def test_it_is_loaded_once_and_only_where_there_is_one(pump_model: RulModel) -> None:
    """A type without a file has no model."""
    assert rul_model("pump") is pump_model
    assert rul_model("storage_tank") is None


def test_lightgbm_is_not_loaded_before_something_is_predicted() -> None:
    """Nor what the fleets are simulated with; a worker's start does not wait for either."""
    program = (
        "import sys; from twin_actors.registry import load_registry; load_registry()\n"
        "from twin_actors.prognostics.model import rul_model; model = rul_model('pump')\n"
        "late = ('lightgbm', 'scipy', 'twin_actors.types.pump.histories')\n"
        "assert not [name for name in late if name in sys.modules]\n"
        "import numpy; model.predict(numpy.zeros((1, len(model.feature_names))))\n"
        "assert 'lightgbm' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY, timeout=60)


def test_a_pump_that_wears_in_minutes_is_foreseen(pump_model: RulModel) -> None:
    """400,000 times faster than real: judged by how worn it is, from years down to less than a week before it trips."""
    group = PumpGroup(3, seed=5, acceleration=400_000.0)
    twins = [course.Listener() for _ in range(3)]
    said: list[list[float]] = []
    for second in range(420):
        shown = group.step(1.0)
        values = [{name: float(column[pump]) for name, column in shown.items()} for pump in range(3)]
        gather([twin.hear(START + second, row) for twin, row in zip(twins, values, strict=True)])
        rows = [None if group.has_tripped(pump) else features(twin.state) for pump, twin in enumerate(twins)]
        asked = [row for row in rows if row is not None]
        days = iter(pump_model.predict(np.array(asked))[:, 0].tolist() if asked else [])
        said.append([NAN if row is None else next(days) for row in rows])
    for course_of_one in np.array(said).T:
        alive_days = course_of_one[np.isfinite(course_of_one)]
        assert np.isnan(course_of_one[-1]), "it tripped, and nothing is foreseen of what stands"
        assert alive_days[0] > 600.0
        assert np.all(alive_days[-10:] < 7.0), "critical for ten seconds before"
        assert np.sum(np.maximum(0.0, np.diff(alive_days))) < 0.35 * alive_days[0], "it falls, but for the noise"


def test_a_fleet_is_heard_as_devices_are() -> None:
    """What is out of its range never reaches the twin."""
    twin = course.Listener()
    gather([twin.hear(START, {"flow": -1.0, "vibration": 2.0})])
    assert twin.state.last == {"vibration": 2.0}
