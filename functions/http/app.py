"""The ASGI app: routes, errors, description."""

from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.security import APIKeyHeader

from functions.http import (
    alerts,
    dead_letters,
    description,
    fleet,
    operations,
    probes,
    problems,
    twins,
    work_orders,
)
from functions.http.body_limit import BodyLimit
from functions.http.sides import Sides
from twin_actors.models import Models

PREFIX = "/api"
"""``routePrefix`` in ``host.json``."""

# The host checks the key before the app is called; here it is only described.
_key = APIKeyHeader(
    name="x-functions-key", scheme_name="functionKey", description="A key of the function app.", auto_error=False
)


async def _described_key(_key: Annotated[str | None, Depends(_key)]) -> None:
    """Put the key into the description of each route."""


def make_app(sides: Sides) -> FastAPI:
    """Return the app over its sides."""
    app = FastAPI(
        title="Twinfold",
        version="1",
        description="Digital twins: what they show, and what may be asked of them.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(_described_key)],
    )
    app.state.sides = sides
    app.state.models = Models(sides.registry)
    for noun in (twins, operations, alerts, work_orders, fleet, dead_letters, probes):
        app.include_router(noun.router, prefix=PREFIX)

    @app.get(f"{PREFIX}/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(description.page(app.openapi()))

    problems.install(app)
    description.install(app)
    app.add_middleware(BodyLimit)
    return app
