"""The page that explains twin types quotes the storage tank as it is."""

import re
from pathlib import Path

import twin_actors

ROOT = Path(twin_actors.__file__).parents[1]


def test_quoted_code_is_the_storage_tanks() -> None:
    """Each Python block of docs/add-a-twin.md stands word for word in the tank's twin.py."""
    page = (ROOT / "docs" / "add-a-twin.md").read_text(encoding="utf-8")
    source = (ROOT / "twin_actors" / "types" / "storage_tank" / "twin.py").read_text(encoding="utf-8")
    quotes = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(quotes) > 3
    for quote in quotes:
        assert quote in source, quote


def test_every_column_of_the_kernels_has_a_line_in_the_nomenclature() -> None:
    """Names that kernels take or give are explained."""
    page = (ROOT / "docs" / "nomenclature.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z_…]+)`", page)
    suffixes = tuple(name[1:] for name in named if name.startswith("…"))
    prefixes = tuple(name[:-1] for name in named if name.endswith("…"))
    for stub in sorted((ROOT / "kernels").glob("[a-z]*.pyi")):
        for column in re.findall(r"^ {4}(\w+): (?:_Column|float)", stub.read_text(encoding="utf-8"), re.MULTILINE):
            is_named = column in named or column.endswith(suffixes) or column.startswith(prefixes)
            assert is_named, f"{column} of {stub.name}"
