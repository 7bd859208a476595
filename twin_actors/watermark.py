"""How far a partition has been folded, and what a batch adds to that."""

from collections.abc import Sequence

import msgspec

from twin_actors.errors import PartitionStopped
from twin_actors.messages import Event


class Watermark(msgspec.Struct, frozen=True, array_like=True):
    """The last folded event of a partition.

    Attributes
    ----------
    sequence_number : int
    enqueued_time : float
        When Event Hubs took that event.
    hub : str
        Which Event Hub it belongs to: a recreated one counts from zero again.
    """

    sequence_number: int
    enqueued_time: float
    hub: str


def check_hub(watermark: Watermark, hub: str, partition: int) -> None:
    """Stop a partition whose events are not those of the hub that it was folded from.

    Raises
    ------
    PartitionStopped
    """
    if watermark.hub != hub:
        raise PartitionStopped(
            f"partition {partition} was folded from hub {watermark.hub}, this is {hub}, which counts from zero; "
            "nothing is folded until an operator says where to go on: "
            f"python -m twin_actors partition rebase {partition}"
        )


def unfolded(watermark: Watermark, events: Sequence[Event]) -> list[Event]:
    """Return the events above the watermark, each once, in order.

    Raises
    ------
    PartitionStopped
        An event at or below the watermark is younger than it: the hub is not the one that was
        folded, and skipping its events would lose them.
    """
    fresh: list[Event] = []
    last = watermark.sequence_number
    for event in events:
        if event.sequence_number > last:
            fresh.append(event)
            last = event.sequence_number
        elif event.sequence_number <= watermark.sequence_number and event.enqueued_time > watermark.enqueued_time:
            raise PartitionStopped(
                f"event {event.sequence_number} is not above the watermark {watermark.sequence_number}, yet was "
                "enqueued after it: the Event Hub was recreated or failed over; nothing is folded until an "
                "operator says where to go on: python -m twin_actors partition rebase PARTITION --from earliest"
            )
    return fresh


def first_gap(last: int, events: Sequence[Event]) -> tuple[int, int, int] | None:
    """Find the first hole in a run of events.

    Parameters
    ----------
    last
        The sequence number before the first event.
    events
        Ascending.

    Returns
    -------
    tuple of int, or None
        Index of the event after the hole, the first and the last missing sequence number.
    """
    for index, event in enumerate(events):
        if event.sequence_number != last + 1:
            return index, last + 1, event.sequence_number - 1
        last = event.sequence_number
    return None
