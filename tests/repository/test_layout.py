"""What the tree promises to those who install, lock and deploy it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYED = {"LICENSE", "function_app.py", "functions", "host.json", "kernels", "requirements.txt", "twin_actors"}

SETTINGS = {
    "Mailbox__fullyQualifiedNamespace": "mailbox.servicebus.windows.net",
    "MailboxName": "mailbox",
    "MailboxConsumerGroup": "functions",
    "MailboxGapConsumerGroup": "gaps",
    "JournalStorage__blobServiceUri": "https://journals.blob.core.windows.net",
    "JournalStorage__tableServiceUri": "https://journals.table.core.windows.net",
    "JournalStorage__queueServiceUri": "https://journals.queue.core.windows.net",
    "JournalContainer": "journals",
    "WorkOrderQueue": "work-orders",
    "IotHub__hostName": "hub.azure-devices.net",
    "DigitalTwinsUrl": "https://twins.api.weu.digitaltwins.azure.net",
}


def listed(*arguments: str) -> set[str]:
    """Return the files that git lists."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    process = subprocess.run(["git", "ls-files", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(process.stdout.splitlines())


def test_every_kernel_is_compiled_typed_and_built_from_here() -> None:
    """A library without its source, or a source without its types, is a leftover or an omission."""
    sources = {path.stem for path in (ROOT / "kernels").glob("*.pyx")}
    assert sources
    assert {path.name.split(".")[0] for path in (ROOT / "kernels").glob("*.so")} == sources
    assert {path.stem for path in (ROOT / "kernels").glob("*.pyi")} == sources


def test_directives_stand_in_setup_only() -> None:
    """A directive at the head of a kernel would silently beat the checked build."""
    for path in (ROOT / "kernels").glob("*.p[yx][xd]"):
        assert not re.search(r"^#\s*(cython|distutils)\s*:", path.read_text(), re.MULTILINE), path.name


def test_the_lock_file_names_hashes_and_no_server() -> None:
    """Any mirror may serve the packages, and none may change them."""
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for package in packages.values() if not package.get("inBundle"))


def test_run_time_dependencies_are_pinned() -> None:
    """What runs on Azure is what was tested here."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = [line for line in lines if line.strip() and not line.startswith("#")]
    assert required
    assert [line for line in required if not re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+(\s*#.*)?", line)] == []


def test_what_is_deployed_is_the_function_app_and_imports(tmp_path: Path) -> None:
    """Nothing of the laptop goes to Azure, and nothing that the app imports stays behind."""
    everything = listed("--cached", "--others", "--exclude-standard")
    deployed = everything - listed("--cached", "--others", "--ignored", "--exclude-from=.funcignore")
    assert {name.split("/")[0] for name in deployed} - {".funcignore", ".gitignore"} <= DEPLOYED
    libraries = {path.relative_to(ROOT).as_posix() for path in (ROOT / "kernels").glob("*.so")}
    for name in deployed | libraries:
        if (ROOT / name).exists():  # a file may be listed and just deleted
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / name)
    process = subprocess.run(
        [sys.executable, "-c", "import function_app; from twin_actors.registry import load_registry; load_registry()"],
        cwd=tmp_path,
        env={**os.environ, **SETTINGS, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
