"""Simulated pumps obey the physics that their twins expect, and wear as they say."""

import numpy as np
import pytest

from kernels.hydraulics import REFERENCE_PUMP, PumpEstimate, pump_estimate
from local_emulator.devices.pumps import MODEL, NOISE, RPM, ZERO_AT_REST, PumpGroup
from local_emulator.devices.wear import MOST_IMPELLER, YEAR, Wear
from tests.twin_actors.twin_contract import START, envelope, fold
from twin_actors.messages import Row
from twin_actors.projection import shown_properties
from twin_actors.types.pump.twin import TWIN

PUMPS = 40


def _estimate(shown: dict[str, np.ndarray]) -> PumpEstimate:
    """Judge readings as a twin does, from the units of the channels."""
    return pump_estimate(
        shown["speed"] * np.pi / 30.0,
        shown["flow"] / 3600.0,
        shown["suctionPressure"] * 1e3,
        shown["dischargePressure"] * 1e3,
        shown["fluidTemperature"] + 273.15,
        shown["power"] * 1e3,
        *(np.full(shown["flow"].size, value) for value in REFERENCE_PUMP),
    )


def _mean_over(group: PumpGroup, steps: int = 60) -> tuple[PumpEstimate, dict[str, np.ndarray]]:
    readings = [group.step(1.0) for _ in range(steps)]
    estimates = [_estimate(reading) for reading in readings]
    mean = PumpEstimate(*(np.mean(column, axis=0) for column in zip(*estimates, strict=True)))
    return mean, {name: np.mean([reading[name] for reading in readings], axis=0) for name in readings[0]}


def test_new_pumps_are_what_a_twin_expects() -> None:
    """Head and power of unworn pumps differ from the rated curve by noise only."""
    group = PumpGroup(PUMPS, seed=1)
    heads, powers = [], []
    for _ in range(200):
        estimate = _estimate(group.step(1.0))
        heads.append(estimate.head_residual)
        powers.append(estimate.power_residual)
    assert np.all(np.abs(np.mean(heads, axis=0)) < 0.001)
    assert np.all(np.abs(np.mean(powers, axis=0)) < 0.001)
    assert 0.001 < np.std(heads) < 0.01
    assert 0.001 < np.std(powers) < 0.01


def test_every_reading_is_good_to_a_twin() -> None:
    """All channels are the twin's, in its ranges, and change no faster than it believes."""
    group = PumpGroup(PUMPS, seed=2)
    channels = {channel.name: channel for channel in TWIN.channels}
    assert TWIN.model == MODEL
    assert set(NOISE) == set(channels)
    before = group.step(1.0)
    for _ in range(300):
        now = group.step(1.0)
        for name, values in now.items():
            assert np.all((channels[name].low <= values) & (values <= channels[name].high)), name
            if channels[name].max_rate is not None:
                assert np.all(np.abs(values - before[name]) <= channels[name].max_rate), name
        before = now


def test_a_twin_finds_new_pumps_healthy_and_sees_them_wear() -> None:
    """An hour of readings leaves an ordinary pump's health untouched; one that wears for years in it fails."""
    group = PumpGroup(2, seed=11, acceleration=np.array([1.0, 4.0 * YEAR / 3600.0]))
    rows: list[list[Row]] = [[], []]
    for second in range(3600):
        shown = group.step(1.0)
        for pump, history in enumerate(rows):
            history.append(Row(START + second, {name: float(values[pump]) for name, values in shown.items()}))
    ordinary, worn = (shown_properties(fold(TWIN, [envelope(history)]).twin, TWIN) for history in rows)
    for shown_by in (ordinary, worn):
        assert shown_by["followsNameplate"]
        assert shown_by["isCalibrated"]
        assert shown_by["estimateQuality"] == "measured"
    assert ordinary["health"] == 1.0
    assert worn["health"] < 0.5
    assert worn["headResidual"] < -0.1


def test_a_worn_impeller_lowers_the_head_by_its_wear() -> None:
    """The more is worn, the lower head and efficiency, and the higher power; the head by just that part."""
    worn = [0.0, 0.02, 0.05, 0.1, 0.2, 0.4]
    zero = np.zeros(len(worn))
    estimate, shown = _mean_over(PumpGroup(len(worn), seed=3, wear=Wear(np.array(worn), zero, zero)))
    assert estimate.head_residual == pytest.approx([-part for part in worn], abs=0.002)
    assert np.all(np.diff(estimate.power_residual) > 0.0)
    assert np.all(np.diff(estimate.efficiency_residual) < 0.0)
    assert np.all(np.diff(shown["vibration"]) > 0.0)


def test_a_worn_bearing_warms_shakes_and_costs_power() -> None:
    """Its damage shows in temperatures and vibration, and not in the head."""
    damage = np.array([0.0, 0.1, 0.3, 0.6, 0.99])
    zero = np.zeros(damage.size)
    estimate, shown = _mean_over(PumpGroup(damage.size, seed=4, wear=Wear(zero, damage, zero)))
    rise = shown["bearingTemperature"] - shown["ambientTemperature"]
    assert np.all(np.diff(rise) > 1.0)
    assert np.all(np.diff(shown["oilTemperature"] - shown["ambientTemperature"]) > 0.5)
    assert np.all(np.diff(shown["vibration"]) > 0.3)
    assert np.all(np.diff(shown["acceleration1"]) > 0.03)
    assert np.all(np.abs(estimate.head_residual) < 0.002)


def test_a_worn_seal_loses_water() -> None:
    """What leaks is missing at the meter, so head and power seem wrong for the flow that is left."""
    leak = np.array([0.0, 0.3, 0.6, 1.0])
    zero = np.zeros(leak.size)
    estimate, _ = _mean_over(PumpGroup(leak.size, seed=5, wear=Wear(zero, zero, leak)))
    assert np.all(np.diff(estimate.head_residual) < 0.0)
    assert np.all(np.diff(estimate.efficiency_residual) < 0.0)


def test_wear_grows_with_acceleration_and_shows() -> None:
    """An hour wears an accelerated pump for years, its head residual falls all the way; others stay new."""
    group = PumpGroup(2, seed=6, acceleration=np.array([1.0, 5.0 * YEAR / 3600.0]))
    residuals = []
    for _ in range(30):
        shown = [_estimate(group.step(10.0)).head_residual for _ in range(12)]
        residuals.append(np.mean(shown, axis=0))
    ordinary, accelerated = np.array(residuals).T
    assert np.all(np.diff(accelerated) < 0.0)
    assert accelerated[-1] < -0.15
    assert np.all(np.abs(ordinary) < 0.006)
    assert np.all(np.diff([part[0] for part in (Wear.new(2).impeller, group.wear.impeller)]) > 0.0)
    assert group.wear.impeller[0] < 1e-5


def test_acceleration_leaves_everything_else_in_real_time() -> None:
    """The first reading after a step is the same however fast a pump wears, but for the wear."""
    slow, fast = PumpGroup(3, seed=7), PumpGroup(3, seed=7, acceleration=1000.0)
    for _ in range(5):
        ordinary, accelerated = slow.step(1.0), fast.step(1.0)
    for name in ("speed", "suctionPressure", "fluidTemperature", "ambientTemperature", "voltage"):
        assert np.array_equal(ordinary[name], accelerated[name]), name


@pytest.mark.parametrize("part", ["bearing", "impeller"])
def test_a_pump_whose_part_is_gone_trips(part: str) -> None:
    """It comes to rest, stays there whatever it is told, wears no more and cools; another goes on."""
    wear = Wear.new(2)._replace(**{part: np.array([MOST_IMPELLER if part == "impeller" else 1.0, 0.0])})
    group = PumpGroup(2, seed=8, wear=wear)
    warm = group.step(1.0)["motorTemperature"][0]
    assert group.has_tripped(0)
    assert not group.has_tripped(1)
    group.set_speed(0, 2000.0)
    shown = [group.step(1.0) for _ in range(60)]
    assert 2000.0 < shown[5]["speed"][0] < shown[0]["speed"][0]
    worn = group.wear.impeller[0]
    for _ in range(60):
        last = group.step(60.0)
        assert [last[name][0] for name in ZERO_AT_REST] == [0.0] * len(ZERO_AT_REST)
    assert last["speed"][1] > 2000.0
    assert last["motorTemperature"][0] < warm - 20.0
    assert group.wear.impeller[0] == worn


def test_the_end_of_all_parts_is_bounded() -> None:
    """However fast a pump wears, it still gives readings."""
    group = PumpGroup(4, seed=8, acceleration=1e12)
    for _ in range(3):
        shown = group.step(3600.0)
    assert np.array_equal(group.wear.bearing, np.ones(4))
    assert all(np.all(np.isfinite(values)) for values in shown.values())


def test_a_pump_goes_to_the_speed_that_it_is_told() -> None:
    """By 100 rpm a second, and back to its own; flow, power and heat follow, its neighbour does not."""
    group = PumpGroup(2, seed=21)
    before = group.step(1.0)
    assert group.set_speed(0, 2000.0) == 2000.0
    ramp = np.array([group.step(1.0)["speed"][0] for _ in range(7)])
    assert np.diff(ramp) == pytest.approx([-100.0] * 6, abs=4.0)
    held = [group.step(10.0) for _ in range(120)]
    assert [shown["speed"][0] for shown in held] == pytest.approx([2000.0] * 120, abs=20.0)
    assert 0.0 < held[-1]["flow"][0] < 0.7 * before["flow"][0]
    assert held[-1]["power"][0] < 0.5 * before["power"][0]
    assert held[-1]["motorTemperature"][0] < before["motorTemperature"][0] - 10.0
    assert min(shown["speed"][1] for shown in held) > 2700.0
    assert group.set_speed(0, None) == pytest.approx(2860.0, abs=150.0)
    for _ in range(12):
        again = group.step(1.0)
    assert again["speed"][0] == pytest.approx(before["speed"][0], rel=0.05)


def test_a_pump_can_be_stopped() -> None:
    """At rest nothing flows and nothing shakes, and on the way there and back every reading is one of a pump."""
    group = PumpGroup(1, seed=22, wear=Wear(np.array([0.1]), np.array([0.3]), np.array([0.2])))
    channels = {channel.name: channel for channel in TWIN.channels}
    before = group.step(1.0)
    for speed in (0.0, None):
        group.set_speed(0, speed)
        for _ in range(40):
            now = group.step(1.0)
            for name, values in now.items():
                assert channels[name].low <= values[0] <= channels[name].high, name
                if channels[name].max_rate is not None:
                    assert abs(values[0] - before[name][0]) <= channels[name].max_rate, name
            before = now
        if speed == 0.0:
            assert [now[name][0] for name in ZERO_AT_REST] == [0.0] * len(ZERO_AT_REST)
    assert now["flow"][0] > 50.0


def _margin_after(group: PumpGroup, seconds: int) -> np.ndarray:
    for _ in range(seconds - 10):
        group.step(1.0)
    return _mean_over(group, 10)[0].cavitation_margin


def test_a_clogging_strainer_ends_in_cavitation_unless_the_pump_slows_down() -> None:
    """Below half a metre within two minutes at full speed; at four fifths of it well above one, for good."""
    group, sound = PumpGroup(PUMPS, seed=23, clogging=True), PumpGroup(PUMPS, seed=23)
    assert np.all(_margin_after(group, 20) > 4.0)
    assert np.mean(_margin_after(group, 100) < 0.5) > 0.9
    assert np.all(_margin_after(sound, 120) > 6.0)
    for pump in range(PUMPS):
        group.set_speed(pump, 0.8 * REFERENCE_PUMP.rated_speed * RPM)
    assert np.all(_margin_after(group, 20) > 2.0)
    assert np.all(_margin_after(group, 1800) > 2.0)
    for pump in range(PUMPS):
        group.set_speed(pump, None)
    estimate, shown = _mean_over(group)
    assert np.median(estimate.cavitation_margin) < 0.0
    assert np.all(shown["suctionPressure"] > 0.0)
    assert np.all(np.abs(estimate.head_residual) < 0.002)


def test_the_seed_decides_everything() -> None:
    """The same seed and steps give the same readings; another seed gives others."""
    first, again, other = (PumpGroup(5, seed=seed) for seed in (9, 9, 10))
    for seconds in (0.0, 1.0, 0.7, 5.0):
        one, two, three = first.step(seconds), again.step(seconds), other.step(seconds)
        assert all(np.array_equal(one[name], two[name]) for name in one)
        assert not any(np.array_equal(one[name], three[name]) for name in one)
    assert not np.array_equal(one["flow"][:-1], one["flow"][1:])
