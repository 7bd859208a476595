"""Queries over the graph."""

import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from local_emulator.digital_twins import errors, limits
from local_emulator.digital_twins.call import OLDEST_API, Answer, Call, Json
from local_emulator.digital_twins.query.evaluation import Evaluation, Row
from local_emulator.digital_twins.query.syntax import Query, parse_query
from local_emulator.digital_twins.twin_document import shown

_CHARGE_PER_QUERY = 2.5
_CHARGE_PER_ROW = 0.02


class _Continuation(msgspec.Struct, frozen=True):
    """Where a query's last page ended: the token is this as text, as the service's is.

    Attributes
    ----------
    query
        The query, for callers that send only the token.
    after
        The key of the last row.
    total
        How many rows have been given out.
    page
        How many pages.
    """

    query: str = msgspec.field(name="_q")
    after: str = msgspec.field(name="_rc")
    total: int = msgspec.field(name="_tr")
    page: int = msgspec.field(name="_pn")
    kind: int = msgspec.field(name="_t", default=2)
    identifier: str = msgspec.field(name="_id", default="")


def post_query(call: Call) -> Answer:
    """Answer one page of a query."""
    body = call.json()
    position = _position(body)
    query = parse_query(position.query)
    evaluation = Evaluation(query, call.graph.interfaces())
    if query.is_count:
        count = sum(1 for _, row in _rows(call, query, "") if evaluation.wants(row))
        return _answer(call, [{"COUNT": count}], None)
    size = call.page_size(limits.QUERY_PAGE, limits.LARGEST_QUERY_PAGE)
    left = size if query.top is None else min(size, query.top - position.total)
    rows = ((key, row) for key, row in _rows(call, query, position.after) if evaluation.wants(row))
    page = list(islice(rows, left))
    total = position.total + len(page)
    token = None
    if len(page) == size and total != query.top and next(rows, None) is not None:
        following = _Continuation(position.query, page[-1][0], total, position.page + 1, 2, position.identifier)
        token = msgspec.json.encode(following).decode()
    return _answer(call, [evaluation.project(row) for _, row in page], token)


def _position(body: Json) -> _Continuation:
    """Read the query, and where to go on."""
    token = body.get("continuationToken") if isinstance(body, dict) else None
    if token is not None:
        try:
            return msgspec.json.decode(str(token), type=_Continuation)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise errors.continuation_invalid() from error
    text = body.get("query") if isinstance(body, dict) else None
    if not isinstance(text, str):
        raise errors.ServiceError(400, "BadRequest", "The request body has neither a query nor a continuationToken.")
    return _Continuation(text, "", 0, 0, 2, str(uuid.uuid4()))


def _rows(call: Call, query: Query, after: str) -> Iterator[tuple[str, Row]]:
    """Give the collection's rows in the order of their keys, after one of them."""
    graph = call.graph
    if query.collection == "DIGITALTWINS":
        order: Sequence[str] = graph.twin_order()
        for key in islice(order, bisect_right(order, after), None):
            yield key, shown(graph.twins[key], with_update_time=call.api_version != OLDEST_API)
    else:
        keyed = {f"{link.source}\n{link.id}": link for link in graph.relationships()}
        for key in sorted(keyed):
            if key > after:
                yield key, keyed[key].document()


def _answer(call: Call, rows: Sequence[Row], token: str | None) -> Answer:
    charge = _CHARGE_PER_QUERY + _CHARGE_PER_ROW * len(call.graph.twins)
    return Answer(200, {"value": rows, "continuationToken": token}, {"query-charge": f"{charge:.2f}"})
