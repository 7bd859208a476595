"""Models."""

from collections.abc import Iterable

import msgspec

from local_emulator.digital_twins import errors, limits
from local_emulator.digital_twins.call import Answer, Call, Json
from local_emulator.digital_twins.clock import upload_time
from local_emulator.digital_twins.patch import read_patch
from local_emulator.digital_twins.state import Document, Model
from twin_actors import dtdl
from twin_actors.dtdl import DtdlError, Dtmi, Interface, is_dtmi


def post_models(call: Call) -> Answer:
    """Add models: all or none."""
    documents = _documents(call)
    graph = call.graph
    named = [item["@id"] for item in documents if isinstance(item.get("@id"), str)]
    if taken := [identifier for identifier in named if identifier in graph.models]:
        raise errors.models_exist(taken)
    if len(graph.models) + len(documents) > limits.MODELS_IN_ALL:
        raise errors.limit_exceeded(f"The instance may have {limits.MODELS_IN_ALL} models.")
    try:
        interfaces = dtdl.parse(documents, graph.interfaces())
    except DtdlError as error:
        raise errors.models_unparsable(str(error)) from error
    if len(interfaces) != len(documents):
        raise errors.models_unparsable("Interfaces have to stand at the top level, not inside another")
    uploaded = upload_time()
    models = [Model(interfaces[Dtmi(document["@id"])], document, uploaded) for document in documents]
    graph.add_models(models)
    return Answer(201, [_shown(model, with_document=False) for model in models])


def list_models(call: Call) -> Answer:
    """List models, or those that given ones need."""
    with_document = call.flag("includeModelDefinition")
    roots = call.query.get("dependenciesFor", ())
    models = call.graph.models
    if missing := [root for root in roots if root not in models]:
        raise errors.model_not_found(missing)
    chosen = list(_with_dependencies(models[root].interface for root in roots) if roots else models)
    start = call.continuation() or 0
    if not isinstance(start, int):
        raise errors.continuation_invalid()
    size = call.page_size(limits.MODELS_PAGE, limits.MODELS_PAGE)
    page = [_shown(models[name], with_document=with_document) for name in chosen[start : start + size]]
    link = None
    if start + size < len(chosen):
        link = call.next_link(start + size, includeModelDefinition=str(with_document).lower(), dependenciesFor=roots)
    return Answer(200, {"value": page, "nextLink": link})


def get_model(call: Call) -> Answer:
    """Give a model."""
    return Answer(200, _shown(_find(call), with_document=call.flag("includeModelDefinition")))


def patch_model(call: Call) -> Answer:
    """Take a model out of use, or back into it."""
    operations = read_patch(call.json())
    model = _find(call)
    for operation in operations:
        if operation.op == "remove" or operation.path != "/decommissioned":
            raise errors.patch_invalid(f"Only /decommissioned can be replaced, not {operation.path}.")
        if not isinstance(operation.value, bool):
            raise errors.patch_invalid("The value of /decommissioned must be true or false.")
        model = Model(model.interface, model.document, model.uploaded, operation.value)
    call.graph.replace_model(model)
    return Answer()


def delete_model(call: Call) -> Answer:
    """Delete a model that no other model needs."""
    model = _find(call)
    users = [
        other.interface.id
        for other in call.graph.models.values()
        if any(need.id == model.interface.id for need in other.interface.dependencies())
    ]
    if users:
        raise errors.model_referenced(users)
    call.graph.remove_model(model.interface.id)
    return Answer()


def _documents(call: Call) -> list[Document]:
    body: Json = call.json()
    if not isinstance(body, list) or not body or not all(isinstance(item, dict) for item in body):
        raise errors.models_empty()
    if len(body) > limits.MODELS_PER_CALL:
        raise errors.limit_exceeded(f"The request has {len(body)} models, the limit is {limits.MODELS_PER_CALL}.")
    for document in body:
        if len(msgspec.json.encode(document)) > limits.MODEL_BYTES:
            raise errors.limit_exceeded(f"A model may have {limits.MODEL_BYTES} bytes.")
    return body


def _find(call: Call) -> Model:
    (identifier,) = call.names
    if not is_dtmi(identifier):
        raise errors.model_id_unsupported(identifier)
    model = call.graph.models.get(identifier)
    if model is None:
        raise errors.model_not_found([identifier])
    return model


def _with_dependencies(roots: Iterable[Interface]) -> Iterable[str]:
    """Give the roots and all they need, each once."""
    found: dict[str, None] = {}
    waiting = list(roots)
    while waiting:
        interface = waiting.pop(0)
        if interface.id not in found:
            found[interface.id] = None
            waiting += interface.dependencies()
    return found


def _shown(model: Model, *, with_document: bool) -> Document:
    texts = model.interface.texts
    shown: Document = {
        "id": model.interface.id,
        "description": dict(texts.description),
        "displayName": dict(texts.display_name),
        "decommissioned": model.is_decommissioned,
        "uploadTime": model.uploaded,
    }
    return {**shown, "model": model.document} if with_document else shown
