"""Digital twin model identifiers: their syntax, by version of the language."""

import re
from typing import NewType

Dtmi = NewType("Dtmi", str)
"""A checked digital twin model identifier, such as ``dtmi:example:Pump;1``."""

_SEGMENT = r"[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?"
_ANY_SEGMENT = r"(?:[A-Za-z]|_+[A-Za-z0-9])(?:[A-Za-z0-9_]*[A-Za-z0-9])?"
_PATH = rf"dtmi:{_SEGMENT}(?::{_SEGMENT})*"
_USER = {
    2: re.compile(rf"{_PATH};[1-9][0-9]{{0,8}}"),
    3: re.compile(rf"{_PATH}(?:;[1-9][0-9]{{0,8}}(?:\.[1-9][0-9]{{0,5}})?)?"),
}
_ANY = re.compile(
    rf"dtmi:{_ANY_SEGMENT}(?::{_ANY_SEGMENT})*(?:;[1-9][0-9]{{0,8}}(?:\.[1-9][0-9]{{0,5}})?)?"
    rf"(?:#(?:{_ANY_SEGMENT})?)?"
)
_CORE = re.compile(r"dtmi:dtdl:(?:class|property|instance:[A-Za-z]+):([A-Za-z]+);([0-9]+)")

RESERVED_PREFIXES = ("dtmi:dtdl:", "dtmi:standard:")
"""Identifiers below these belong to the language itself."""

LONGEST_IDENTIFIER = 2048
LONGEST_INTERFACE_IDENTIFIER = 128


def is_dtmi(text: str) -> bool:
    """Whether the text is an identifier of any kind, system segments and fragments included."""
    return _ANY.fullmatch(text) is not None


def is_user_dtmi(text: str, version: int) -> bool:
    """Whether an author may define or reference this identifier in that version of the language."""
    return _USER[version].fullmatch(text) is not None


def to_dtmi(text: str) -> Dtmi:
    """Check an identifier and say so in the type.

    Raises
    ------
    ValueError
        When the text is no identifier.
    """
    if not is_dtmi(text):
        raise ValueError(f"'{text}' is not a digital twin model identifier: dtmi:<path>;<version> is")
    return Dtmi(text)


def core_term(text: str) -> str:
    """Shorten an identifier of the language itself to the term it stands for; keep anything else."""
    match = _CORE.fullmatch(text)
    return match[1] if match else text
