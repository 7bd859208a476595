"""host.json: the few options that this host acts on, with production's defaults."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from local_emulator.functions_host.errors import SettingsError

__all__ = ["EventHubsOptions", "HostOptions", "parse_time_span", "read_host_json"]

_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(\.\d+)?)?")
_DEFAULT_TIMEOUT = 1800.0


class EventHubsOptions(msgspec.Struct, frozen=True):
    """Section extensions.eventHubs; ``initial_time`` comes before ``initial_offset``."""

    max_event_batch_size: int = 100
    min_event_batch_size: int = 1
    max_wait_seconds: float = 60.0
    prefetch_count: int = 300
    batch_checkpoint_frequency: int = 1
    initial_offset: str = "-1"
    initial_time: datetime | None = None


class HostOptions(msgspec.Struct, frozen=True):
    """What of host.json counts; ``function_timeout`` is None for no limit."""

    event_hubs: EventHubsOptions = EventHubsOptions()
    route_prefix: str = "api"
    function_timeout: float | None = _DEFAULT_TIMEOUT
    log_level: str = "Information"


def parse_time_span(text: str) -> float:
    """Read a .NET TimeSpan ("[d.]hh:mm[:ss[.fff]]") as seconds."""
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{text!r} is no time span: write hh:mm:ss")
    days, hours, minutes, seconds, fraction = match.groups()
    whole = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    return whole + float(fraction or 0)


def read_host_json(app_dir: Path) -> HostOptions:
    """Read the app's host.json; a missing file is an error, as in production."""
    path = app_dir / "host.json"
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing: a function app has one beside function_app.py") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path} must hold an object")
    timeout = document.get("functionTimeout")
    return HostOptions(
        event_hubs=_event_hubs(_section(document, "extensions", "eventHubs")),
        route_prefix=str(_section(document, "extensions", "http").get("routePrefix", "api")).strip("/"),
        function_timeout=_DEFAULT_TIMEOUT if timeout is None else _timeout(str(timeout)),
        log_level=str(_section(document, "logging", "logLevel").get("default", "Information")),
    )


def _timeout(text: str) -> float | None:
    return None if text == "-1" else parse_time_span(text)


def _section(document: Mapping[str, object], *names: str) -> Mapping[str, object]:
    section: object = document
    for name in names:
        section = section.get(name, {}) if isinstance(section, Mapping) else {}
    return section if isinstance(section, Mapping) else {}


def _event_hubs(section: Mapping[str, object]) -> EventHubsOptions:
    default = EventHubsOptions()

    def number(name: str, otherwise: int) -> int:
        value = section.get(name, otherwise)
        if not isinstance(value, int) or value < 1:
            raise SettingsError(f"host.json: extensions.eventHubs.{name} must be a positive number, not {value!r}")
        return value

    offset, moment = _initial_position(_section(section, "initialOffsetOptions"))
    options = EventHubsOptions(
        max_event_batch_size=number("maxEventBatchSize", default.max_event_batch_size),
        min_event_batch_size=number("minEventBatchSize", default.min_event_batch_size),
        max_wait_seconds=parse_time_span(str(section.get("maxWaitTime", "00:01:00"))),
        prefetch_count=number("prefetchCount", default.prefetch_count),
        batch_checkpoint_frequency=number("batchCheckpointFrequency", default.batch_checkpoint_frequency),
        initial_offset=offset,
        initial_time=moment,
    )
    if options.min_event_batch_size > options.max_event_batch_size:
        raise SettingsError("host.json: minEventBatchSize is larger than maxEventBatchSize")
    return options


def _initial_position(section: Mapping[str, object]) -> tuple[str, datetime | None]:
    kind = str(section.get("type", "fromStart")).lower()
    if kind == "fromstart":
        return "-1", None
    if kind == "fromend":
        return "@latest", None
    if kind == "fromenqueuedtime":
        try:
            moment = datetime.fromisoformat(str(section.get("enqueuedTimeUtc", "")))
        except ValueError as error:
            raise SettingsError(f"host.json: initialOffsetOptions.enqueuedTimeUtc: {error}") from error
        return "-1", moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    raise SettingsError(
        f"host.json: initialOffsetOptions.type {kind!r} is not one of fromStart, fromEnd, fromEnqueuedTime"
    )
