"""What does the genuine worker's decoding of a batch cost, as shipped, with the fast path, and handed over raw?

A function that does nothing is called with batches as the host makes them of IoT Hub messages: what is left is
decoding, and the 15 to 40 µs that any call costs. Each way has a process of its own, as one process runs one app.
*raw* hands over the messages as AMQP bytes to a converter of our own, which leaves them as they are: so much would be
won at most by giving up the documented binding, and the messages would still have to be read.
"""

import asyncio
import json
import subprocess
import sys
import time
from types import SimpleNamespace

from azure.eventhub._pyamqp._encode import encode_payload
from azure.eventhub._pyamqp.message import Message
from azure.eventhub._pyamqp.types import AMQPTypes

from benchmarks.report import spread, tell
from benchmarks.worker import batch, load, message
from local_emulator.functions_host.invocation import Invocations
from local_emulator.functions_host.protos import TypedData

BATCH = 1_000
CALLS = {"as_shipped": 15, "fast": 200, "raw": 2_000}
ROUNDS = 3
DEVICES = 1_000

_TRIGGER = """
@app.event_hub_message_trigger(
    arg_name="events", event_hub_name="mailbox", connection="Mailbox", cardinality="many", data_type="binary"
)
"""
_AS_SHIPPED = f"""
import typing
import azure.functions as func

app = func.FunctionApp()

{_TRIGGER}
async def fold(events: typing.List[func.EventHubEvent]) -> None:
    events[-1].get_body()
"""
_FAST = f"""
from functions import decoding

assert decoding.install()
{_AS_SHIPPED}
"""
_RAW = f"""
import typing
import azure.functions as func
from azurefunctions.extensions.base import InConverter, SdkType

class Raw(SdkType):
    def get_sdk_type(self):
        return self

class Converter(InConverter, binding="eventHub", trigger="eventHubTrigger"):
    @classmethod
    def check_input_type_annotation(cls, pytype):
        return True

    @classmethod
    def decode(cls, data, *, trigger_metadata, pytype=None):
        numbers = trigger_metadata["SequenceNumberArray"].value.sint64
        return list(zip(numbers, [one.content for one in data.value.model_binding_data], strict=True))

app = func.FunctionApp()

{_TRIGGER}
async def fold(events: typing.List[Raw]) -> None:
    assert type(events[-1][1]) is bytes
"""
APPS = {"as_shipped": _AS_SHIPPED, "fast": _FAST, "raw": _RAW}


async def measure(way: str) -> list[float]:
    """Return the microseconds that each of some calls took per event."""
    function, invocations = await load(APPS[way]), Invocations(None)
    messages = [message(number, f"pump-{number % DEVICES}") for number in range(BATCH)]
    data, metadata = batch(messages)
    if way == "raw":
        handed = [SimpleNamespace(source="AzureEventHubsEventData", content=encoded(one)) for one in messages]
        data = TypedData(collection_model_binding_data=SimpleNamespace(model_binding_data=handed))
    found = []
    for _ in range(CALLS[way]):
        began = time.perf_counter()
        outcome = await invocations.invoke(function, data, metadata)
        found.append((time.perf_counter() - began) * 1e6 / BATCH)
        assert outcome.succeeded, outcome
    return found


def encoded(one: Message) -> bytes:
    """Return a message as AMQP bytes."""
    annotations = {
        name: {"TYPE": AMQPTypes.long, "VALUE": value} if isinstance(value, int) else value
        for name, value in one.message_annotations.items()
    }
    return bytes(encode_payload(bytearray(), one._replace(message_annotations=annotations)))


def main() -> None:
    """Measure each way in turn, some rounds, and tell."""
    if "--way" in sys.argv:
        found = asyncio.run(measure(sys.argv[sys.argv.index("--way") + 1]))
        sys.stdout.write(json.dumps(found[len(found) // 5 :]))  # the first calls warm the caches
        return
    rounds: dict[str, list[float]] = {way: [] for way in APPS}
    for way in list(APPS) * ROUNDS:
        command = [sys.executable, "-m", "benchmarks.worker_decode", "--way", way]
        rounds[way] += json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603  ours
    costs = {way: spread(found) for way, found in rounds.items()}
    ratios = {f"{way}.ratio": costs["as_shipped"]["median"] / costs[way]["median"] for way in ("fast", "raw")}
    tell(
        f"Decoding of {BATCH} events by the genuine worker",
        {**{f"{way}.us_per_event": cost for way, cost in costs.items()}, **ratios},
    )


if __name__ == "__main__":
    main()
