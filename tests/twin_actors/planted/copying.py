"""A copy of the repository, with a bug or without."""

import shutil
import subprocess
from pathlib import Path

from tests.twin_actors.planted.bugs import Change

ROOT = Path(__file__).parents[3]
FOLDERS = ("functions", "kernels", "local_emulator", "tests", "twin_actors")
FILES = ("pyproject.toml", "host.json", "function_app.py", "requirements.txt")


def copy(to: Path) -> None:
    """Copy what the tests of the runtime need, compiled kernels included."""
    skipped = shutil.ignore_patterns("__pycache__", "*.c", ".*_cache")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, to / folder, ignore=skipped)
    for file in FILES:
        shutil.copy2(ROOT / file, to / file)
    for linked in (".venv", "node_modules"):
        if (ROOT / linked).exists():
            (to / linked).symlink_to((ROOT / linked).resolve())


def misfit(change: Change, root: Path = ROOT) -> str:
    """Return why a change cannot be made; nothing where it can."""
    found = (root / change.file).read_text(encoding="utf-8").count(change.old)
    return "" if found == 1 else f"{change.file} has {found} times, not once: {change.old!r}"


def plant(change: Change, root: Path) -> None:
    """Make a change in a copy."""
    file = root / change.file
    file.write_text(file.read_text(encoding="utf-8").replace(change.old, change.new), encoding="utf-8")


def run(root: Path, *arguments: str, seconds: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Run a Python program in a copy."""
    python = root / ".venv" / "bin" / "python"
    return subprocess.run([python, *arguments], cwd=root, capture_output=True, text=True, timeout=seconds, check=False)
