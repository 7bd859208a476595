"""The app's own description: OpenAPI 3.1, and a page for people."""

import html
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from functions.http.problems import MEDIA_TYPE, ProblemBody

type Responses = dict[int | str, dict[str, Any]]

_NO_KEY = "The host wants a key: none was sent, or a wrong one. It has no body."

_PROBLEMS: Mapping[int, str] = {
    400: "The request is not valid; the problem names each fault.",
    404: "What the path names does not exist.",
    409: "The operation id is another operation's, or the twin is of no type of this app.",
    413: "The request is too large.",
    500: "What is kept cannot be read; an operator must look.",
    503: "A service behind this one does not answer now; ask again after `Retry-After` seconds.",
}

_RETRY_AFTER = {"description": "Seconds to wait before asking again.", "schema": {"type": "integer"}}
_LOCATION = {"description": "Where the operation is looked up.", "schema": {"type": "string"}}


def responses(*statuses: int) -> Responses:
    """Return the description of the problems that a route may answer with."""
    described: Responses = {status: {"model": ProblemBody, "description": _PROBLEMS[status]} for status in statuses}
    if 503 in described:
        described[503]["headers"] = {"Retry-After": _RETRY_AFTER}
    return described


def accepted(*statuses: int) -> Responses:
    """Return the same of a route that starts an operation."""
    return {202: {"description": "The operation, to be looked up again.", "headers": {"Location": _LOCATION}}} | (
        responses(*statuses)
    )


def install(app: FastAPI) -> None:
    """Let the app describe itself as it really answers."""
    generate = app.openapi

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _corrected(generate())
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # the framework's own way to change it


def _corrected(document: dict[str, Any]) -> dict[str, Any]:
    """Return the description with problems as problems; the framework takes faults of validation to be 422."""
    for operations in document["paths"].values():
        for operation in operations.values():
            answers = operation["responses"]
            answers.pop("422", None)
            for status, response in answers.items():
                if int(status) >= 400:
                    response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
            operation["responses"] = dict(sorted({**answers, "401": {"description": _NO_KEY}}.items()))
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def page(document: Mapping[str, Any]) -> str:
    """Return the description as a page of HTML that needs nothing from elsewhere."""
    rows = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation.get('description', ''))}</td>"
        f"<td>{', '.join(operation['responses'])}</td></tr>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"
        "<style>body{font:16px/1.4 system-ui;margin:2rem}td,th{padding:.25rem .75rem;text-align:left;"
        "vertical-align:top}</style>"
        f"<h1>{title}</h1><p>{html.escape(document['info']['description'])}</p>"
        "<p>In full, for tools: <a href='openapi.json'>openapi.json</a> (OpenAPI 3.1).</p>"
        f"<table><tr><th>Method<th>Path<th>What it does<th>Answers</tr>{rows}</table></html>"
    )
