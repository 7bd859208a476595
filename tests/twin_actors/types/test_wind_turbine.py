"""The wind turbine: what is usual for 15,000 signals, and which of them leaves it."""

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from tests.twin_actors.loom import wide
from tests.twin_actors.twin_contract import START, every_property_fits_the_model, interface_of
from twin_actors.messages import ARROW, Event, Quality, open_envelope
from twin_actors.registry import load_registry
from twin_actors.turn import new_twin, run
from twin_actors.types.wind_turbine.twin import FRAMES, SIGNALS, TWIN
from twin_actors.work import Folded, Work

SIGNAL_COUNT = 15_000
NAMES = [channel.name for channel in FRAMES.channels]


def usual(rows: int, seed: int = 1) -> npt.NDArray[np.float32]:
    """Signals that scatter by a hundredth of their range about a third of it."""
    low = np.repeat([low for _, _, low, _, _ in SIGNALS], [count for _, count, _, _, _ in SIGNALS])
    high = np.repeat([high for _, _, _, high, _ in SIGNALS], [count for _, count, _, _, _ in SIGNALS])
    noise = np.random.default_rng(seed).standard_normal((rows, SIGNAL_COUNT), dtype=np.float32)
    scattered = low + (high - low) * (0.33 + 0.01 * np.clip(noise, -4.0, 4.0))
    return scattered.astype(np.float32)


def follow(rows: npt.NDArray[np.float32], *bodies: bytes) -> Folded:
    """Let a new turbine hear a row every ten seconds, and then other bodies."""
    times = START - 10.0 * len(rows) + 10.0 * np.arange(len(rows))
    heard = [wide(rows[at : at + 1], times[at : at + 1].tolist()) for at in range(len(rows))]
    envelopes = [
        open_envelope(
            Event(sequence_number=number, enqueued_time=START, body=body, device_id="t-1", content_type=ARROW), number
        )
        for number, body in enumerate([*heard, *bodies])
    ]
    return run([Work(0, new_twin("t-1", TWIN), TWIN, envelopes)])[0]


def shown(folded: Folded) -> dict[str, Any]:
    """What the graph shows."""
    return dict(TWIN.properties(msgspec.msgpack.decode(folded.twin.state, type=TWIN.state)))


def test_signals_are_in_the_order_of_the_model() -> None:
    """15,000, named by group and number."""
    assert len(NAMES) == SIGNAL_COUNT
    assert (NAMES[0], NAMES[2999], NAMES[3000], NAMES[-1]) == (
        "bladeStrain1",
        "bladeStrain3000",
        "towerStrain1",
        "voltage1000",
    )


def test_nothing_deviates_before_anything_is_usual() -> None:
    """Ninety-nine rows are too few, whatever they say."""
    rows = usual(99)
    rows[-1] *= 1.2
    found = shown(follow(rows))
    assert (found["deviatingSignals"], found["worstDeviation"], found["worstSignal"]) == (0, 0.0, None)


def test_the_signal_that_leaves_what_is_usual_is_named() -> None:
    """Compared with all that it has said, this included; checked against the definition."""
    rows = usual(120)
    rows[-1, NAMES.index("temperature17")] += 50.0
    folded = follow(rows)
    found = shown(folded)
    said = rows[:, NAMES.index("temperature17")].astype(np.float64)
    assert found["worstSignal"] == "temperature17"
    assert found["worstDeviation"] == pytest.approx((said[-1] - said.mean()) / said.std(ddof=1), rel=1e-9)
    assert found["deviatingSignals"] == 1
    every_property_fits_the_model(folded.twin, TWIN, interface_of(load_registry(), TWIN))


def test_unusable_signals_are_counted_and_compared_with_nothing() -> None:
    """Missing, out of range, too fast a change."""
    rows = usual(102)
    rows[-1, :150] = math.nan
    rows[-1, 150:300] = 6000.0
    rows[-1, NAMES.index("temperature1")] = 199.0  # 150 K in ten seconds
    folded = follow(rows)
    found = shown(folded)
    assert found["badShare"] == 300 / SIGNAL_COUNT
    assert found["suspectShare"] == 1 / SIGNAL_COUNT
    assert found["worstSignal"] == "temperature1"
    assert folded.twin.quality is Quality.SUSPECT


def test_a_late_frame_moves_nothing_that_is_shown() -> None:
    """It is in the statistics only."""
    rows = usual(101)
    late = wide(np.full((1, SIGNAL_COUNT), 1.0), [START - 5000.0])
    before, after = follow(rows), follow(rows, late)
    assert shown(after) == shown(before)
    assert after.twin.reading_count == before.twin.reading_count + 1
    assert after.statistics is not None
    assert after.statistics.columns().number.tolist() == [102.0] * SIGNAL_COUNT
