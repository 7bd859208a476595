"""What a function is triggered by, read from the bindings that the worker library reports."""

import json
import os
import re
from collections.abc import Mapping, Sequence

import msgspec

from local_emulator.functions_host.errors import SettingsError, UnsupportedError

__all__ = [
    "EventHubTrigger",
    "FunctionSpec",
    "HttpTrigger",
    "RetryPolicy",
    "TimerTrigger",
    "Trigger",
    "read_function",
    "resolve_settings",
]

_SETTING = re.compile(r"%([^%]+)%")


class HttpTrigger(msgspec.Struct, frozen=True, tag="http"):
    """Called by a request; ``methods`` empty means all of them."""

    parameter: str
    route: str
    methods: tuple[str, ...]
    auth_level: str


class EventHubTrigger(msgspec.Struct, frozen=True, tag="event_hub"):
    """Called with batches of one partition; ``data_type`` is BINARY, STRING or empty (JSON)."""

    parameter: str
    hub: str
    connection: str
    consumer_group: str
    data_type: str


class TimerTrigger(msgspec.Struct, frozen=True, tag="timer"):
    """Called on a schedule: six-field NCRONTAB or a time span."""

    parameter: str
    schedule: str
    run_on_startup: bool
    use_monitor: bool


type Trigger = HttpTrigger | EventHubTrigger | TimerTrigger


class RetryPolicy(msgspec.Struct, frozen=True):
    """How a failed invocation is repeated; ``max_retry_count`` -1 means for ever."""

    max_retry_count: int
    fixed_delay: float | None = None
    minimum_interval: float = 0.0
    maximum_interval: float = 0.0


class FunctionSpec(msgspec.Struct, frozen=True):
    """One function of the app."""

    name: str
    function_id: str
    trigger: HttpTrigger | EventHubTrigger | TimerTrigger
    retry: RetryPolicy | None = None

    @property
    def group(self) -> str:
        """Name the process that runs it: all HTTP functions share one, as on Flex Consumption."""
        return "http" if isinstance(self.trigger, HttpTrigger) else self.name


def resolve_settings(text: str, settings: Mapping[str, str]) -> str:
    """Replace each %Name% by the setting of that name."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in settings:
            raise SettingsError(f"{text!r} names the setting {name!r}, which is not set")
        return settings[name]

    return _SETTING.sub(value, text)


def read_function(name: str, function_id: str, raw_bindings: Sequence[str], retry: RetryPolicy | None) -> FunctionSpec:
    """Make a function of its raw bindings, or say what this host lacks for it."""
    trigger: Trigger | None = None
    for raw in raw_bindings:
        binding = _Binding(name, json.loads(raw))
        if binding.kind.endswith("trigger"):
            trigger = _read_trigger(binding)
        elif binding.kind != "http":
            raise UnsupportedError(
                f"function {name}: the binding {binding.kind!r} is not implemented by the local host"
            )
    if trigger is None:
        raise UnsupportedError(f"function {name} has no trigger")
    if retry is not None and isinstance(trigger, HttpTrigger):
        raise UnsupportedError(f"function {name}: HTTP functions have no retry policy")
    if not isinstance(trigger, HttpTrigger) and name == "http":
        raise UnsupportedError("the name 'http' belongs to the group of HTTP functions: rename the function")
    return FunctionSpec(name, function_id, trigger, retry)


class _Binding:
    """One raw binding; names and values are case-insensitive, texts may name settings."""

    def __init__(self, function: str, document: Mapping[str, object]) -> None:
        self.function = function
        self._values = {key.lower(): value for key, value in document.items()}
        self.kind = str(self._values["type"]).lower()
        properties = self._values.get("properties")
        if isinstance(properties, Mapping) and str(properties.get("SupportsDeferredBinding", "")).lower() == "true":
            raise UnsupportedError(f"function {function}: SDK-type bindings are not implemented by the local host")

    def raw(self, name: str) -> object:
        return self._values.get(name.lower())

    def text(self, name: str, default: str = "") -> str:
        value = self.raw(name)
        return default if value is None else resolve_settings(str(value), os.environ)

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise SettingsError(f"function {self.function}: the trigger has no {name}")
        return value


def _read_trigger(binding: _Binding) -> Trigger:
    parameter = binding.required("name")
    match binding.kind:
        case "httptrigger":
            methods = binding.raw("methods")
            return HttpTrigger(
                parameter=parameter,
                route=binding.text("route", binding.function),
                methods=tuple(str(method).upper() for method in methods) if isinstance(methods, list) else (),
                auth_level=_auth_level(binding),
            )
        case "eventhubtrigger":
            return _read_event_hub(binding, parameter)
        case "timertrigger":
            return TimerTrigger(
                parameter=parameter,
                schedule=binding.required("schedule"),
                run_on_startup=bool(binding.raw("runOnStartup")),
                use_monitor=binding.raw("useMonitor") is not False,
            )
    raise UnsupportedError(
        f"function {binding.function}: the trigger {binding.text('type')!r} is not implemented by the local host"
    )


def _auth_level(binding: _Binding) -> str:
    level = binding.text("authLevel", "function").lower()
    if level not in {"anonymous", "function", "admin"}:
        raise UnsupportedError(f"function {binding.function}: auth level {level!r} is not known")
    return level


def _read_event_hub(binding: _Binding, parameter: str) -> EventHubTrigger:
    if binding.text("cardinality", "one").lower() != "many":
        raise UnsupportedError(
            f"function {binding.function}: an Event Hubs trigger of cardinality ONE is not implemented by the"
            " local host: say cardinality=func.Cardinality.MANY"
        )
    data_type = binding.text("dataType").upper()
    if data_type not in {"", "UNDEFINED", "BINARY", "STRING"}:
        raise UnsupportedError(f"function {binding.function}: dataType {data_type!r} is not implemented")
    return EventHubTrigger(
        parameter=parameter,
        hub=binding.required("eventHubName"),
        connection=binding.required("connection"),
        consumer_group=binding.text("consumerGroup", "$Default"),
        data_type="" if data_type == "UNDEFINED" else data_type,
    )
