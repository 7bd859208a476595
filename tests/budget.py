"""What a long proof may take: seeds, one after the other, until they or the time are used up.

``PROOF_SEEDS`` (A..B, both included) and ``PROOF_SECONDS`` say how many and how long; at least one seed is played.
``PROOF_REPORT`` names a file that takes a line of JSON for each proof.
"""

import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

DEFAULT_SECONDS = 60.0
DEFAULT_SEEDS = "1..1000"


class Report(msgspec.Struct):
    """What a proof has covered.

    Attributes
    ----------
    name : str
        The test.
    first, last : int
        Seeds, as far as it came.
    is_cut : bool
        Whether time ended before the seeds did.
    counts : dict
        What was done.
    seconds : float
    reproduce : str
        The line that plays the seed again which failed; empty where none did.
    """

    name: str
    first: int
    last: int = 0
    is_cut: bool = False
    counts: dict[str, int] = {}
    seconds: float = 0.0
    reproduce: str = ""


def span(text: str) -> range:
    """Return seeds from A..B, or the one that is named."""
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


class Budget:
    """The seeds and the time of one test.

    Parameters
    ----------
    name
        Of the test, as pytest takes it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._seeds = span(os.environ.get("PROOF_SEEDS", DEFAULT_SEEDS))
        self._seconds = float(os.environ.get("PROOF_SECONDS", DEFAULT_SECONDS))

    async def spend(self, play: Callable[[int], Awaitable[Counter[str]]]) -> None:
        """Play seeds; one that fails tells the line that plays it again."""
        started = time.monotonic()
        report = Report(self._name, self._seeds[0])
        counts: Counter[str] = Counter()
        try:
            for seed in self._seeds:
                if report.last and time.monotonic() - started >= self._seconds:
                    report.is_cut = True
                    break
                report.last = seed
                counts += await play(seed)
        except BaseException as error:
            report.reproduce = f"PROOF_SEEDS={report.last} .venv/bin/python -m pytest -m proof '{self._name}'"
            error.add_note(f"again: {report.reproduce}")
            raise
        finally:
            report.counts, report.seconds = dict(counts), time.monotonic() - started
            _write(report)


def _write(report: Report) -> None:
    if file := os.environ.get("PROOF_REPORT"):
        with Path(file).open("ab") as reports:
            reports.write(msgspec.json.encode(report) + b"\n")
