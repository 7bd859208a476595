"""What a batch adds to what is folded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_actors.errors import PartitionStopped
from twin_actors.messages import Event
from twin_actors.watermark import Watermark, first_gap, unfolded


def events(*numbers: int, time: float = 0.0) -> list[Event]:
    """Return events with these numbers, each a second after the one before."""
    return [Event(sequence_number=n, enqueued_time=time or 1000.0 + n, body=b"") for n in numbers]


def numbers(found: list[Event]) -> list[int]:
    """Return sequence numbers."""
    return [event.sequence_number for event in found]


MARK = Watermark(5, 1005.0, "hub")


def test_what_is_folded_is_skipped() -> None:
    """At and below the watermark."""
    assert numbers(unfolded(MARK, events(3, 4, 5, 6, 7))) == [6, 7]


def test_repeats_within_a_batch_count_once() -> None:
    """In any order they are given: what is out of order is a gap, and read again."""
    assert numbers(unfolded(MARK, events(6, 6, 8, 7, 8, 9))) == [6, 8, 9]


def test_younger_than_the_watermark_below_it() -> None:
    """Is of another hub."""
    with pytest.raises(PartitionStopped):
        unfolded(MARK, events(5, time=1005.1))
    assert unfolded(MARK, events(5, time=1005.0)) == []


@pytest.mark.parametrize(
    ("given_numbers", "gap"),
    [((), None), ((6, 7), None), ((7,), (0, 6, 6)), ((6, 9, 10), (1, 7, 8)), ((10,), (0, 6, 9))],
)
def test_gaps(given_numbers: tuple[int, ...], gap: tuple[int, int, int] | None) -> None:
    """The first hole, and where it ends."""
    assert first_gap(5, events(*given_numbers)) == gap


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(-1, 30))
def test_any_batch(given_numbers: list[int], last: int) -> None:
    """What is left ascends, is new, and no gap of it was in the batch in its place."""
    mark = Watermark(last, 10_000.0, "hub")
    fresh = numbers(unfolded(mark, events(*given_numbers)))
    assert fresh == sorted(set(fresh))
    assert all(number > last for number in fresh)
    assert max(given_numbers, default=-1) <= max([last, *fresh])
