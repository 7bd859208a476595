"""What the service refuses for its size, and how often it lets itself be asked."""

from collections.abc import Iterator, Mapping

from . import errors

MODELS_PER_CALL = 250
MODELS_IN_ALL = 10_000
MODEL_BYTES = 1024 * 1024
DOCUMENT_BYTES = 32 * 1024
STRING_BYTES = 4 * 1024
NAME_BYTES = 1024
TWINS = 2_000_000
RELATIONSHIPS = 20_000_000
RELATIONSHIPS_PER_TWIN = 50_000
IDENTIFIER_LENGTH = 128
QUERY_LENGTH = 8_000
QUERY_LIST = 50
QUERY_OPERATORS = 50
MODELS_PAGE = 100
RELATIONSHIPS_PAGE = 10
QUERY_PAGE = 100
LARGEST_QUERY_PAGE = 1_000
REQUEST_BYTES = MODELS_PER_CALL * MODEL_BYTES


def check_document(body: bytes) -> None:
    """Refuse a payload that is too large for a twin, a relationship or a message."""
    if len(body) > DOCUMENT_BYTES:
        raise errors.limit_exceeded(f"The payload is {len(body)} bytes, the limit is {DOCUMENT_BYTES}.")


def check_identifier(kind: str, identifier: str) -> None:
    """Refuse an identifier that is too long."""
    if not identifier or len(identifier) > IDENTIFIER_LENGTH:
        raise errors.invalid_argument(f"The {kind} id must have between 1 and {IDENTIFIER_LENGTH} characters.")


def long_strings(name: str, value: object) -> Iterator[str]:
    """Name the texts in a property's value, and the keys of its maps, that are too long."""
    if isinstance(value, str):
        if len(value) > STRING_BYTES // 4 and len(value.encode()) > STRING_BYTES:
            yield f"The value of {name} is longer than {STRING_BYTES} bytes."
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if len(key.encode()) > NAME_BYTES:
                yield f"A name in {name} is longer than {NAME_BYTES} bytes."
            yield from long_strings(name, item)
    elif isinstance(value, list):
        for item in value:
            yield from long_strings(name, item)
