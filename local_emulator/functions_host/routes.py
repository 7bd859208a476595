"""Route templates as ASP.NET Core reads them: parameters, constraints, optional and catch-all parts."""

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from local_emulator.functions_host.bindings import FunctionSpec, HttpTrigger
from local_emulator.functions_host.errors import UnsupportedError

__all__ = ["Route", "RouteTable"]

type _Check = Callable[[str], bool]

_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)((?::[^{}=?(]+(?:\((?:[^{}]|\{[^{}]*\})*\))?)*)(?:=([^{}?]*))?(\?)?\}")
_CONSTRAINT = re.compile(r":([^:(]+)(?:\(((?:[^()]|\([^()]*\))*)\))?")
_LITERAL, _CONSTRAINED, _PLAIN, _CATCH_ALL = range(4)


def _parses(convert: Callable[[str], object]) -> _Check:
    def check(text: str) -> bool:
        try:
            convert(text)
        except ValueError:
            return False
        return True

    return check


_SIMPLE: dict[str, _Check] = {
    "int": lambda text: _parses(int)(text) and -(2**31) <= int(text) < 2**31,
    "long": lambda text: _parses(int)(text) and -(2**63) <= int(text) < 2**63,
    "float": _parses(float),
    "double": _parses(float),
    "decimal": _parses(float),
    "bool": lambda text: text.lower() in {"true", "false"},
    "guid": _parses(uuid.UUID),
    "datetime": _parses(datetime.fromisoformat),
    "alpha": lambda text: re.fullmatch("[A-Za-z]*", text) is not None,
    "required": bool,
}


def _bounds(argument: str) -> tuple[int, int]:
    low, _, high = argument.partition(",")
    return int(low), int(high or low)


def _length_check(argument: str) -> _Check:
    low, high = _bounds(argument)
    return lambda text: low <= len(text) <= high


def _range_check(argument: str) -> _Check:
    low, high = _bounds(argument)
    return lambda text: _SIMPLE["long"](text) and low <= int(text) <= high


def _pattern_check(argument: str) -> _Check:
    # Braces are doubled in templates.
    pattern = re.compile(argument.replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
    return lambda text: pattern.search(text) is not None


_WITH_ARGUMENT: dict[str, Callable[[str], _Check]] = {
    "length": _length_check,
    "minlength": lambda argument: lambda text: len(text) >= int(argument),
    "maxlength": lambda argument: lambda text: len(text) <= int(argument),
    "min": lambda argument: lambda text: _SIMPLE["long"](text) and int(text) >= int(argument),
    "max": lambda argument: lambda text: _SIMPLE["long"](text) and int(text) <= int(argument),
    "range": _range_check,
    "regex": _pattern_check,
}


@dataclass(frozen=True)
class _Parameter:
    name: str
    checks: tuple[_Check, ...]
    default: str | None
    optional: bool
    catch_all: bool


@dataclass(frozen=True)
class _Segment:
    pattern: re.Pattern[str]
    parameters: tuple[_Parameter, ...]
    rank: int

    @property
    def may_be_absent(self) -> bool:
        return bool(self.parameters) and (
            self.parameters[0].optional or self.parameters[0].catch_all or self.parameters[0].default is not None
        )


class Route:
    """One function's route."""

    def __init__(self, function: FunctionSpec, trigger: HttpTrigger, prefix: str) -> None:
        self.function = function
        self.trigger = trigger
        self.template = "/".join(part for part in (prefix, trigger.route.strip("/")) if part)
        self._segments = [self._segment(part) for part in self.template.split("/") if part]
        self.rank = [segment.rank for segment in self._segments]

    def match(self, method: str, parts: list[str]) -> dict[str, str] | None:
        """Give the route parameters if the request is this route's, else None."""
        if self.trigger.methods and method not in self.trigger.methods:
            return None
        values: dict[str, str] = {}
        for index, segment in enumerate(self._segments):
            catch_all = bool(segment.parameters) and segment.parameters[0].catch_all
            if index >= len(parts):
                if not segment.may_be_absent:
                    return None
                if (default := segment.parameters[0].default) is not None:
                    values[segment.parameters[0].name] = default
                continue
            text = "/".join(parts[index:]) if catch_all else parts[index]
            if not self._take(segment, text, values):
                return None
            if catch_all:
                return values
        return values if len(parts) <= len(self._segments) else None

    @staticmethod
    def _take(segment: _Segment, text: str, values: dict[str, str]) -> bool:
        found = segment.pattern.fullmatch(text)
        if found is None:
            return False
        for parameter in segment.parameters:
            value = found.group(parameter.name)
            if not all(check(value) for check in parameter.checks):
                return False
            values[parameter.name] = value
        return True

    def _segment(self, text: str) -> _Segment:
        pattern, rank, end = "", _LITERAL, 0
        parameters: list[_Parameter] = []
        for found in _PARAMETER.finditer(text):
            pattern += re.escape(text[end : found.start()])
            stars, name, constraints, default, optional = found.groups()
            parameter = _Parameter(name, self._checks(constraints), default, bool(optional), bool(stars))
            parameters.append(parameter)
            pattern += f"(?P<{name}>.+)" if not parameter.catch_all else f"(?P<{name}>.*)"
            rank = max(rank, _CATCH_ALL if stars else _CONSTRAINED if constraints else _PLAIN)
            end = found.end()
        rest = text[end:]
        if "{" in rest or "}" in rest:
            raise UnsupportedError(f"function {self.function.name}: the route part {text!r} cannot be read")
        return _Segment(re.compile(pattern + re.escape(rest), re.IGNORECASE | re.DOTALL), tuple(parameters), rank)

    def _checks(self, constraints: str) -> tuple[_Check, ...]:
        checks: list[_Check] = []
        for found in _CONSTRAINT.finditer(constraints):
            name, argument = found.group(1), found.group(2)
            if name not in (_SIMPLE if argument is None else _WITH_ARGUMENT):
                raise UnsupportedError(f"function {self.function.name}: the route constraint {name!r} is not known")
            checks.append(_SIMPLE[name] if argument is None else _WITH_ARGUMENT[name](argument))
        return tuple(checks)


class RouteTable:
    """All routes of the app, most specific first."""

    def __init__(self, functions: Iterable[FunctionSpec], prefix: str) -> None:
        routes = [
            Route(function, function.trigger, prefix)
            for function in functions
            if isinstance(function.trigger, HttpTrigger)
        ]
        self.routes = sorted(routes, key=lambda route: route.rank)

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
        """Find the route of a request, and its parameters."""
        parts = [unquote(part) for part in raw_path.strip("/").split("/")] if raw_path.strip("/") else []
        for route in self.routes:
            if (values := route.match(method.upper(), parts)) is not None:
                return route, values
        return None
