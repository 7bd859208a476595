"""Plain-Python stand-ins for the host's protocol messages.

The worker library builds and reads messages only through the namespace it is given, so it needs the
shape of the generated classes, not protobuf. Each class lists the fields that the library touches;
a field that was not set reads as protobuf's default would.
"""

from types import SimpleNamespace
from typing import ClassVar

__all__ = ["protocol_messages"]


class _Message:
    """A message: keyword arguments become fields, the rest keep the class's defaults."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


class _OneOf(_Message):
    """A message of which one field at most is set."""

    def __init__(self, **fields: object) -> None:
        super().__init__(**fields)
        self.kind = next((name for name, value in fields.items() if value is not None), None)

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's own name
        """Name the field that is set."""
        del group
        return self.kind


class TypedData(_OneOf):
    """A value on its way to or from a function: string, bytes, json, http or a collection."""


class ParameterBinding(_Message):
    """A value with the name of the parameter it belongs to."""

    name: str = ""
    data: TypedData | None = None

    def WhichOneof(self, group: str) -> str:  # noqa: N802 - protobuf's own name
        """Name the field that is set: always data, shared memory is not used."""
        del group
        return "data"


class BindingInfo(_Message):
    """What the library says of one binding, and the numbers of its enumerations."""

    undefined = 0
    # "in" is a keyword: set below the class.
    out = 1
    inout = 2


setattr(BindingInfo, "in", 0)


class StatusResult(_Message):
    """Whether a call succeeded, and the exception if not."""

    Failure = 0
    Success = 1
    status: int = Failure
    exception: "RpcException | None" = None


class RpcException(_Message):
    """An exception of the function, as text."""

    source: str = ""
    message: str = ""
    stack_trace: str = ""


class _SameSite:
    Lax = 1
    Strict = 2
    ExplicitNone = 3


# "None" is a keyword: the cookie says nothing of its same-site policy.
setattr(_SameSite, "None", 0)


class RpcHttpCookie(_Message):
    """One Set-Cookie header, in parts."""

    SameSite: ClassVar[type[_SameSite]] = _SameSite


def protocol_messages() -> SimpleNamespace:
    """Build the namespace that the library takes its message classes from."""
    plain = (
        "WorkerInitResponse",
        "WorkerMetadata",
        "FunctionMetadataResponse",
        "FunctionLoadResponse",
        "InvocationResponse",
        "RpcFunctionMetadata",
        "RpcRetryOptions",
        "RpcHttp",
        "NullableString",
        "NullableBool",
        "NullableDouble",
        "NullableTimestamp",
        "Timestamp",
    )
    namespace = SimpleNamespace(**{name: type(name, (_Message,), {}) for name in plain})
    own = (ParameterBinding, BindingInfo, StatusResult, RpcException, RpcHttpCookie)
    vars(namespace).update({message.__name__: message for message in own})
    # Instances must not answer to ".TypedData"; the namespace itself has to.
    namespace.TypedData = TypedData
    return namespace
