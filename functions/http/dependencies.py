"""What routes ask for: the sides, the caller, ids that are checked."""

from typing import Annotated, cast

from fastapi import Depends, Header, Path, Query, Request
from pydantic import AfterValidator, Field

from functions.http.sides import Sides
from twin_actors.identity import OPERATION_ID_PATTERN, TWIN_ID_PATTERN
from twin_actors.models import Models
from twin_actors.requests import AUTOMATIC, MAX_NAME_LENGTH, RULE

NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
"""Of operations, alerts, work orders."""


def _callers_own(operation_id: str) -> str:
    if operation_id.startswith(AUTOMATIC):
        raise ValueError(f"ids that begin with {AUTOMATIC} belong to rules")
    return operation_id


OperationId = Annotated[
    str,
    Field(
        pattern=f"^{OPERATION_ID_PATTERN}$",
        description="An id of the caller's own: the same one again is the same operation.",
        json_schema_extra={"not": {"pattern": f"^{AUTOMATIC}"}},
    ),
    AfterValidator(_callers_own),
]


async def _sides(request: Request) -> Sides:
    return cast("Sides", request.app.state.sides)


UsesSides = Annotated[Sides, Depends(_sides)]


async def _models(request: Request) -> Models:
    return cast("Models", request.app.state.models)


async def _caller(
    sides: UsesSides,
    principal: Annotated[str, Header(alias="X-MS-CLIENT-PRINCIPAL-NAME", include_in_schema=False)] = "",
) -> str:
    """Return who asks: whom the platform has signed in, or who holds a key."""
    if not (sides.has_sign_in and principal):
        return "function key"
    name = f"user {principal}" if principal.startswith(RULE) else principal  # what rules ask for begins so
    return name[:MAX_NAME_LENGTH]


UsesModels = Annotated[Models, Depends(_models)]
Caller = Annotated[str, Depends(_caller)]

TwinIdPath = Annotated[
    str, Path(alias="twinId", pattern=f"^{TWIN_ID_PATTERN}$", description="Of the twin.", examples=["pump-1"])
]
TwinIdQuery = Annotated[
    str | None, Query(alias="twinId", pattern=f"^{TWIN_ID_PATTERN}$", description="Of this twin only.")
]
OperationIdPath = Annotated[str, Path(alias="operationId", pattern=NAME_PATTERN, description="Of the operation.")]
StatusQuery = Annotated[str | None, Query(pattern="^[a-z-]{1,32}$", description="Of this status only.")]
