"""Version vectors against explicit sets of what was seen; merging in any order; who is shown."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_actors.conflict import (
    Contested,
    Vector,
    Write,
    choose,
    has_seen,
    join,
    merge,
    parse_vector,
    reason,
    vector_text,
    write,
)
from twin_actors.documents import Source

DEFAULT = tuple(Source)


@dataclasses.dataclass(frozen=True)
class Step:
    """Somebody writes, having looked at the property some steps ago, or never."""

    source: Source
    value: int | None
    time: int
    looked_back: int | None


steps = st.lists(
    st.builds(
        Step,
        source=st.sampled_from(Source),
        value=st.one_of(st.none(), st.integers(0, 3)),
        time=st.integers(0, 12),
        looked_back=st.one_of(st.none(), st.integers(0, 3)),
    ),
    max_size=12,
)


class Story:
    """A property's writes, each with the explicit set of those that its author knew of."""

    def __init__(self, told: list[Step]) -> None:
        self.known: dict[Source, Write] = {}
        self.writes: list[Write] = []
        self.seen: list[set[int]] = []
        self._last: dict[Source, int] = {}
        looks: list[tuple[Vector, set[int]]] = []
        for step in told:
            looks.append((join(one.vector for one in self.known.values()), self._all()))
            seen, ids = (
                ({}, set[int]()) if step.looked_back is None else looks[max(0, len(looks) - 1 - step.looked_back)]
            )
            if step.source is Source.SENSOR:
                seen, ids = {}, set()
            written = write(self.known, step.source, step.value, "ann", step.time, seen)
            before = self._last.get(step.source)
            if written is None:
                assert before is not None
                assert self.writes[before].time > step.time
                continue
            own = set() if before is None else {before, *self.seen[before]}
            self._last[step.source] = len(self.writes)
            self.known[step.source] = written
            self.writes.append(written)
            self.seen.append(ids | own)

    def _all(self) -> set[int]:
        return {one for last in self._last.values() for one in (last, *self.seen[last])}

    def left(self, ids: set[int]) -> set[int]:
        """Return those of some writes that none of the others had seen."""
        return {one for one in ids if not any(one in self.seen[other] for other in ids)}


@given(steps)
def test_a_vector_says_what_was_seen(told: list[Step]) -> None:
    """No more and no less."""
    story = Story(told)
    for (a, earlier), (b, later) in itertools.permutations(enumerate(story.writes), 2):
        assert has_seen(later.vector, earlier.vector) == (a in story.seen[b])


@given(steps, st.data())
def test_merging_does_not_depend_on_order_or_repeats(told: list[Step], data: st.DataObject) -> None:
    """Commutative, associative, idempotent; no more than one of each source is left."""
    story = Story(told)
    parts = [data.draw(st.sets(st.integers(0, len(story.writes) - 1))) if story.writes else set() for _ in range(3)]
    one, other, third = ([story.writes[number] for number in part] for part in parts)
    merged = merge(one, other)
    assert merged == merge(other, one)
    assert merge(merged, third) == merge(one, merge(other, third))
    assert merge(merged, one) == merged
    left = [story.writes[number] for number in story.left(parts[0] | parts[1])]
    assert sorted(map(repr, merged)) == sorted(map(repr, left))
    assert len({kept.source for kept in merged}) == len(merged)


@given(steps, st.permutations(DEFAULT))
def test_priority_decides_among_those_that_have_not_seen_each_other(told: list[Step], order: list[Source]) -> None:
    """What a later write has seen does not win over it, whatever counts more; what is taken away counts for nothing."""
    story = Story(told)
    last = {source: story.writes.index(kept) for source, kept in story.known.items()}
    candidates = story.left({number for number in last.values() if story.writes[number].value is not None})
    expected = min((story.writes[number].source for number in candidates), key=order.index, default=None)
    assert choose(story.known, order) is expected
    contested = Contested(story.known, expected)
    assert all(reason(contested, source) for source in story.known)


@given(st.lists(st.tuples(st.sampled_from(Source), st.integers(0, 50)), min_size=1, max_size=6), st.data())
def test_of_one_source_event_time_decides(history: list[tuple[Source, int]], data: st.DataObject) -> None:
    """Whatever order its writes arrive in; of two at the same time the last to come."""
    source = data.draw(st.sampled_from(Source))
    known: dict[Source, Write] = {}
    for number, (_, time) in enumerate(history):
        written = write(known, source, number, "ann", time, {})
        known = known if written is None else {source: written}
    newest = max(range(len(history)), key=lambda number: (history[number][1], number))
    assert known[source].value == newest


def test_more_than_there_is_cannot_have_been_seen() -> None:
    """Else a mistaken app would win over all that is yet to come."""
    sensed = Write(Source.SENSOR, 1.0, "", 0.0, {Source.SENSOR: 7})
    boast = write({Source.SENSOR: sensed}, Source.MANUAL, 2.0, "ann", 1.0, {Source.SENSOR: 999, Source.SIMULATION: 9})
    assert boast is not None
    assert boast.vector == {Source.SENSOR: 7, Source.SIMULATION: 0, Source.MANUAL: 1}


def test_a_vector_as_text() -> None:
    """There and back; anything else is refused."""
    vector = {Source.MANUAL: 3, Source.SENSOR: 120}
    assert vector_text(vector) == "sensor:120,manual:3"
    assert parse_vector("manual:3,sensor:120") == vector
    for text in ("", "sensor", "sensor:-1", "sensor:1;manual:2", "device:1", "sensor:1,", "sensor:" + "9" * 16):
        with pytest.raises(ValueError, match="is not what a property's vector looks like"):
            parse_vector(text)
