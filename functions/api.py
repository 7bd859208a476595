"""HTTP trigger: one function for every path; what stands behind it is made at the first request.

A worker that folds messages loads this module too, and must not pay for a web framework that it never uses.
"""

import asyncio
from urllib.parse import unquote, urlsplit

import azure.functions as func

from functions import wiring

bp = func.Blueprint()  # type: ignore[no-untyped-call]

NOT_UTF8 = """{"type": "urn:twinfold:problem:invalid-request", "title": "The request is not valid", "status": 400,
 "detail": "the path is no UTF-8: percent-encode ids as UTF-8"}"""

_lock = asyncio.Lock()
_made: list[func.AsgiMiddleware] = []


@bp.function_name("api")
@bp.route(route="{*route}", methods=list(func.HttpMethod), auth_level=func.AuthLevel.FUNCTION)
async def api(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer a request of an app."""
    try:
        unquote(urlsplit(req.url).path, errors="strict")
    except UnicodeDecodeError:  # the middleware below would fail on it
        return func.HttpResponse(NOT_UTF8, status_code=400, mimetype="application/problem+json")
    application = await _application()
    return await application.handle_async(req, context)  # type: ignore[no-any-return]  # it has no types


async def _application() -> func.AsgiMiddleware:
    async with _lock:
        if not _made:
            from functions.http.app import make_app  # noqa: PLC0415  at the first request: see above

            _made.append(func.AsgiMiddleware(make_app(wiring.make_sides())))  # type: ignore[no-untyped-call]
        return _made[0]
