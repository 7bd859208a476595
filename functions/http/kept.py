"""Documents as apps read them: one, or a page of them."""

import msgspec

from functions.http.paging import Page, from_cursor, to_cursor
from functions.http.problems import not_found
from functions.http.sides import Sides
from functions.http.views import View
from twin_actors.documents import Collection, Document


class Kept[V: View]:
    """One collection of documents.

    Parameters
    ----------
    collection
    kind
        The view of its documents.
    noun
        What one is called.
    """

    def __init__(self, collection: Collection, kind: type[V], noun: str) -> None:
        self._collection = collection
        self._kind = kind
        self._noun = noun

    def view(self, document: Document) -> V:
        """Return a document as apps read it."""
        body = msgspec.json.decode(document.body)
        return self._kind.model_validate({**body, "twinId": document.twin_id, "status": document.status})

    async def one(self, sides: Sides, twin_id: str, document_id: str) -> V:
        """Return the document with an id.

        Raises
        ------
        Problem
            There is none.
        Unavailable
        """
        document = await sides.documents.get(self._collection, twin_id, document_id)
        if document is None:
            raise not_found(self._noun, f"twin {twin_id} has no {self._noun} {document_id}")
        return self.view(document)

    async def page(self, sides: Sides, twin_id: str | None, status: str | None, limit: int, cursor: str) -> Page[V]:
        """Return a page of the documents of one twin, of one status, or of all.

        Raises
        ------
        Problem
            The cursor is not of this list.
        Unavailable
        """
        asked = (self._collection.value, twin_id, status)
        token = from_cursor(cursor, *asked)
        page = await sides.documents.list(
            self._collection, twin_id=twin_id or "", status=status or "", limit=limit, token=token
        )
        return Page(items=[self.view(one) for one in page.documents], nextCursor=to_cursor(page.token, *asked))
