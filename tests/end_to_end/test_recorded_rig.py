"""A recorded pump rig, replayed as a device, becomes a twin."""

from pathlib import Path

import pytest

from local_emulator.devices.mapping import load_mapping
from local_emulator.devices.replay import replay
from tests.end_to_end.stack import REPOSITORY, eventually, running

ROWS = 120
SPEED = 100.0


@pytest.mark.parametrize("recording", ["anomaly-free/anomaly-free.csv.gz"])
async def test_a_recording_becomes_a_twin(tmp_path: Path, shared_data: Path, recording: str) -> None:
    """Every row is a reading of the twin, in the units of its model."""
    mapping = load_mapping(REPOSITORY / "local_emulator" / "devices" / "mappings" / "skab.toml")
    async with running(tmp_path) as stack, stack.host("host"):
        async with stack.device("rig"):
            pass  # registers it
        report = await replay(
            shared_data / "skab" / recording,
            mapping,
            stack.iot_hub.device_connection_string("rig"),
            speed=SPEED,
            limit=ROWS,
            ca_file=stack.certificates.ca_file,
        )
        assert report.sent == ROWS
        async with stack.graph() as graph:

            async def look() -> dict | None:
                found = [twin async for twin in graph.query_twins("SELECT * FROM DIGITALTWINS T WHERE T.$dtId = 'rig'")]
                return found[0] if found and found[0].get("readingCount") == ROWS else None

            twin = await eventually(look, 60)
    # The rig pumps about 125 l/min against a fraction of a bar; the recording's first row says 122.664 and 90.6 °C.
    assert 6.0 < twin["lastFlow"] < 9.0
    assert 50.0 < twin["lastDischargePressure"] < 200.0
    assert 80.0 < twin["lastMotorTemperature"] < 100.0
    assert twin["connection"] == "online"
    assert 0.0 <= twin["health"] <= 1.0
    assert twin["followsNameplate"] is False
