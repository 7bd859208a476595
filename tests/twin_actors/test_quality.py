"""Is this number worth believing? Each channel is judged for itself."""

import math

import pytest

from twin_actors.messages import Quality, Reading, Row
from twin_actors.quality import MAX_UNKNOWN_CHANNELS, TIME, Signal, event_time, judge, overall
from twin_actors.twin import Channel

HUB = 1_700_000_000.0
DAY = 86_400.0
FLOW = Channel("flow", 0.0, 100.0, max_rate=2.0, stuck_after=60.0)
LEVEL = Channel("level", -math.inf, math.inf, required=False)


def one(
    value: object, *, time: float = HUB, before: dict[str, Signal] | None = None, last: float = 0.0
) -> tuple[Reading, dict[str, Signal]]:
    """Judge one value of the flow."""
    return judge((FLOW, LEVEL), before or {}, Row(time, {"flow": value}), HUB, last)


@pytest.mark.parametrize("value", [0, 0.0, 100, 99.9, -0.0])
def test_good(value: float) -> None:
    """In range, the ends included."""
    reading, _ = one(value)
    assert (reading.values, reading.quality) == ({"flow": value}, {})
    assert overall(reading) is Quality.GOOD


@pytest.mark.parametrize(
    "value", [-0.1, 100.1, math.nan, math.inf, -math.inf, "12", None, True, [], {}, 10**400, -(10**30)]
)
def test_bad(value: object) -> None:
    """Out of range, not finite, or no number: the value is gone, its quality is told."""
    reading, remembered = one(value)
    assert (reading.values, reading.quality, remembered) == ({}, {"flow": Quality.BAD}, {})
    assert overall(reading) is Quality.BAD


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_open_range_takes_finite_numbers_only(value: float) -> None:
    """Infinity is no level."""
    reading, _ = judge((LEVEL,), {}, Row(HUB, {"level": value}), HUB, 0.0)
    assert reading.quality == {"level": Quality.BAD}


def test_missing() -> None:
    """Only where the channel must be there."""
    reading, _ = judge((FLOW, LEVEL), {}, Row(HUB, {}), HUB, 0.0)
    assert reading.quality == {"flow": Quality.MISSING}


def test_one_bad_channel_does_not_spoil_another() -> None:
    """Suspect as a whole, usable in part."""
    reading, _ = judge((FLOW, LEVEL), {}, Row(HUB, {"flow": 500, "level": 3}), HUB, 0.0)
    assert (reading.values, reading.quality) == ({"level": 3.0}, {"flow": Quality.BAD})
    assert overall(reading) is Quality.SUSPECT


def test_unknown_channels_are_told_a_few_of_them() -> None:
    """Nothing is dropped in silence, and nobody fills the journal with names."""
    reading, _ = judge((FLOW,), {}, Row(HUB, {"flow": 1, **{f"x{n}" * 50: n for n in range(100)}}), HUB, 0.0)
    unknown = [name for name, quality in reading.quality.items() if quality is Quality.BAD]
    assert len(unknown) == MAX_UNKNOWN_CHANNELS
    assert all(len(name) <= 64 for name in unknown)


@pytest.mark.parametrize(("value", "is_suspect"), [(30.0, False), (30.1, True), (10.0, False), (9.9, True)])
def test_rate(value: float, *, is_suspect: bool) -> None:
    """Faster than it can be, up or down: used, and told."""
    reading, _ = one(value, before={"flow": Signal(20.0, HUB - 5, HUB - 5)})
    assert reading.values == {"flow": value}
    assert (reading.quality == {"flow": Quality.SUSPECT}) is is_suspect


def test_stuck() -> None:
    """The very same for longer than it can be; the least change starts anew."""
    signals: dict[str, Signal] = {}
    seen = []
    for second in (0, 30, 59, 60, 90):
        reading, signals = one(20.0, time=HUB - 100 + second, before=signals)
        seen.append(reading.quality.get("flow"))
    assert seen == [None, None, None, Quality.SUSPECT, Quality.SUSPECT]
    reading, signals = one(20.001, time=HUB - 5, before=signals)
    assert reading.quality == {}
    assert signals["flow"].since == HUB - 5


def test_late_rows_are_judged_but_not_remembered() -> None:
    """Current values never move backwards."""
    before = {"flow": Signal(20.0, HUB, HUB)}
    reading, remembered = one(90.0, time=HUB - 50, before=before, last=HUB)
    assert reading.is_late
    assert reading.quality == {}
    assert remembered == before


def test_a_reading_at_the_same_time_is_not_late() -> None:
    """And no rate can be told of it."""
    reading, _ = one(90.0, before={"flow": Signal(20.0, HUB, HUB)}, last=HUB)
    assert not reading.is_late
    assert reading.quality == {}


@pytest.mark.parametrize(
    "claimed",
    [
        HUB + 301,
        4_070_908_800.0,  # 2099
        915_148_800.0,  # 1999
        0.0,
        -1.0,
        HUB - 31 * DAY,
        math.nan,
    ],
)
def test_a_clock_that_is_wrong_is_replaced(claimed: float) -> None:
    """By the hub's, and told: a clock set to 2099 cannot freeze a twin."""
    assert event_time(claimed, HUB) == (HUB, True)
    reading, _ = judge((FLOW,), {}, Row(claimed, {"flow": 1}), HUB, 0.0)
    assert (reading.time, reading.quality) == (HUB, {TIME: Quality.SUSPECT})


@pytest.mark.parametrize("claimed", [HUB, HUB + 299, HUB - 29 * DAY])
def test_a_clock_that_may_be_right_is_believed(claimed: float) -> None:
    """Buffered readings keep their time."""
    assert event_time(claimed, HUB) == (claimed, False)


def test_no_time_is_the_hubs() -> None:
    """And nothing to tell."""
    assert event_time(None, HUB) == (HUB, False)


def test_what_was_remembered_is_left_as_it_was() -> None:
    """The memory handed in belongs to the committed state."""
    before = {"flow": Signal(20.0, HUB - 10, HUB - 10)}
    one(25.0, before=before)
    assert before == {"flow": Signal(20.0, HUB - 10, HUB - 10)}
