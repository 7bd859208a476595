"""The emulator's commands: ``python -m local_emulator <verb>``.

Exit codes: 0 done, 1 refused or not found, 2 wrong usage, 3 nothing is running.
"""

import argparse
import asyncio
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local_emulator import registered_devices
from local_emulator.azurite import AzuriteError
from local_emulator.emulator import NEEDS, PORTS, Plan, StartError
from local_emulator.functions_host import HostError
from local_emulator.registered_devices import SimulatedDevice
from local_emulator.session import READY_FILE, addresses, started, stop_signal

ROOT = Path(__file__).parents[1]
DATA_DIR = ROOT / ".twinfold"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m local_emulator", description="Azure for twins, on this machine.")
    top.add_argument("--data-dir", type=Path, default=DATA_DIR, help="where all services keep their state")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    up = verbs.add_parser("up", help="start the services, until Ctrl-C")
    _add_up(up)
    run = verbs.add_parser("run", help="start everything with simulated devices and show the twins")
    _add_up(run)
    run.add_argument("--for", dest="seconds", type=float, help="stop after so many seconds")

    status = verbs.add_parser("status", help="tell what is running")
    _add_output(status)
    _add_data_dir(
        verbs.add_parser("env", help="print the settings of the running function app, for a shell to evaluate")
    )
    reset = verbs.add_parser("reset", help="forget all state")
    _add_data_dir(reset)
    reset.add_argument("--yes", action="store_true", help="do not ask")
    _add_device(verbs)
    return top


def _add_data_dir(command: argparse.ArgumentParser) -> None:
    """Take the option behind the verb too, where people write it; only one that is given counts."""
    command.add_argument("--data-dir", type=Path, default=argparse.SUPPRESS, help="where all services keep their state")


def _add_up(command: argparse.ArgumentParser) -> None:
    _add_data_dir(command)
    command.add_argument("--ready-file", type=Path, help="written when all services answer")
    command.add_argument("--only", nargs="+", choices=NEEDS, metavar="SERVICE", help=f"of {', '.join(NEEDS)}")
    command.add_argument("--app", type=Path, default=ROOT, help="the folder of the function app")
    command.add_argument("--any-ports", action="store_true", help="ask the system for all ports")
    for name, (service, port) in PORTS.items():
        if name != "mqtt":  # the device SDKs know no other than 8883
            command.add_argument(f"--{name}-port", type=int, default=None, help=f"of {service}, {port} unless said")


def _add_output(command: argparse.ArgumentParser) -> None:
    _add_data_dir(command)
    command.add_argument("-o", "--output", choices=("json", "table"), default="table", help="how to print it")


def _add_device(verbs: Any) -> None:  # noqa: ANN401  argparse hides its type
    nouns = verbs.add_parser("device", help="the devices of the running IoT Hub")
    device = nouns.add_subparsers(dest="device_verb", required=True, metavar="VERB")
    add = device.add_parser("add", help="register a device, and say what plays it")
    add.add_argument("id", help="its device id, which is also its twin's")
    add.add_argument("--acceleration", type=float, default=1.0, help="wear so many times faster than real")
    add.add_argument("--fault", choices=("clogging",), default="", help="let its strainer clog within minutes")
    add.add_argument("--replay", type=Path, help="replay this recording instead of simulating a pump")
    add.add_argument("--mapping", type=Path, help="how the recording's columns become channels")
    add.add_argument("--speed", type=float, default=1.0, help="replay so many times as fast")
    add.add_argument("--keep-time", action="store_true", help="replay with the recorded times, not shifted to now")
    _add_output(add)
    _add_output(device.add_parser("list", help="list the registered devices"))
    remove = device.add_parser("remove", help="remove a device")
    remove.add_argument("id", help="its device id")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    _add_output(remove)


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Return what the command line asks for."""

    def port(name: str) -> int:
        chosen = getattr(arguments, f"{name.replace('-', '_')}_port", None)
        if chosen is not None:
            return int(chosen)
        return 0 if arguments.any_ports else PORTS[name][1]

    return Plan(
        data_dir=arguments.data_dir.resolve(),
        app_dir=arguments.app.resolve(),
        services=frozenset(arguments.only or NEEDS),
        ports={name: port(name) for name in PORTS},
    )


async def up(arguments: argparse.Namespace) -> int:
    """Start the services, and wait for Ctrl-C."""
    stop = stop_signal()
    async with started(plan_of(arguments), arguments.ready_file) as emulator:
        for line in addresses(emulator):
            _print(line)
        _print("running; Ctrl-C stops everything")
        await stop.wait()
        _print("stopping")
    return 0


async def run(arguments: argparse.Namespace) -> int:
    """Start everything, play the devices and show the twins."""
    from local_emulator.live import show  # noqa: PLC0415  rich and the SDKs are for this command only

    await show(plan_of(arguments), arguments.ready_file, arguments.seconds)
    return 0


def read_ready(data_dir: Path) -> dict[str, Any] | None:
    """Return what the running emulator says of itself."""
    try:
        ready: dict[str, Any] = json.loads((data_dir / READY_FILE).read_text())
        os.kill(ready["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return ready


def status(arguments: argparse.Namespace, ready: dict[str, Any]) -> int:
    """Tell what is running."""
    rows = [{"service": "emulator", "address": f"pid {ready['pid']}"}]
    for name, key in (("event_hubs", "connection_string"), ("iot_hub", "host_name")):
        if name in ready:
            rows.append({"service": name, "address": str(ready[name][key]).split(";")[0]})
    rows += [
        {"service": name, "address": ready[name]["url"]} for name in ("digital_twins", "functions") if name in ready
    ]
    _print_rows(rows, arguments.output)
    return 0


def env(_arguments: argparse.Namespace, ready: dict[str, Any]) -> int:
    """Print the settings of the function app as a shell takes them."""
    for name, value in ready["settings"].items():
        _print(f"export {name}={shlex.quote(value)}")
    return 0


def reset(arguments: argparse.Namespace) -> int:
    """Forget all state."""
    folder: Path = arguments.data_dir
    if read_ready(folder) is not None:
        return _fail(f"an emulator runs on {folder}: stop it first")
    if not folder.exists():
        _print(f"nothing in {folder}")
        return 0
    if not (folder / "lock").exists():
        return _fail(f"{folder} does not look like an emulator's data: it has no file `lock`")
    if not arguments.yes and not _confirmed(f"Delete everything in {folder}?"):
        return 1
    shutil.rmtree(folder)
    _print(f"deleted {folder}")
    return 0


async def device(arguments: argparse.Namespace, ready: dict[str, Any]) -> int:
    """Add, list or remove devices."""
    if "iot_hub" not in ready:
        return _fail("the running emulator has no IoT Hub")
    if arguments.device_verb == "add":
        return await _add(arguments, ready)
    if arguments.device_verb == "remove":
        return await _remove(arguments, ready)
    _print_rows(await registered_devices.listed(ready, arguments.data_dir), arguments.output)
    return 0


async def _add(arguments: argparse.Namespace, ready: dict[str, Any]) -> int:
    if bool(arguments.replay) != bool(arguments.mapping):
        return _fail("a replay needs both --replay and --mapping")
    if arguments.replay and arguments.fault:
        return _fail("a replay has the faults that were recorded: leave --fault out")
    missing = [str(path) for path in (arguments.replay, arguments.mapping) if path and not path.exists()]
    if missing:
        return _fail(f"there is no file {', '.join(missing)}")
    player = SimulatedDevice(
        acceleration=arguments.acceleration,
        fault=arguments.fault,
        replay=str(arguments.replay.resolve()) if arguments.replay else "",
        mapping=str(arguments.mapping.resolve()) if arguments.mapping else "",
        speed=arguments.speed,
        keep_time=arguments.keep_time,
    )
    is_new = await registered_devices.add(ready, arguments.data_dir, arguments.id, player)
    _print_rows([{"device": arguments.id, "state": "added" if is_new else "changed"}], arguments.output)
    return 0


async def _remove(arguments: argparse.Namespace, ready: dict[str, Any]) -> int:
    if not arguments.yes and not _confirmed(f"Remove device {arguments.id}?"):
        return 1
    if not await registered_devices.remove(ready, arguments.data_dir, arguments.id):
        return _fail(f"there is no device {arguments.id}; `device list` lists them")
    _print_rows([{"device": arguments.id, "state": "removed"}], arguments.output)
    return 0


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        _fail(f"{question} There is nobody to ask: say --yes.")
        return False
    return input(f"{question} [y/N] ").strip().lower() == "y"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return 1


def _print_rows(rows: Sequence[dict[str, Any]], output: str) -> None:
    if output == "json":
        _print(json.dumps(rows, indent=2))
        return
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    for line in lines:
        _print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code."""
    parsed = parser().parse_args(arguments)
    parsed.data_dir = parsed.data_dir.resolve()
    try:
        if parsed.verb in {"up", "run"}:
            return asyncio.run((up if parsed.verb == "up" else run)(parsed))
        if parsed.verb == "reset":
            return reset(parsed)
        ready = read_ready(parsed.data_dir)
        if ready is None:
            sys.stderr.write(f"no emulator runs on {parsed.data_dir}; start one with `make run` or `up`\n")
            return 3
        if parsed.verb == "device":
            return asyncio.run(device(parsed, ready))
        return (status if parsed.verb == "status" else env)(parsed, ready)
    except (StartError, AzuriteError, HostError) as error:
        return _fail(str(error))


if __name__ == "__main__":
    sys.exit(main())
