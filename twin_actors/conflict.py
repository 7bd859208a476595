"""Several sources write one property: which of them is shown, and why. Pure.

Each write carries a version vector: of each source, how many of its writes its author had seen, and its own number. A
write that has seen another one replaces it. Of those that have not seen each other the source with the highest
priority is shown. Of one source the newest counts, by event time.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from twin_actors.documents import PropertyValue, Source

_RANK = {source: rank for rank, source in enumerate(Source)}

type Vector = Mapping[Source, int]
"""Source → number of its last write that was seen; 0 where it is left out."""


class Write(msgspec.Struct, frozen=True, array_like=True):
    """What a source says of a property.

    Attributes
    ----------
    source : Source
    value : number, bool, str or None
        None takes the source's value away.
    author : str
        Empty for the sensor.
    time : float
        Event time, seconds since 1970.
    vector : dict
        What its author had seen, and its own number.
    """

    source: Source
    value: PropertyValue | None
    author: str
    time: float
    vector: dict[Source, int]


class Contested(msgspec.Struct, frozen=True, array_like=True):
    """A property that more than its sensor has written.

    Attributes
    ----------
    writes : dict
        The last write of each source, those that another one has replaced included: they are told, and what is
        taken away brings them back.
    shown : Source or None
        The source whose value is shown; None where none has one.
    """

    writes: dict[Source, Write] = {}
    shown: Source | None = None


def join(vectors: Iterable[Vector]) -> dict[Source, int]:
    """Return the least vector that has seen all that these have."""
    joined: dict[Source, int] = {}
    for vector in vectors:
        for source, number in vector.items():
            joined[source] = max(joined.get(source, 0), number)
    return joined


def has_seen(later: Vector, earlier: Vector) -> bool:
    """Whether one vector contains another."""
    return all(later.get(source, 0) >= number for source, number in earlier.items())


def merge(one: Iterable[Write], other: Iterable[Write] = ()) -> list[Write]:
    """Return the union of writes without those that another one has replaced; order and repeats do not matter."""
    union = [*one, *other]
    left = [write for write in union if not any(_replaces(later, write) for later in union)]
    ordered = sorted(left, key=lambda write: (_RANK[write.source], write.vector[write.source], write.time, repr(write)))
    return [write for write, _ in itertools.groupby(ordered)]


def _replaces(later: Write, earlier: Write) -> bool:
    return later.vector != earlier.vector and has_seen(later.vector, earlier.vector)


def choose(writes: Mapping[Source, Write], order: Sequence[Source]) -> Source | None:
    """Return the source whose value is shown: of those that nobody has replaced, the first in the order."""
    siblings = merge(write for write in writes.values() if write.value is not None)
    return min((write.source for write in siblings), key=order.index, default=None)


def reason(contested: Contested, source: Source) -> str:
    """Return why the value of a source is shown, or is not."""
    writes, shown = contested.writes, contested.shown
    mine = writes[source]
    if mine.value is None:
        return "taken away"
    others = {one: other for one, other in writes.items() if one is not source and other.value is not None}
    if source is shown:
        rivals = [one.value for one, other in others.items() if other in merge([mine, other])]
        if rivals:
            return f"it counts more for this property than {' and '.join(rivals)}, and neither has seen the other"
        return "no other source has a value" if not others else f"it has seen the value of {' and '.join(others)}"
    replaced = next((one.value for one, other in others.items() if _replaces(other, mine)), None)
    if replaced is not None:
        return f"{replaced} has replaced it, having seen it"
    return f"{shown} counts more for this property, and neither has seen the other"


def write(
    known: Mapping[Source, Write],
    source: Source,
    value: PropertyValue | None,
    author: str,
    time: float,
    seen: Vector,
) -> Write | None:
    """Return a write as it joins others; None where the same source has a newer one.

    Parameters
    ----------
    known
        The last write of each source.
    source, value, author, time
    seen
        What the author says to have seen; more than there is counts as all there is.
    """
    before = known.get(source)
    if before is not None and before.time > time:
        return None
    there_is = join(one.vector for one in known.values())
    claimed = {one: min(number, there_is.get(one, 0)) for one, number in seen.items()}
    # Who has seen a write has seen what it had seen, and a source has seen what it wrote itself.
    behind = [
        one.vector for one in known.values() if one is before or claimed.get(one.source, 0) >= one.vector[one.source]
    ]
    vector = join([claimed, *behind])
    vector[source] = there_is.get(source, 0) + 1
    return Write(source, value, author, time, vector)


VECTOR_PATTERN = r"(sensor|simulation|manual):[0-9]{1,15}(,(sensor|simulation|manual):[0-9]{1,15}){0,2}"
"""How people and apps write a vector."""


def vector_text(vector: Mapping[Source, int]) -> str:
    """Return a vector as `parse_vector` reads it."""
    return ",".join(f"{source}:{vector[source]}" for source in Source if vector.get(source))


def parse_vector(text: str) -> dict[Source, int]:
    """Read a vector, such as ``sensor:120,manual:3``.

    Raises
    ------
    ValueError
    """
    if not re.fullmatch(VECTOR_PATTERN, text):
        raise ValueError(f"{text!r} is not what a property's vector looks like, such as sensor:120,manual:3")
    pairs = (entry.split(":") for entry in text.split(","))
    return join({Source(source): int(number)} for source, number in pairs)
