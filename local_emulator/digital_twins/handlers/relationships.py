"""Relationships between twins."""

from collections.abc import Iterable, Mapping
from itertools import islice
from urllib.parse import quote

from local_emulator.digital_twins import errors, limits
from local_emulator.digital_twins.call import Answer, Call, Json, check_if_match, wants_new
from local_emulator.digital_twins.clock import new_etag
from local_emulator.digital_twins.patch import apply, read_patch
from local_emulator.digital_twins.state import Document, Relationship, Twin, deep_copy
from local_emulator.digital_twins.twin_document import property_faults
from twin_actors.dtdl import Dtmi
from twin_actors.dtdl import Relationship as Declared

from .twins import find_twin

_OWN = frozenset({"$relationshipId", "$etag", "$sourceId", "$relationshipName", "$targetId"})


def put_relationship(call: Call) -> Answer:
    """Create or replace a relationship."""
    source, identifier = find_twin(call), call.names[1]
    limits.check_identifier("relationship", identifier)
    limits.check_document(call.body)
    name, target, properties = _read_body(call.json())
    old = call.graph.outgoing(source.id).get(identifier)
    if wants_new(call) and old:
        raise errors.already_there("relationship", identifier)
    other = call.graph.twins.get(target)
    if other is None:
        raise errors.target_not_found()
    if target == source.id:
        raise errors.relationship_to_itself()
    _check_model(call, source, other, name, properties)
    if old is None:
        _check_counts(call, source, other)
    link = Relationship(source.id, identifier, new_etag(), name, target, properties)
    call.graph.put_relationship(link)
    return _show(link)


def get_relationship(call: Call) -> Answer:
    """Give a relationship."""
    return _show(_find(call))


def patch_relationship(call: Call) -> Answer:
    """Change a relationship's properties."""
    limits.check_document(call.body)
    operations = read_patch(call.json())
    link = _find(call)
    check_if_match(call, link.etag)
    properties = deep_copy(link.properties)
    for operation in operations:
        if operation.steps[0] in _OWN:
            raise errors.patch_invalid(f"The path {operation.path} cannot be changed.")
        apply(properties, operation, operation.steps)
    declared = _declared(call, call.graph.twins[link.source], link.name)
    if declared is None:
        raise errors.invalid_relationship()
    _check_properties(declared, properties)
    changed = Relationship(link.source, link.id, new_etag(), link.name, link.target, properties)
    call.graph.put_relationship(changed)
    return Answer(204, None, {"ETag": changed.etag})


def delete_relationship(call: Call) -> Answer:
    """Delete a relationship."""
    link = _find(call)
    check_if_match(call, link.etag)
    call.graph.remove_relationship(link.source, link.id)
    return Answer()


def list_relationships(call: Call) -> Answer:
    """List the relationships that start at a twin."""
    source = find_twin(call)
    wanted = call.parameter("relationshipName")
    links = call.graph.outgoing(source.id).values()
    named = {"relationshipName": wanted} if wanted else {}
    keyed = {link.id: link.document() for link in links if wanted in {None, link.name}}
    return _page(call, keyed, named)


def list_incoming(call: Call) -> Answer:
    """List the relationships that end at a twin."""
    target = find_twin(call)
    keyed = {f"{link.id}\n{link.source}": _incoming(call, link) for link in call.graph.incoming(target.id)}
    return _page(call, keyed, {})


def _incoming(call: Call, link: Relationship) -> Document:
    source, identifier = quote(link.source, safe=""), quote(link.id, safe="")
    return {
        "$relationshipId": link.id,
        "$sourceId": link.source,
        "$relationshipName": link.name,
        "$relationshipLink": f"{call.base_url}/digitaltwins/{source}/relationships/{identifier}"
        f"?api-version={call.api_version}",
    }


def _page(call: Call, keyed: Mapping[str, Document], parameters: Mapping[str, str]) -> Answer:
    """Give ten items in the order of their keys, from where the last page ended."""
    after = call.continuation() or ""
    if not isinstance(after, str):
        raise errors.continuation_invalid()
    keys: Iterable[str] = (key for key in sorted(keyed) if key > after)
    page = list(islice(keys, limits.RELATIONSHIPS_PAGE + 1))
    link = None
    if len(page) > limits.RELATIONSHIPS_PAGE:
        page.pop()
        link = call.next_link(page[-1], **parameters)
    return Answer(200, {"nextLink": link, "value": [keyed[key] for key in page]})


def _find(call: Call) -> Relationship:
    source, identifier = find_twin(call), call.names[1]
    link = call.graph.outgoing(source.id).get(identifier)
    if link is None:
        raise errors.relationship_not_found(source.id, identifier)
    return link


def _show(link: Relationship) -> Answer:
    return Answer(200, link.document(), {"ETag": link.etag})


def _read_body(body: Json) -> tuple[str, str, Document]:
    if isinstance(body, dict):
        name, target = body.get("$relationshipName"), body.get("$targetId")
        if isinstance(name, str) and isinstance(target, str):
            return name, target, {key: value for key, value in body.items() if key not in _OWN}
    raise errors.invalid_argument("Could not deserialize relationship create body.")


def _declared(call: Call, source: Twin, name: str) -> Declared | None:
    model = call.graph.models.get(source.model)
    return model.interface.relationships.get(name) if model else None


def _check_model(call: Call, source: Twin, target: Twin, name: str, properties: Document) -> None:
    """Refuse what the source's model does not have: this name, to that kind of twin, with these properties."""
    declared = _declared(call, source, name)
    if declared is None:
        raise errors.invalid_relationship()
    if declared.target is not None and not _is_a(call, target.model, declared.target):
        raise errors.invalid_relationship()
    _check_properties(declared, properties)


def _is_a(call: Call, model: Dtmi, wanted: Dtmi) -> bool:
    known = call.graph.models.get(model)
    return known.interface.is_a(wanted) if known else model == wanted


def _check_properties(declared: Declared, properties: Document) -> None:
    faults: list[str] = []
    for name, value in properties.items():
        if name in declared.properties:
            faults += property_faults(declared.properties[name], value, "Relationship")
        else:
            faults.append(f"{name} does not appear on the DTDL for Relationship.")
    if faults:
        raise errors.validation_failed(faults, "relationship")


def _check_counts(call: Call, source: Twin, target: Twin) -> None:
    graph = call.graph
    if (
        len(graph.outgoing(source.id)) >= limits.RELATIONSHIPS_PER_TWIN
        or graph.incoming_count(target.id) >= limits.RELATIONSHIPS_PER_TWIN
    ):
        raise errors.limit_exceeded(f"A twin may have {limits.RELATIONSHIPS_PER_TWIN} relationships in each direction.")
