"""python -m local_emulator.functions_host: run a function app on this machine."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from local_emulator.functions_host.bindings import EventHubTrigger, FunctionSpec, HttpTrigger
from local_emulator.functions_host.errors import HostError, SettingsError
from local_emulator.functions_host.host import FunctionsHost

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the host until Ctrl-C or SIGTERM; 0 after a clean end, 1 when the app cannot run."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options.app, options.settings, options.set)
        host = FunctionsHost(
            options.app, settings=settings, data_dir=options.data, host=options.host, port=options.port
        )
        asyncio.run(_serve(host))
    except HostError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_emulator.functions_host", description=__doc__)
    parser.add_argument("--app", type=Path, required=True, help="folder with function_app.py and host.json")
    parser.add_argument(
        "--settings", type=Path, help="app settings: local.settings.json (default: the app's, if there is one)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one more app setting")
    parser.add_argument("--data", type=Path, default=Path(".twinfold/functions_host"), help="where keys are kept")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=7071, help="port to listen on; 0 asks the system")
    return parser


def _settings(app: Path, file: Path | None, extra: list[str]) -> dict[str, str]:
    path = file or app / "local.settings.json"
    settings: dict[str, str] = {}
    if file is not None or path.exists():
        try:
            values = json.loads(path.read_text("utf-8"))["Values"]
        except (OSError, ValueError, KeyError) as error:
            raise SettingsError(f"{path} cannot be read as settings: {error!r}") from error
        settings |= {name: str(value) for name, value in values.items()}
    for item in extra:
        name, equals, value = item.partition("=")
        if not equals:
            raise SettingsError(f"--set {item}: write NAME=VALUE")
        settings[name] = value
    return settings


async def _serve(host: FunctionsHost) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with host:
        sys.stdout.write("".join(f"{line}\n" for line in _summary(host)))
        sys.stdout.flush()
        await stop.wait()


def _summary(host: FunctionsHost) -> list[str]:
    urls = host.route_urls()
    lines = [f"Functions host on {host.url}", f"Keys: {host.key_file}"]
    lines += [f"  {function.name}: {_trigger(function, urls)}" for function in host.functions]
    return lines


def _trigger(function: FunctionSpec, urls: dict[str, str]) -> str:
    trigger = function.trigger
    if isinstance(trigger, HttpTrigger):
        return f"{','.join(trigger.methods) or 'any method'} {urls[function.name]} ({trigger.auth_level})"
    if isinstance(trigger, EventHubTrigger):
        return f"Event Hub {trigger.hub}, consumer group {trigger.consumer_group}"
    return f"timer {trigger.schedule}"


if __name__ == "__main__":
    sys.exit(main())
