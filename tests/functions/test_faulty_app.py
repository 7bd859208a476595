"""An app that is set up wrongly, through the host and the genuine worker: it ends, and says all that is wrong."""

from pathlib import Path

import aiohttp
import pytest

from local_emulator.functions_host import FunctionsHost
from local_emulator.functions_host.errors import AppError
from tests.end_to_end.stack import copy_app, eventually, running


async def test_settings_are_refused_before_anything_runs(tmp_path: Path) -> None:
    """What is missing and what contradicts itself, at once."""
    settings = {"MailboxConsumerGroup": "one", "MailboxGapConsumerGroup": "one", "FUNCTIONS_WORKER_PROCESS_COUNT": "2"}
    copy_app(tmp_path / "app")
    with pytest.raises(AppError) as refused:
        async with FunctionsHost(tmp_path / "app", settings=settings, data_dir=tmp_path / "data"):
            pass
    text = str(refused.value)
    for fault in (
        "MailboxName is not set",
        "is one, the trigger's own",
        "PROCESS_COUNT is 2",
        "DigitalTwinsUrl is not",
    ):
        assert fault in text


async def test_faulty_twin_types_end_each_worker_that_needs_them(tmp_path: Path) -> None:
    """With every fault of every folder, at the first tick and at the first request alike."""
    async with running(tmp_path / "services") as stack:
        stack.app = tmp_path / "app"
        copy_app(stack.app)
        types = stack.app / "twin_actors" / "types"
        model = types / "pump" / "rul.json"
        model.write_bytes(model.read_bytes()[:1000])
        (types / "storage_tank" / "twin.py").write_text("TWIN = TwinType()\n")
        (types / "valve").mkdir()
        (types / "valve" / "__init__.py").touch()
        async with stack.host("functions") as host, aiohttp.ClientSession() as http:
            master = {"x-functions-key": host.keys.master}
            for group, call in (
                ("sweep", http.post(f"{host.url}/admin/functions/sweep", json={"input": ""}, headers=master)),
                ("http", http.get(f"{host.url}/api/live", headers=master)),
            ):
                async with call as answer:
                    assert answer.status in {202, 500, 502, 503}
                await eventually(lambda group=group: f"[{group}] worker exited with code 78" in stack.log.getvalue())
        for fault in (
            "the configuration has faults",
            "twin type storage_tank: it cannot be imported: NameError: name 'TwinType' is not defined",
            "twin type valve: it has no twin.py",
            "twin type pump: its rul.json cannot be read",
        ):
            assert stack.log.getvalue().count(fault) >= 2
