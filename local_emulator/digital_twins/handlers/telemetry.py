"""Telemetry sent on behalf of twins."""

import re

from local_emulator.digital_twins import errors, limits
from local_emulator.digital_twins.call import Answer, Call

from .twins import find_twin, require_component

_LONGEST_ID = 128
_SOURCE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?")


def post_telemetry(call: Call) -> Answer:
    """Accept a message of a twin."""
    find_twin(call)
    return _accept(call)


def post_component_telemetry(call: Call) -> Answer:
    """Accept a message of a twin's component."""
    require_component(call, find_twin(call))
    return _accept(call)


def _accept(call: Call) -> Answer:
    identifier = call.headers.get("message-id")
    if not identifier or len(identifier) > _LONGEST_ID:
        raise errors.invalid_argument(f"The header Message-Id is required and may have up to {_LONGEST_ID} characters.")
    when = call.headers.get("telemetry-source-time")
    if when is not None and not _SOURCE_TIME.fullmatch(when):
        raise errors.invalid_argument(f"The Telemetry-Source-Time {when} is no ISO 8601 date and time.")
    limits.check_document(call.body)
    call.json()
    return Answer()
