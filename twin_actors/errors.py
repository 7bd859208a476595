"""Errors, by who must act.

Rejected        the sender: the message becomes a dead letter, the others go on
Unavailable     time: hold the partition and try again
Fenced          nobody: another owner has written; drop everything, send nothing
PartitionStopped the operator: this partition cannot go on by itself, others do
SettingsError   the operator: the worker does not start
"""


class TwinfoldError(Exception):
    """The root of all errors of the runtime."""


class Rejected(TwinfoldError):
    """A message cannot be folded.

    Parameters
    ----------
    reason : str
        A short name of the cause, the same for all messages with this fault.
    detail : str
        What is wrong with this message, and what to do.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Unavailable(TwinfoldError):
    """A service does not answer now; the same call may succeed later."""


class Unanswered(Unavailable):
    """A write was sent and its outcome is unknown."""


class Fenced(TwinfoldError):
    """Another owner has written to the journal of this partition."""


class PartitionStopped(TwinfoldError):
    """A partition cannot go on without an operator: a corrupt journal, a recreated hub."""


class SettingsError(TwinfoldError):
    """The configuration is incomplete or wrong.

    Parameters
    ----------
    faults : tuple of str
        Every fault found, each saying what is missing and what to set.
    """

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(("the configuration has faults:", *faults)))
        self.faults = faults
