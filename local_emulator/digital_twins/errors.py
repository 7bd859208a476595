"""The service's documented error codes and the texts that go with them."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

_PATCH_HINT = (
    "Please provide a valid patch document. See section on update apis in the documentation https://aka.ms/adtv2twins."
)
_DTDL_HINT = "See model documentation(https://aka.ms/ADTv2Models) for supported format."


class ServiceError(Exception):
    """An answer that is not the one wished for.

    Attributes
    ----------
    status
        The HTTP status.
    code
        The service's own code, None where the gateway answers in its place.
    message
        What the caller reads.
    details
        Code and message of each single fault.
    retry_after
        Seconds to wait, for throttled requests.
    """

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        details: Sequence[tuple[str, str]] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.retry_after = retry_after

    def body(self) -> dict[str, object]:
        """Give the JSON that says so."""
        if self.status == HTTPStatus.UNAUTHORIZED:
            return {"statusCode": 401, "message": self.message}
        if self.code is None:
            return {"error": {"statusCode": self.status, "message": self.message}}
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.details:
            error["details"] = [{"code": code, "message": message} for code, message in self.details]
        return {"error": error}


class MalformedPatch(Exception):
    """A patch whose items are not operations: answered by the web framework, in its own form."""

    def __init__(self, index: int, value: str, *, is_twin: bool) -> None:
        super().__init__(value)
        self.index = index
        self.value = value
        self.is_twin = is_twin


def unauthorized() -> ServiceError:
    """Refuse a token that is none."""
    return ServiceError(401, None, "Unauthorized")


def not_implemented(what: str) -> ServiceError:
    """Say that the emulator lacks an operation that the service has."""
    return ServiceError(501, "NotImplemented", f"The emulator does not implement {what}.")


def invalid_argument(message: str) -> ServiceError:
    """Refuse a request that makes no sense."""
    return ServiceError(400, "InvalidArgument", message)


def missing_argument(message: str) -> ServiceError:
    """Refuse a request that lacks something."""
    return ServiceError(400, "MissingArgument", message)


def unsupported_api_version(version: str | None, supported: Iterable[str]) -> ServiceError:
    """Refuse a version of the interface that does not exist."""
    if version is None:
        return ServiceError(
            400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required."
        )
    return ServiceError(
        400,
        "UnsupportedApiVersion",
        f"The api-version '{version}' is not supported. Supported: {', '.join(supported)}.",
    )


def unknown_path(path: str) -> ServiceError:
    """Refuse a path under which there is nothing."""
    return ServiceError(404, "NotFound", f"There is no operation at {path}.")


def empty_body() -> ServiceError:
    """Refuse a request without its body."""
    return ServiceError(400, "BadRequest", "A non-empty request body is required.")


def twin_not_found(twin: str) -> ServiceError:
    """Say that there is no such twin."""
    return ServiceError(
        404,
        "DigitalTwinNotFound",
        f"There is no digital twin instance that exists with the ID {twin}. Please verify that the twin id is "
        "valid and ensure that the twin is not deleted. See section on querying the twins "
        "https://aka.ms/adtv2query.",
    )


def relationship_not_found(twin: str, relationship: str) -> ServiceError:
    """Say that the twin has no such relationship."""
    return ServiceError(
        404,
        "RelationshipNotFound",
        f"Relationship {relationship} not found on twin {twin}. Please verify that the relationship id is valid "
        "and ensure that the relationship is not deleted. See section on listing relationships in the "
        "documentation https://aka.ms/adtv2twins.",
    )


def target_not_found() -> ServiceError:
    """Say that the other end of a relationship does not exist."""
    return ServiceError(
        404,
        "TargetDigitalTwinNotFound",
        "The target digital twin is invalid or does not exist. Please validate that the target twin is valid and "
        "ensure that the target twin is not deleted. See section on querying the twins "
        "https://aka.ms/adtv2query .",
    )


def component_not_found(twin: str, component: str) -> ServiceError:
    """Say that the twin has no such component."""
    return ServiceError(
        404,
        "ComponentNotFound",
        f"{twin} does not have component {component} Please verify that the component path is correct. You can "
        "get components by getting the twin, See example https://aka.ms/TwinGetSwSmpl.",
    )


def model_not_found(models: Iterable[str]) -> ServiceError:
    """Say that there are no such models."""
    return ServiceError(
        404,
        "ModelNotFound",
        f"There is no Model(s) available that matches the provided id(s) {', '.join(models)}. Check that the "
        "Model ID provided is valid by doing a Model_List API call.",
    )


def models_exist(models: Iterable[str]) -> ServiceError:
    """Say that these models are there already."""
    return ServiceError(
        409,
        "ModelIdAlreadyExists",
        f"Some of the model ids already exist: {', '.join(models)}. Use Model_List API to view models that "
        "already exist. See the Swagger example (https://aka.ms/ModelListSwSmpl).",
    )


def model_referenced(models: Iterable[str]) -> ServiceError:
    """Say that other models need this one."""
    return ServiceError(
        409,
        "ModelReferencesNotDeleted",
        f"This model is currently being referenced by {', '.join(models)}. You must delete these references "
        "before deleting the Model.. To delete references, do Delete Model on Ids provided above.",
    )


def models_empty() -> ServiceError:
    """Refuse an upload without models."""
    return invalid_argument(
        "Operation failed as models provided was empty or of a type that is not supported.. Check that your "
        "Model Array contains at least one item and it is of a supported type. See "
        "link(https://aka.ms/ADTv2Models) for details."
    )


def model_id_unsupported(model: str) -> ServiceError:
    """Refuse an identifier that is no model identifier."""
    return invalid_argument(f"The format of the Model ID {model} provided is not supported. {_DTDL_HINT}")


def models_unparsable(reason: str) -> ServiceError:
    """Refuse models that break the rules of their language."""
    return ServiceError(
        400,
        "DTDLParserError",
        "None of the models in this request could be created due to a problem with one or more models: "
        f"{reason.rstrip('.')}. {_DTDL_HINT}",
    )


def model_decommissioned(model: str) -> ServiceError:
    """Refuse new twins of a model taken out of use."""
    return ServiceError(
        400, "ModelDecommissioned", f"The model {model} is decommissioned. New twins of it cannot be created."
    )


def limit_exceeded(message: str) -> ServiceError:
    """Refuse what is larger than the service takes."""
    return ServiceError(400, "LimitExceeded", message)


def etag_mismatch(etag: str) -> ServiceError:
    """Say that somebody else has written since."""
    return ServiceError(
        412,
        "PreconditionFailed",
        f"The provided etag {etag} doesn't match the current etag for the resource. Please obtain and provide "
        "the latest etag by getting the resource. See section on get apis in the documentation "
        "https://aka.ms/adtv2twins.",
    )


def already_there(kind: str, identifier: str) -> ServiceError:
    """Say that what should have been new exists."""
    return ServiceError(
        412,
        "PreconditionFailed",
        f"If-None-Match: * header was specified but a {kind} with the id {identifier} was found. Please specify "
        f"a different {kind} id.",
    )


def relationships_left(twin: str) -> ServiceError:
    """Refuse to delete a twin that is still linked."""
    return ServiceError(
        400,
        "RelationshipsNotDeleted",
        f"Twin {twin} has active relationships. Cannot delete a twin unless all the relationships are deleted. "
        "Please ensure that the active relationships on the twin are deleted. See section on retrieving "
        "relationships https://aka.ms/adtv2twins.",
    )


def invalid_relationship() -> ServiceError:
    """Refuse a relationship that the model does not have."""
    return ServiceError(
        400,
        "InvalidRelationship",
        "Twin relationship does not align with the model. Please ensure that the relationship is in alignment "
        "with the model. See section on listing models https://aka.ms/adtv2models.",
    )


def relationship_to_itself() -> ServiceError:
    """Refuse a relationship from a twin to itself."""
    return ServiceError(
        400, "OperationNotAllowed", "The relationship cannot connect to the same twin. Specify a different target."
    )


def validation_failed(faults: Iterable[str], subject: str = "twin") -> ServiceError:
    """Refuse what does not fit its model."""
    return ServiceError(
        400,
        "ValidationFailed",
        f"Invalid {subject} specified",
        details=[("ValidationFailed", fault) for fault in faults],
    )


def patch_invalid(reason: str) -> ServiceError:
    """Refuse a patch that cannot be applied."""
    return ServiceError(400, "JsonPatchInvalid", f"{reason} {_PATCH_HINT}")


def query_invalid(reason: str) -> ServiceError:
    """Refuse a query that cannot be understood."""
    return ServiceError(
        400,
        "SqlQueryError",
        f"SQL query parse failed: {reason} See samples in https://aka.ms/adtv2query for the correct syntax.",
    )


def continuation_invalid() -> ServiceError:
    """Refuse a continuation that the service never gave out."""
    return ServiceError(400, "BadRequest", "An invalid continuationToken was provided.")


def throttled(retry_after: int) -> ServiceError:
    """Ask the caller to slow down."""
    return ServiceError(
        429,
        None,
        "Maximum request rate limit reached. For Azure Digital Twins rate limiting details please see "
        "http://aka.ms/dtv2limits.",
        retry_after=retry_after,
    )
