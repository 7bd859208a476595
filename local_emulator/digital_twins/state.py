"""What the service remembers: models, twins, relationships.

All of it is in memory, for quick answers, and in a SQLite file, written before a request is answered. A write
is with the operating system when its transaction ends, so it outlives this process however that ends.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from twin_actors import dtdl
from twin_actors.dtdl import Dtmi, Interface

type Document = dict[str, Any]
"""A JSON object whose form a model says, at run time."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (
    position INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, uploaded TEXT NOT NULL,
    decommissioned INTEGER NOT NULL, document BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS twins (id TEXT PRIMARY KEY, etag TEXT NOT NULL, document BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS relationships (
    source TEXT NOT NULL, id TEXT NOT NULL, etag TEXT NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL,
    properties BLOB NOT NULL, PRIMARY KEY (source, id)
) WITHOUT ROWID;
"""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def deep_copy(document: Document) -> Document:
    """Copy a document to its last part: by way of its text, which is quickest."""
    copied: Document = _decode(_encode(document))
    return copied


@dataclass(frozen=True, slots=True)
class Model:
    """An uploaded model: the interface, and the document as its author wrote it."""

    interface: Interface
    document: Document
    uploaded: str
    is_decommissioned: bool = False


@dataclass(frozen=True, slots=True)
class Twin:
    """A twin as written last.

    Attributes
    ----------
    document
        Its properties and components, then ``$metadata``; never changed in place.
    """

    id: str
    etag: str
    document: Document

    @property
    def model(self) -> Dtmi:
        """The identifier of its model."""
        return Dtmi(self.document["$metadata"]["$model"])


@dataclass(frozen=True, slots=True)
class Relationship:
    """A link from one twin to another, as written last."""

    source: str
    id: str
    etag: str
    name: str
    target: str
    properties: Document

    def document(self) -> Document:
        """Give it as the service shows it."""
        return {
            "$relationshipId": self.id,
            "$etag": self.etag,
            "$sourceId": self.source,
            "$relationshipName": self.name,
            "$targetId": self.target,
            **self.properties,
        }


class Graph:
    """Everything the service remembers.

    Parameters
    ----------
    file
        Where it is kept.
    """

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        self.models: dict[str, Model] = {}
        self.twins: dict[str, Twin] = {}
        self._twin_order: list[str] | None = None
        self._outgoing: dict[str, dict[str, Relationship]] = {}
        self._incoming: dict[str, dict[tuple[str, str], Relationship]] = {}
        self._restore()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def interfaces(self) -> Mapping[Dtmi, Interface]:
        """Give all interfaces by identifier."""
        return {model.interface.id: model.interface for model in self.models.values()}

    def twin_order(self) -> Sequence[str]:
        """Give the identifiers of all twins in order."""
        if self._twin_order is None:
            self._twin_order = sorted(self.twins)
        return self._twin_order

    def outgoing(self, source: str) -> Mapping[str, Relationship]:
        """Give a twin's own relationships by identifier."""
        return self._outgoing.get(source, {})

    def incoming(self, target: str) -> Iterator[Relationship]:
        """Give the relationships that end at a twin."""
        return iter(self._incoming.get(target, {}).values())

    def incoming_count(self, target: str) -> int:
        """Count the relationships that end at a twin."""
        return len(self._incoming.get(target, {}))

    def is_linked(self, twin: str) -> bool:
        """Whether any relationship starts or ends at the twin."""
        return bool(self._outgoing.get(twin) or self._incoming.get(twin))

    def relationships(self) -> Iterator[Relationship]:
        """Give every relationship."""
        for group in self._outgoing.values():
            yield from group.values()

    def add_models(self, models: Sequence[Model]) -> None:
        """Remember new models: all or none."""
        rows = [(model.interface.id, model.uploaded, False, _encode(model.document)) for model in models]
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany(
                "INSERT INTO models (id, uploaded, decommissioned, document) VALUES (?, ?, ?, ?)", rows
            )
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        self.models.update({model.interface.id: model for model in models})

    def replace_model(self, model: Model) -> None:
        """Remember whether a model is decommissioned."""
        self._database.execute(
            "UPDATE models SET decommissioned = ? WHERE id = ?", (model.is_decommissioned, model.interface.id)
        )
        self.models[model.interface.id] = model

    def remove_model(self, model: str) -> None:
        """Forget a model."""
        self._database.execute("DELETE FROM models WHERE id = ?", (model,))
        del self.models[model]

    def put_twin(self, twin: Twin) -> None:
        """Remember a twin as it is now."""
        self._database.execute(
            "INSERT OR REPLACE INTO twins VALUES (?, ?, ?)", (twin.id, twin.etag, _encode(twin.document))
        )
        if twin.id not in self.twins:
            self._twin_order = None
        self.twins[twin.id] = twin

    def remove_twin(self, twin: str) -> None:
        """Forget a twin."""
        self._database.execute("DELETE FROM twins WHERE id = ?", (twin,))
        del self.twins[twin]
        self._twin_order = None

    def put_relationship(self, link: Relationship) -> None:
        """Remember a relationship as it is now."""
        self._database.execute(
            "INSERT OR REPLACE INTO relationships VALUES (?, ?, ?, ?, ?, ?)",
            (link.source, link.id, link.etag, link.name, link.target, _encode(link.properties)),
        )
        self._unlink(link.source, link.id)
        self._link(link)

    def remove_relationship(self, source: str, relationship: str) -> None:
        """Forget a relationship."""
        self._database.execute("DELETE FROM relationships WHERE source = ? AND id = ?", (source, relationship))
        self._unlink(source, relationship)

    def _link(self, link: Relationship) -> None:
        self._outgoing.setdefault(link.source, {})[link.id] = link
        self._incoming.setdefault(link.target, {})[link.source, link.id] = link

    def _unlink(self, source: str, relationship: str) -> None:
        old = self._outgoing.get(source, {}).pop(relationship, None)
        if old:
            del self._incoming[old.target][source, relationship]

    def _restore(self) -> None:
        query = "SELECT document, uploaded, decommissioned FROM models ORDER BY position"
        rows = [(_decode(row[0]), *row[1:]) for row in self._database.execute(query)]
        for document, uploaded, decommissioned, interface in _parsed(rows):
            self.models[interface.id] = Model(interface, document, uploaded, bool(decommissioned))
        for twin, etag, blob in self._database.execute("SELECT id, etag, document FROM twins"):
            self.twins[twin] = Twin(twin, etag, _decode(blob))
        query = "SELECT source, id, etag, name, target, properties FROM relationships"
        for source, link, etag, name, target, blob in self._database.execute(query):
            self._link(Relationship(source, link, etag, name, target, _decode(blob)))


def _parsed(
    rows: Iterable[tuple[Document, str, int]],
) -> Iterator[tuple[Document, str, int, Interface]]:
    rows = list(rows)
    interfaces = dtdl.parse(document for document, _, _ in rows)
    for document, uploaded, decommissioned in rows:
        yield document, uploaded, decommissioned, interfaces[Dtmi(document["@id"])]
