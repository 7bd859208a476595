"""``python -m tests.end_to_end.back_end``: a back end that sends readings with the Event Hubs SDK until its input ends.

It is a process of its own, because the SDK forgets the sockets of connections that break while they are being made.
Before it sends a message it prints ``[serial, twin, partition]``, once that is acknowledged ``[serial]``.
"""

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import Sequence

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from twin_actors.messages import KIND, TWIN, Kind

RATE = 30
"""Messages a second of each sender."""

READING = json.dumps({"flow": 80.0, "dischargePressure": 350.0}).encode()
GARBAGE = b"{broken"


def body_of(serial: int) -> bytes:
    """Return what is sent: a reading, or once in twenty no JSON."""
    return GARBAGE if serial % 20 == 19 else READING


def message_id(serial: int) -> str:
    """Return the id of a message: that of a repeat is the same."""
    return f"message-{serial}"


async def main(connection_string: str, partitions: int, seed: int, twins: Sequence[str]) -> None:
    """Send; what is not acknowledged is sent again under its id, or left at that."""
    seeded = random.Random(seed)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    number, is_owed = 0, False
    while is_owed or not ended.done():
        client = EventHubProducerClient.from_connection_string(
            connection_string, eventhub_name="mailbox", retry_total=0
        )
        with contextlib.suppress(EventHubError):
            async with client:
                while is_owed or not ended.done():
                    twin_id, partition = twins[number // partitions % len(twins)], str(number % partitions)
                    if not is_owed:
                        say(number, twin_id, partition)
                    is_owed = True
                    event = EventData(body_of(number))
                    event.message_id = message_id(number)
                    event.properties = {KIND: Kind.TELEMETRY.value, TWIN: twin_id}
                    await client.send_event(event, partition_id=partition)
                    say(number)
                    number, is_owed = number + 1, False
                    await asyncio.sleep(1 / RATE)
        if is_owed and seeded.random() < 0.5:
            number, is_owed = number + 1, False


def say(*what: object) -> None:
    """Tell the test."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
