"""The rules for text, numbers and truth values."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import grammar
from .dtmi import is_user_dtmi
from .errors import Breach
from .grammar import Slot, limit

_LANGUAGE = re.compile(r"[a-z]{2,4}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?")
_XML_SCHEMA = "http://www.w3.org/2001/XMLSchema#"
_BOUNDS = (-(1 << 31), (1 << 31) - 1)

type Complaint = Iterator[Breach]


def literal_breaches(slot: Slot, name: str, value: object, owner: str, version: int) -> Complaint:
    """Find what is wrong with a slot's literal value."""
    if slot.kind == "texts":
        yield from _texts(name, value, owner, version, limit(slot.longest, version) or 0)
        return
    values = value if isinstance(value, list) else [value]
    if not values and not slot.required:
        return
    if len(values) != 1:
        rule = "MultipleValues" if values else "CountBelowMin"
        yield _breach(f"{_WORDS[slot.kind]}{rule}", name, owner, f"has {len(values)} values where one is allowed")
        return
    yield from _READERS[slot.kind](slot, name, values[0], owner, version)


_WORDS = {
    "text": "string",
    "flag": "boolean",
    "whole": "integer",
    "value": "literal",
    "identifier": "identifier",
}


def _breach(rule: str, name: str, owner: str, what: str, action: str = "") -> Breach:
    return Breach(rule, f"{owner} property '{name}' {what}.", action or f"Correct the value of '{name}'.")


def _bare(value: object, kind: str, name: str, owner: str, version: int) -> tuple[Any, Breach | None]:
    """Take a literal out of its ``@value`` object, if it is in one that makes sense."""
    if not isinstance(value, dict):
        return value, None
    if "@value" not in value:
        return None, _breach(f"{_WORDS[kind]}ObjectNoValue", name, owner, "has an object without '@value'")
    for key in value:
        if key not in {"@value", "@type"} and not _is_ignored(key, version):
            return None, _breach("valueObjectInvalidProp", name, owner, f"has an object with property '{key}'")
    inner, written = value["@value"], value.get("@type")
    if isinstance(written, list) and len(written) != 1:
        return None, _breach("literalTypeNotSingular", name, owner, "has an object with several values of '@type'")
    word = written[0] if isinstance(written, list) else written
    expected = _TYPE_TESTS.get(str(word).removeprefix("xsd:").removeprefix(_XML_SCHEMA))
    if word is not None and (expected is None or not expected(inner)):
        return None, _breach("literalNotValid", name, owner, f"has an object whose '@value' is not of @type {word}")
    return inner, None


def _is_ignored(key: str, version: int) -> bool:
    """Whether a keyword that means nothing there is let pass."""
    return version == 2 and key.startswith("@") and key not in {"@context", "@graph", "@id"}


_TYPE_TESTS: Mapping[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


def _text(slot: Slot, name: str, value: object, owner: str, version: int) -> Complaint:
    text, breach = _bare(value, "text", name, owner, version)
    if breach:
        yield breach
    elif not isinstance(text, str):
        yield _breach("stringNotString", name, owner, "has a value that is not a JSON string")
    else:
        most = limit(slot.longest, version)
        if most is not None and len(text) > most:
            yield _breach(
                "stringTooLong",
                name,
                owner,
                f"has value '{text}', which is too long -- length limit is {most} characters",
                f"Select a shorter value for '{name}' or trim current value to no more than {most} characters.",
            )
        if slot.named and not grammar.NAME.fullmatch(text):
            yield _breach(
                "stringInvalid",
                name,
                owner,
                f"has value '{text}', which is invalid",
                f"Modify the value of '{name}' to make it match the regular expression '^{grammar.NAME.pattern}$'.",
            )


def _flag(_slot: Slot, name: str, value: object, owner: str, version: int) -> Complaint:
    truth, breach = _bare(value, "flag", name, owner, version)
    if breach:
        yield breach
    elif not isinstance(truth, bool):
        yield _breach("booleanNotBoolean", name, owner, "has a value that is not a JSON boolean")


def _whole(slot: Slot, name: str, value: object, owner: str, version: int) -> Complaint:
    number, breach = _bare(value, "whole", name, owner, version)
    high = limit(slot.high, version)
    if breach:
        yield breach
    elif not isinstance(number, int) or isinstance(number, bool):
        yield _breach("integerNotInteger", name, owner, "has a value that is not a JSON integer")
    elif slot.low is not None and number < slot.low:
        yield _breach("valueBelowMin", name, owner, f"has value {number} but minimum allowed value is {slot.low}")
    elif high is not None and number > high:
        yield _breach("valueAboveMax", name, owner, f"has value {number} but maximum allowed value is {high}")
    elif not _BOUNDS[0] <= number <= _BOUNDS[1]:
        yield _breach("integerNotInteger", name, owner, f"has value {number}, which is out of range")


def _value(_slot: Slot, name: str, value: object, owner: str, version: int) -> Complaint:
    bare, breach = _bare(value, "value", name, owner, version)
    if breach:
        yield breach
    elif not isinstance(bare, (str, int)) or isinstance(bare, bool):
        yield _breach("literalNotValid", name, owner, "has a value that is neither a string nor an integer")


def _identifier(slot: Slot, name: str, value: object, owner: str, version: int) -> Complaint:
    text = value.get("@id") if isinstance(value, dict) and set(value) == {"@id"} else value
    if not isinstance(text, str):
        yield _breach("identifierNotString", name, owner, "has a value that is not an identifier")
    elif not is_user_dtmi(text, version):
        yield _breach("identifierInvalid", name, owner, f"has value '{text}', which must follow user DTMI syntax")
    elif len(text) > (limit(slot.longest, version) or len(text)):
        yield _breach("identifierTooLong", name, owner, "has an identifier that is too long")


_READERS: Mapping[str, Callable[[Slot, str, object, str, int], Complaint]] = {
    "text": _text,
    "flag": _flag,
    "whole": _whole,
    "value": _value,
    "identifier": _identifier,
}


def _texts(name: str, value: object, owner: str, version: int, most: int) -> Complaint:
    """Check texts in any of the ways JSON-LD has to write them."""
    if isinstance(value, dict):
        pairs: list[tuple[object, object]] = list(value.items())
    else:
        pairs = []
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                others = set(item) - {"@value", "@language"}
                if "@value" not in item or any(not _is_ignored(key, version) for key in others):
                    yield _breach(
                        "langStringElementInvalidProp", name, owner, "has an object that is no language-tagged value"
                    )
                    continue
                pairs.append((item.get("@language", "en"), item["@value"]))
            else:
                pairs.append(("en", item))
    yield from _tagged(name, pairs, owner, most)


def _tagged(name: str, pairs: list[tuple[object, object]], owner: str, most: int) -> Complaint:
    codes: set[object] = set()
    for code, text in pairs:
        if not isinstance(code, str) or not _LANGUAGE.fullmatch(code):
            yield _breach("langStringInvalidCode", name, owner, f"has invalid language code '{code}'")
        elif code in codes:
            yield _breach("langStringElementCodeNotUnique", name, owner, f"has two values of language '{code}'")
        elif not isinstance(text, str):
            yield _breach("langStringValueNotString", name, owner, "has a value that is not a JSON string")
        elif len(text) > most:
            yield _breach(
                "langStringValueTooLong",
                name,
                owner,
                f"has value '{text}', which is too long -- length limit is {most} characters",
                f"Select a shorter value for '{name}' or trim current value to no more than {most} characters.",
            )
        codes.add(code if isinstance(code, str) else None)
