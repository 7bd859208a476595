"""A message that kills real worker processes: it is found, given up in sight, and its partition goes on."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local_emulator.event_hubs import HubEvent
from tests.end_to_end.stack import REPOSITORY, Stack, copy_app, eventually, running
from twin_actors.caution import MOST_ATTEMPTS, SILENT_OWNERS
from twin_actors.identity import home_partition
from twin_actors.messages import KIND, LETTER, Kind

CANARY = "dtmi:test:Canary;1"
EXPIRY = 3.0
HANGS_FOR = "00:00:04"
"""The function time-out of the app: what an endless turn costs each time."""

TWIN_TYPE = '''"""A bird that dies of certain numbers, and its worker with it."""

import os
from pathlib import Path

import msgspec

from twin_actors.twin import Channel, Reading, Turn, TwinType


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often it sang."""

    songs: int = 0


def receive(state: State, message: Reading) -> Turn[State]:
    """Sing, or die: as native code does, or for ever."""
    note = message.values.get("note")
    if not Path(__file__).with_name("mended").exists():
        if note == 666.0:
            os.abort()
        while note == 777.0:
            pass
    return Turn(State(state.songs + 1))


TWIN = TwinType(
    name="canary",
    model="dtmi:test:Canary;1",
    state=State,
    receive=receive,
    properties=lambda state: {"songs": state.songs},
    channels=(Channel("note", 0.0, 1000.0),),
)
'''
MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": CANARY,
    "@type": "Interface",
    "extends": "dtmi:twinfold:Twin;1",
    "contents": [
        {"@type": "Telemetry", "name": "note", "schema": "double"},
        {"@type": "Property", "name": "songs", "schema": "integer"},
    ],
}


def make_app(folder: Path) -> Path:
    """Copy the function app, and add a twin type that is deadly."""
    copy_app(folder)
    host = json.loads((REPOSITORY / "host.json").read_bytes())
    (folder / "host.json").write_text(json.dumps({**host, "functionTimeout": HANGS_FOR}))
    canary = folder / "twin_actors" / "types" / "canary"
    canary.mkdir()
    (canary / "__init__.py").write_text('"""A bird."""\n')
    (canary / "twin.py").write_text(TWIN_TYPE)
    (canary / "model.json").write_text(json.dumps(MODEL))
    return folder


async def sing(stack: Stack, twin_id: str, note: float) -> None:
    """Send a reading to the home of its twin, as IoT Hub routes it."""
    annotations: dict[str, str | int | datetime] = {
        "iothub-connection-device-id": twin_id,
        "iothub-enqueuedtime": datetime.now(UTC),
        "dt-dataschema": CANARY,
    }
    event = HubEvent(json.dumps({"note": note}).encode(), annotations, {}, {})
    await stack.event_hubs.publish("mailbox", event, partition_id=str(home_partition(twin_id, 4)))


@pytest.mark.proof
@pytest.mark.timeout(420)
@pytest.mark.parametrize("deadly", [666.0, 777.0])
async def test_the_worker_dies_of_it_five_times_and_goes_on(tmp_path: Path, deadly: float) -> None:
    """By a crash, and by a turn that never ends; the mended code folds it from its dead letter."""
    async with running(tmp_path / "services") as stack:
        stack.app = make_app(tmp_path / "app")
        await stack.operate("model", "publish")
        home = home_partition("bird", 4)
        other = next(name for name in map("bird-{}".format, range(99)) if home_partition(name, 4) == home)
        for twin_id, note in (("bird", 1.0), (other, 2.0), ("bird", deadly), (other, 3.0), ("bird", 4.0)):
            await sing(stack, twin_id, note)
        async with stack.host("first", expiry=EXPIRY) as host:

            async def is_given_up() -> bool:
                return bool((await stack.shards())[home].letters)

            await eventually(is_given_up, 300)
            (shard,) = [shard for shard in await stack.settled(60) if shard.partition == home]
            assert host.pids["mailbox"]
        assert list(shard.letters.values()) == ["kills_process"]
        assert {twin.twin_id: twin.reading_count for twin in shard.twins.values()} == {"bird": 2, other: 2}
        log = stack.log.getvalue()
        assert log.count("[mailbox] worker was ended by" if deadly == 666.0 else "[mailbox] worker exited") == (
            SILENT_OWNERS + MOST_ATTEMPTS
        )
        (stack.app / "twin_actors" / "types" / "canary" / "mended").touch()
        replay = HubEvent(b"{}", {}, {}, {KIND: Kind.REPLAY.value, LETTER: next(iter(shard.letters))})
        await stack.event_hubs.publish("mailbox", replay, partition_id=str(home))
        async with stack.host("second", expiry=EXPIRY):
            (shard,) = [shard for shard in await stack.settled(60) if shard.partition == home]
        assert (shard.letters, shard.twins["bird"].reading_count) == ({}, 3)
