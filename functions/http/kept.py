"""Documents as apps read them: one, or a page of them."""

from functions.http.paging import Page, from_cursor, to_cursor
from functions.http.problems import not_found
from functions.http.sides import Sides
from functions.http.views import View
from twin_actors.documents import Collection, Document, shown


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

    def view(self, sides: Sides, document: Document) -> V:
        """Return a document as apps read it."""
        return self._kind.model_validate(shown(document, sides.clock.now()))

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
        return self.view(sides, document)

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
        return Page(items=[self.view(sides, one) for one in page.documents], nextCursor=to_cursor(page.token, *asked))
