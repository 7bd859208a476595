"""What is wrong with a model.

DtdlError
├── ParsingFailed       the documents break a rule of the language; carries every breach found
└── ResolutionFailed    a model that these need is neither among them nor known
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .dtmi import Dtmi


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule.

    Attributes
    ----------
    rule
        The rule's name, as the reference parser calls it (``missingTopLevelId``).
    cause
        What is wrong.
    action
        What the author can do about it.
    """

    rule: str
    cause: str
    action: str

    def __str__(self) -> str:
        return f"{self.cause} {self.action}".strip()


class DtdlError(Exception):
    """The models cannot be used."""


class ParsingFailed(DtdlError):
    """The documents break at least one rule of the language."""

    def __init__(self, breaches: Sequence[Breach]) -> None:
        self.breaches = tuple(breaches)
        super().__init__(" ".join(str(breach) for breach in breaches))


class ResolutionFailed(DtdlError):
    """Identifiers that have to resolve do not."""

    def __init__(self, identifiers: Sequence[Dtmi]) -> None:
        self.identifiers = tuple(identifiers)
        super().__init__("DtmiResolver failed to resolve requisite references to element(s): " + ", ".join(identifiers))
