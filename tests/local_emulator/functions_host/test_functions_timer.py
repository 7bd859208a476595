"""Timer functions behind the local host, with their locks and schedules in Azurite."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from azure.storage.blob.aio import BlobServiceClient

from local_emulator.functions_host import FunctionsHost, SettingsError
from local_emulator.functions_host.triggers.schedule import parse_schedule

from .conftest import App, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

RECORDING = """
@app.timer_trigger(arg_name="timer", schedule="{schedule}", run_on_startup={startup})
async def tick(timer: func.TimerRequest) -> None:
    record(past_due=timer.past_due, status=timer.schedule_status, schedule=timer.schedule)
"""


def host_of(app: App, storage: str) -> FunctionsHost:
    """The host for an app that has a storage account; the id keeps the tests' locks apart."""
    settings = app.settings | {"AzureWebJobsStorage": storage, "AzureFunctionsWebHost__hostid": app.folder.parent.name}
    return FunctionsHost(app.folder, settings=settings, data_dir=app.data, log=app.log)


@pytest.mark.parametrize(
    ("text", "moment", "due"),
    [
        ("*/5 * * * * *", "2026-01-01T00:00:03", "2026-01-01T00:00:05"),
        ("0 */5 * * * *", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("0 30 9 * * 1-5", "2026-01-02T09:30:00", "2026-01-05T09:30:00"),
        ("30 9 * * Mon", "2026-01-01T00:00:00", "2026-01-05T09:30:00"),
        # Both day fields count: Friday the 13th.
        ("0 0 0 13 * 5", "2026-01-01T00:00:00", "2026-02-13T00:00:00"),
        ("00:00:10", "2026-01-01T00:00:03", "2026-01-01T00:00:13"),
        ("1.00:00:00", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
    ],
)
async def test_schedules_are_read_as_documented(text: str, moment: str, due: str) -> None:
    """Six fields, five fields, time spans."""
    start = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert parse_schedule(text).next_after(start) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["every day", "* * * *", "0 0 25 * * *", "10 minutes", "sometimes"])
async def test_what_is_no_schedule_is_refused(text: str) -> None:
    """A schedule that cannot be read is the operator's to mend."""
    with pytest.raises(SettingsError):
        parse_schedule(text)


async def test_a_short_schedule_fires_again_and_again(app: App, storage: str) -> None:
    """Every second; schedules of less than a minute are not remembered, as in production."""
    app.write(RECORDING.format(schedule="%EVERY%", startup=False))
    app.settings["EVERY"] = "* * * * * *"
    async with host_of(app, storage) as host:
        records = await app.until(lambda seen: len(seen) >= 2)
        assert records[0]["pid"] == host.pids["tick"]
    assert records[0]["past_due"] is False
    assert records[0]["status"] == {}


async def test_it_is_fired_by_hand_and_at_start(app: App, storage: str, http: aiohttp.ClientSession) -> None:
    """The admin API needs the master key; the status tells when the next regular time is."""
    app.write(RECORDING.format(schedule="0 0 0 1 1 *", startup=True))
    async with host_of(app, storage) as host:
        await app.until(lambda seen: len(seen) == 1)
        url = f"{host.url}/admin/functions/tick"
        async with http.post(url, json={"input": ""}) as response:
            assert response.status == 401
        key = {"x-functions-key": host.keys.master}
        async with http.post(url, data=b"no json", headers=key) as response:
            assert response.status == 400
        async with http.post(f"{host.url}/admin/functions/other", json={"input": ""}, headers=key) as response:
            assert response.status == 404
        async with http.post(url, json={"input": ""}, headers=key) as response:
            assert response.status == 202
        records = await app.until(lambda seen: len(seen) == 2)
    status = records[1]["status"]
    assert records[1]["schedule"] == {"AdjustForDST": True}
    assert status["Next"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z"
    assert abs(datetime.fromisoformat(status["Last"]) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_missed_time_is_made_up_for(app: App, storage: str) -> None:
    """What was due while nothing ran fires at once, marked past due."""
    app.write(RECORDING.format(schedule="0 0 0 1 1 *", startup=False))
    host_id = app.folder.parent.name
    async with BlobServiceClient.from_connection_string(storage) as service:
        container = service.get_container_client("azure-webjobs-hosts")
        if not await container.exists():
            await container.create_container()
        blob = container.get_blob_client(f"timers/{host_id}/Host.Functions.tick/status")
        old = {
            "Last": "2020-01-01T00:00:00Z",
            "Next": "2021-01-01T00:00:00Z",
            "LastUpdated": "2020-01-01T00:00:00Z",
        }
        await blob.upload_blob(json.dumps(old))
        async with host_of(app, storage):
            records = await app.until(lambda seen: len(seen) == 1)
        assert records[0]["past_due"] is True
        assert records[0]["status"]["Last"] == "2020-01-01T00:00:00Z"
        kept = json.loads(await (await blob.download_blob()).readall())
        assert kept["Next"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z"


async def test_one_of_two_hosts_fires_and_a_replaced_worker_goes_on(app: App, storage: str) -> None:
    """The lock has one holder; a worker restarted after a crash has it back at once."""
    app.write(RECORDING.format(schedule="* * * * * *", startup=False))
    async with host_of(app, storage) as first:
        await app.until(lambda seen: len(seen) >= 1)
        async with host_of(app, storage) as second:
            await app.until(lambda seen: len(seen) >= 3)
            assert {entry["pid"] for entry in app.records()} == {first.pids["tick"]}
            killed = first.pids["tick"]
            os.kill(killed, signal.SIGKILL)
            await wait_for(lambda: first.pids.get("tick", killed) != killed)
            await app.until(lambda seen: seen[-1]["pid"] == first.pids["tick"], seconds=12)
            others = second.pids["tick"]
        assert others not in {entry["pid"] for entry in app.records()}


async def test_a_failing_timer_is_retried(app: App, storage: str) -> None:
    """The retry policy counts for timers too, and the function sees which try it is."""
    app.write("""
@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")
def tick(timer: func.TimerRequest, context: func.Context) -> None:
    retry = context.retry_context
    record(count=retry.retry_count, most=retry.max_retry_count)
    raise ValueError("again")
""")
    async with host_of(app, storage):
        records = await app.until(lambda seen: len(seen) == 3)
        await wait_for(lambda: app.log.getvalue().count("ValueError: again") >= 3)
    assert [entry["count"] for entry in records] == [0, 1, 2]
    assert {entry["most"] for entry in records} == {2}
