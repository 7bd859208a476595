"""Operations that the service has and the emulator does not."""

from local_emulator.digital_twins import errors
from local_emulator.digital_twins.call import Answer, Call


def event_routes(call: Call) -> Answer:  # noqa: ARG001 -- the form of every handler
    """Refuse event routes."""
    raise errors.not_implemented("event routes")


def jobs(call: Call) -> Answer:  # noqa: ARG001 -- the form of every handler
    """Refuse import and deletion jobs."""
    raise errors.not_implemented("import and deletion jobs")
