"""Twins and their components."""

from local_emulator.digital_twins import errors, limits
from local_emulator.digital_twins.call import OLDEST_API, Answer, Call, check_if_match, wants_new
from local_emulator.digital_twins.clock import new_etag, now
from local_emulator.digital_twins.patch import read_patch
from local_emulator.digital_twins.state import Twin
from local_emulator.digital_twins.twin_document import check, model_of, new_document, patched, shown, shown_component
from twin_actors.dtdl import Dtmi, Interface


def put_twin(call: Call) -> Answer:
    """Create or replace a twin."""
    (identifier,) = call.names
    limits.check_identifier("digital twin", identifier)
    limits.check_document(call.body)
    body = call.json()
    if not isinstance(body, dict):
        raise errors.invalid_argument("Payload is invalid.")
    old = call.graph.twins.get(identifier)
    if wants_new(call) and old:
        raise errors.already_there("twin", identifier)
    interface = _interface_for_writing(call, model_of(body))
    if old is None or old.model != interface.id:
        _check_in_use(call, interface)
    if old is None and len(call.graph.twins) >= limits.TWINS:
        raise errors.ServiceError(400, "TwinLimitReached", f"There are {limits.TWINS} twins already.")
    twin = Twin(identifier, new_etag(), new_document(interface, body, now()))
    call.graph.put_twin(twin)
    return _show(call, twin)


def get_twin(call: Call) -> Answer:
    """Give a twin."""
    return _show(call, find_twin(call))


def patch_twin(call: Call) -> Answer:
    """Change a twin."""
    return _patch(call, "", is_twin=True)


def delete_twin(call: Call) -> Answer:
    """Delete a twin that is no longer linked."""
    twin = find_twin(call)
    check_if_match(call, twin.etag)
    if call.graph.is_linked(twin.id):
        raise errors.relationships_left(twin.id)
    call.graph.remove_twin(twin.id)
    return Answer()


def get_component(call: Call) -> Answer:
    """Give one component of a twin."""
    twin = find_twin(call)
    component = twin.document[require_component(call, twin)]
    body = shown_component(component, with_update_time=call.api_version != OLDEST_API)
    return Answer(200, body, {"ETag": twin.etag})


def patch_component(call: Call) -> Answer:
    """Change one component of a twin; paths are relative to it."""
    return _patch(call, f"/{call.names[1].replace('~', '~0').replace('/', '~1')}", is_twin=False)


def find_twin(call: Call) -> Twin:
    """Find the twin that the path names."""
    twin = call.graph.twins.get(call.names[0])
    if twin is None:
        raise errors.twin_not_found(call.names[0])
    return twin


def require_component(call: Call, twin: Twin) -> str:
    """Check that the twin has the component that the path names."""
    name = call.names[1]
    component = twin.document.get(name)
    if name.startswith("$") or not isinstance(component, dict) or "$metadata" not in component:
        raise errors.component_not_found(twin.id, name)
    return name


def _patch(call: Call, prefix: str, *, is_twin: bool) -> Answer:
    limits.check_document(call.body)
    body = call.json()
    operations = read_patch(body, prefix=prefix, is_twin=is_twin)
    twin = find_twin(call)
    check_if_match(call, twin.etag)
    document = patched(twin, operations, now())
    interface = _interface_for_writing(call, document["$metadata"]["$model"])
    if twin.model != interface.id:
        _check_in_use(call, interface)
    check(interface, document)
    changed = Twin(twin.id, new_etag(), document)
    call.graph.put_twin(changed)
    return Answer(204, None, {"ETag": changed.etag})


def _interface_for_writing(call: Call, model: str) -> Interface:
    known = call.graph.models.get(Dtmi(model))
    if known is None:
        raise errors.validation_failed([f"{model} or one of its dependencies does not exist."])
    return known.interface


def _check_in_use(call: Call, interface: Interface) -> None:
    if call.graph.models[interface.id].is_decommissioned:
        raise errors.model_decommissioned(interface.id)


def _show(call: Call, twin: Twin) -> Answer:
    return Answer(200, shown(twin, with_update_time=call.api_version != OLDEST_API), {"ETag": twin.etag})
