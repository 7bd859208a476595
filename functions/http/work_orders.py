"""Work orders."""

from typing import Annotated

from fastapi import APIRouter, Path

from functions.http.dependencies import StatusQuery, TwinIdPath, TwinIdQuery, UsesSides
from functions.http.description import responses
from functions.http.kept import Kept
from functions.http.paging import Cursor, Limit, Page
from functions.http.views import WorkOrderView
from twin_actors.documents import Collection
from twin_actors.identity import TWIN_ID_PATTERN

router = APIRouter(tags=["work orders"])

work_orders = Kept(Collection.WORK_ORDERS, WorkOrderView, "work order")

OrderIdPath = Annotated[
    str,
    Path(
        alias="orderId",
        pattern=f"^({TWIN_ID_PATTERN}-)?order-[0-9]{{1,18}}$",
        description="Of the work order, with or without its twin's id in front.",
        examples=["pump-1-order-1"],
    ),
]


@router.get("/work-orders", operation_id="listWorkOrders", responses=responses(400, 503))
async def list_work_orders(
    sides: UsesSides, twin_id: TwinIdQuery = None, status: StatusQuery = None, limit: Limit = 50, cursor: Cursor = ""
) -> Page[WorkOrderView]:
    """List work orders."""
    return await work_orders.page(sides, twin_id, status, limit, cursor)


@router.get("/twins/{twinId}/work-orders/{orderId}", operation_id="getWorkOrder", responses=responses(400, 404, 503))
async def get_work_order(twin_id: TwinIdPath, order_id: OrderIdPath, sides: UsesSides) -> WorkOrderView:
    """Return the newest revision of a work order with its reason."""
    # Among the documents of its twin an order goes by the rest of its id.
    return await work_orders.one(sides, twin_id, order_id.removeprefix(f"{twin_id}-"))
