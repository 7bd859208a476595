"""python -m local_emulator.devices: run simulated pumps, or replay a recording."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import msgspec

from local_emulator.devices.errors import ConnectionsError, DeviceError
from local_emulator.devices.fleet import PumpFleet
from local_emulator.devices.mapping import load_mapping
from local_emulator.devices.replay import replay

__all__ = ["main"]

MAPPINGS = Path(__file__).parent / "mappings"


class PumpConnection(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A pump in a file of connections."""

    connection_string: str
    acceleration: float | None = None


def main(arguments: list[str] | None = None) -> int:
    """Run until the recording ends, Ctrl-C or SIGTERM; 0 after a clean end, 1 when it cannot run."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("local_emulator.devices").setLevel(logging.INFO)
    logging.getLogger("azure.iot.device").setLevel(logging.CRITICAL)  # what it logs on the way is told here in a line
    try:
        asyncio.run(_run_pumps(options) if options.command == "run" else _replay(options))
    except (DeviceError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_emulator.devices", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    trust = argparse.ArgumentParser(add_help=False)
    trust.add_argument("--ca-file", type=Path, help="PEM file of the authority to trust (default: SSL_CERT_FILE)")
    run = commands.add_parser("run", parents=[trust], help="simulate pumps")
    run.add_argument(
        "--connections",
        type=Path,
        required=True,
        metavar="FILE.json",
        help='list of connection strings, or of {"connectionString": …, "acceleration": …}',
    )
    run.add_argument("--seed", type=int, default=0, help="the same seed gives the same pumps and noise")
    run.add_argument("--acceleration", type=float, default=1.0, help="how many times faster than real they wear")
    run.add_argument("--period", type=float, default=1.0, help="seconds between readings")
    play = commands.add_parser("replay", parents=[trust], help="stream a recorded CSV as a device's telemetry")
    play.add_argument("file", type=Path, help="CSV, plain or gzipped")
    play.add_argument("--mapping", required=True, help="TOML file, or the name of one that comes along: skab")
    play.add_argument("--connection-string", required=True, help="of the device that it plays")
    play.add_argument("--speed", type=float, default=1.0, help="how many times faster than recorded")
    play.add_argument("--keep-time", action="store_true", help="send the recorded times, not those of now")
    play.add_argument("--limit", type=int, help="rows after which to end")
    return parser


async def _run_pumps(options: argparse.Namespace) -> None:
    pumps = read_connections(options.connections)
    fleet = PumpFleet(
        [pump.connection_string for pump in pumps],
        seed=options.seed,
        acceleration=[options.acceleration if pump.acceleration is None else pump.acceleration for pump in pumps],
        period=options.period,
        ca_file=options.ca_file,
    )
    await fleet.run(_stopped_by_signal())


async def _replay(options: argparse.Namespace) -> None:
    named = MAPPINGS / f"{options.mapping}.toml"
    report = await replay(
        options.file,
        load_mapping(named if named.exists() else Path(options.mapping)),
        options.connection_string,
        speed=options.speed,
        keep_time=options.keep_time,
        limit=options.limit,
        ca_file=options.ca_file,
        stop=_stopped_by_signal(),
        progress=_say,
    )
    _say(f"end: {report}")


def read_connections(path: Path) -> list[PumpConnection]:
    """Read a file of connections.

    Raises
    ------
    ConnectionsError
        It cannot be read, or is no list of connections.
    """
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[str | PumpConnection])
    except (OSError, msgspec.DecodeError) as error:
        raise ConnectionsError(f"{path} is no list of connections: {error}") from error
    return [PumpConnection(entry) if isinstance(entry, str) else entry for entry in entries]


def _stopped_by_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
