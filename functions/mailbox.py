"""Event Hubs trigger: one partition's batch becomes events and goes to the runtime.

A batch that fails is retried for as long as it takes, and the partition waits meanwhile: the
trigger would otherwise move on. What cannot be folded does not fail, it becomes a dead letter.
"""

import functools
import math
from typing import Any, List  # noqa: UP035  the worker does not index list[…]

import azure.functions as func

from functions import wiring
from twin_actors.messages import Event, parse_time

MAX_TIME_LENGTH = 40
"""Of a time as the host writes it."""

bp = func.Blueprint()  # type: ignore[no-untyped-call]


@bp.function_name("mailbox")
@bp.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%MailboxName%",
    connection="Mailbox",
    consumer_group="%MailboxConsumerGroup%",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@bp.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:02")
async def mailbox(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
    """Fold a batch of device messages."""
    # The metadata of all events hangs on each of them and is parsed at the first touch: once.
    metadata: Any = events[0].metadata
    runtime = await wiring.runtime()
    await runtime.deliver(int(metadata["PartitionContext"]["PartitionId"]), to_events(events, metadata))


def to_events(events: List[func.EventHubEvent], metadata: Any) -> list[Event]:  # noqa: ANN401, UP006  the host's JSON
    """Return what the host passed in the runtime's own terms."""
    found = []
    for event, system, properties in zip(
        events, metadata["SystemPropertiesArray"], metadata["PropertiesArray"], strict=True
    ):
        get = system.get
        found.append(
            Event(
                sequence_number=system["SequenceNumber"],
                enqueued_time=_hub_time(system["EnqueuedTimeUtc"]),
                body=event.get_body(),
                device_id=_text(get("iothub-connection-device-id")),
                model=_text(get("dt-dataschema")),
                received_time=_seconds(get("iothub-enqueuedtime")),
                created_time=_seconds(get("iothub-creation-time-utc")),
                message_id=_text(get("message-id")),
                content_type=_text(get("content-type")),
                properties={name: str(value) for name, value in properties.items()} if properties else {},
            )
        )
    return found


def _text(value: object) -> str | None:
    """Return what AMQP allows to be a number or an object as text: the journal keeps text."""
    return value if value is None or type(value) is str else str(value)


def _seconds(value: object) -> float | None:
    """Return a time as the host writes it, text or milliseconds, in seconds since 1970; None if it is no time."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return value / 1000
    seconds = _hub_time(value) if isinstance(value, str) else math.nan
    return None if math.isnan(seconds) else seconds


_known_time = functools.lru_cache(maxsize=4096)(parse_time)


def _hub_time(text: str) -> float:
    """Return a time in seconds since 1970; much of a busy batch is of the same millisecond."""
    return _known_time(text) if len(text) <= MAX_TIME_LENGTH else math.nan
