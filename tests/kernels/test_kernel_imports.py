"""Kernels stand alone: what import-linter cannot see, because it does not read Cython."""

import re
from pathlib import Path

import kernels

ALLOWED = {"numpy", "libc", "cython", "cpython", "typing", "kernels"}


def test_kernels_import_numbers_and_each_other_only() -> None:
    """Physics that imports nothing else does no I/O, knows no clock and logs nothing."""
    sources = sorted(Path(kernels.__file__).parent.glob("*.p[yx][xdi]"))
    lines = [line for source in sources for line in source.read_text(encoding="utf-8").splitlines()]
    imported = [re.match(r"\s*(?:from|cimport|import)\s+(\w+)", line) for line in lines]
    assert any(source.suffix == ".pyx" for source in sources)
    assert {match[1] for match in imported if match} <= ALLOWED
