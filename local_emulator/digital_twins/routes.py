"""Which operation a method and a path mean."""

from collections.abc import Sequence
from urllib.parse import unquote

from . import errors
from .call import Handler
from .handlers import models, query, relationships, telemetry, twins, unsupported

_TWIN = "/digitaltwins/{}"
_RELATIONSHIP = f"{_TWIN}/relationships/{{}}"
_COMPONENT = f"{_TWIN}/components/{{}}"

_OPERATIONS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/models", models.post_models),
    ("GET", "/models", models.list_models),
    ("GET", "/models/{}", models.get_model),
    ("PATCH", "/models/{}", models.patch_model),
    ("DELETE", "/models/{}", models.delete_model),
    ("POST", "/query", query.post_query),
    ("PUT", _TWIN, twins.put_twin),
    ("GET", _TWIN, twins.get_twin),
    ("PATCH", _TWIN, twins.patch_twin),
    ("DELETE", _TWIN, twins.delete_twin),
    ("POST", f"{_TWIN}/telemetry", telemetry.post_telemetry),
    ("GET", _COMPONENT, twins.get_component),
    ("PATCH", _COMPONENT, twins.patch_component),
    ("POST", f"{_COMPONENT}/telemetry", telemetry.post_component_telemetry),
    ("GET", f"{_TWIN}/relationships", relationships.list_relationships),
    ("GET", f"{_TWIN}/incomingrelationships", relationships.list_incoming),
    ("PUT", _RELATIONSHIP, relationships.put_relationship),
    ("GET", _RELATIONSHIP, relationships.get_relationship),
    ("PATCH", _RELATIONSHIP, relationships.patch_relationship),
    ("DELETE", _RELATIONSHIP, relationships.delete_relationship),
    ("GET", "/eventroutes", unsupported.event_routes),
    *((method, "/eventroutes/{}", unsupported.event_routes) for method in ("GET", "PUT", "DELETE")),
    ("GET", "/jobs/imports", unsupported.jobs),
    *((method, "/jobs/imports/{}", unsupported.jobs) for method in ("GET", "PUT", "DELETE")),
    ("POST", "/jobs/imports/{}/cancel", unsupported.jobs),
    *((method, "/jobs/deletions", unsupported.jobs) for method in ("GET", "POST")),
    ("GET", "/jobs/deletions/{}", unsupported.jobs),
)
_VARIABLE = "{}"
_BY_SHAPE: dict[tuple[str, int], list[tuple[list[str], Handler]]] = {}
for _method, _pattern, _handler in _OPERATIONS:
    _steps = _pattern.strip("/").split("/")
    _BY_SHAPE.setdefault((_method, len(_steps)), []).append((_steps, _handler))


def find_handler(method: str, path: str) -> tuple[Handler, Sequence[str]]:
    """Find the operation of a path as sent, and the path's variable segments, decoded.

    A path is taken apart before it is decoded: identifiers may have slashes in them.
    """
    steps = path.strip("/").split("/")
    for pattern, handler in _BY_SHAPE.get((method, len(steps)), ()):
        if all(want in (_VARIABLE, got) for want, got in zip(pattern, steps, strict=True)):
            names = [unquote(got) for want, got in zip(pattern, steps, strict=True) if want == _VARIABLE]
            return handler, names
    raise errors.unknown_path(path)
