"""The parser against the conformance cases and published ontologies."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from twin_actors.dtdl import DtdlError, Dtmi, Interface, is_dtmi, parse, validate_value
from twin_actors.dtdl.build import Builder
from twin_actors.dtdl.check import Checker
from twin_actors.dtdl.findings import Findings
from twin_actors.dtdl.model import Schema

type Case = dict[str, Any]

_EXTENSIONS = {"AllowUndefinedExtensions": True, "DisallowUndefinedExtensions": False}
_CAUGHT = {"generated": (978, 1011), "specification-v2": (4926, 4989)}
"""Invalid cases refused, of how many: the others break rules of the annotation, overriding and MQTT extensions."""


def _lines(folder: Path, name: str) -> list[Any]:
    file = folder / "adt" / f"{name}.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def _cases(folder: Path, name: str) -> Iterator[tuple[str, Case]]:
    """Give the cases of one file, valid ones in version 4 of the language left out."""
    for line in _lines(folder, f"dtdl-cases-{name}"):
        cases = line["case"] if isinstance(line["case"], list) else [line["case"]]
        for case in cases:
            if not case["valid"] or "dtmi:dtdl:context;4" not in json.dumps(case["input"]):
                yield line["name"], case


def _documents(case: Case) -> list[Any]:
    """Give a case's documents, and those that its resolver would find."""
    documents = [item for entry in case["input"] for item in (entry if isinstance(entry, list) else [entry])]
    answers = [answer.get("response") or [] for answer in case.get("resolution", ())]
    return documents + [item for answer in answers for item in answer]


def _is_accepted(case: Case) -> bool:
    allowed = next((_EXTENSIONS[option] for option in case["options"] if option in _EXTENSIONS), None)
    try:
        parse(_documents(case), allow_undefined_extensions=allowed)
    except DtdlError:
        return False
    return True


@pytest.mark.parametrize("name", ["generated", "specification-v2", "doc-examples"])
def test_every_valid_case_is_accepted(shared_data: Path, name: str) -> None:
    """No model that the reference parser takes is refused."""
    valid = [(title, case) for title, case in _cases(shared_data, name) if case["valid"]]
    assert [title for title, case in valid if not _is_accepted(case)] == []
    assert len(valid) > 100


@pytest.mark.parametrize("name", _CAUGHT)
def test_invalid_cases_are_refused(shared_data: Path, name: str) -> None:
    """As many invalid models are refused as have been, or more."""
    invalid = [case for _, case in _cases(shared_data, name) if not case["valid"]]
    refused = sum(not _is_accepted(case) for case in invalid)
    floor, total = _CAUGHT[name]
    assert len(invalid) == total
    assert refused >= floor


def test_identifiers_are_told_from_other_text(shared_data: Path) -> None:
    """The published list of identifiers and near misses."""
    lines = _lines(shared_data, "dtdl-cases-dtmis")
    wrong = [line["name"] for line in lines if is_dtmi(line["case"]["idText"]) != line["case"]["valid"]]
    assert wrong == []


def _schema(element_id: str, findings: Findings, builder: Builder) -> Schema | None:
    """Find the schema that a case's instances are of."""
    element = findings.elements.get(element_id)
    if element is None:
        return None
    if element.kind in {"Array", "Enum", "Map", "Object"}:
        return builder.schema(element_id)
    return builder._schema(element.node["schema"]) if element.kind in {"Property", "Telemetry"} else None


def _fits(schema: Schema, text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return validate_value(schema, value) is None


def test_values_are_held_to_their_schemas(shared_data: Path) -> None:
    """Instances that come with the cases conform, or not, as they say."""
    wrong: list[str] = []
    counts: Counter[bool] = Counter()
    for title, case in _cases(shared_data, "generated"):
        if not case["valid"] or "instances" not in case:
            continue
        findings = Findings()
        for document in _documents(case):
            Checker(findings, undefined=None).document(document)
        builder = Builder(findings.elements, {})
        for instance in case["instances"]:
            schema = _schema(instance["subject"], findings, builder)
            if schema is None or "conforms" not in instance:
                continue
            counts[instance["conforms"]] += 1
            if _fits(schema, instance["submit"]) != instance["conforms"]:
                wrong.append(f"{title}: {instance}")
    assert wrong == []
    assert counts == {True: 48, False: 166}


def _batches(documents: list[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    """Order interfaces so that none comes before what it needs, and cut them into batches."""
    parsed = parse(documents)
    by_id = {document["@id"]: document for document in documents}
    ordered: dict[Dtmi, None] = {}

    def place(interface: Interface) -> None:
        if interface.id not in ordered:
            for need in interface.dependencies():
                place(need)
            ordered[interface.id] = None

    for interface in parsed.values():
        place(interface)
    ids = list(ordered)
    for start in range(0, len(ids), size):
        yield [by_id[identifier] for identifier in ids[start : start + size]]


@pytest.mark.parametrize(
    ("name", "count", "levels"), [("realestatecore", 768, 9), ("energygrid", 113, 8), ("smartcities", 63, 5)]
)
def test_ontologies_load_in_batches(shared_data: Path, name: str, count: int, levels: int) -> None:
    """Real ontologies parse in uploads of 250, each standing on those before it."""
    known: dict[Dtmi, Interface] = {}
    for batch in _batches(_lines(shared_data, f"ontology-{name}"), 250):
        known |= parse(batch, known)
    assert len(known) == count
    assert max(1 + len(interface.ancestors) for interface in known.values()) == levels
