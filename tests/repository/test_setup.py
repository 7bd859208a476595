"""The search for a Python that works, and the stamps that make a second setup quick."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Provide a repository of nothing but the search, which tells what it found instead of installing."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/setup", tmp_path / ".ci/setup")
    (tmp_path / ".ci/steps.py").write_text("import sys\nprint('found', sys.version_info[:2])\n")
    (tmp_path / "bin").mkdir()
    for tool in ("cat", "dirname", "sh"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return tmp_path


@pytest.fixture(scope="module")
def steps() -> ModuleType:
    """Provide the module of the steps, which is no package."""
    spec = importlib.util.spec_from_file_location("setup_steps", ROOT / ".ci/steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(path: Path, line: str) -> None:
    """Write a shell script of one line."""
    path.write_text(f"#!{shutil.which('sh')}\n{line}\n")
    path.chmod(0o755)


def search(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the search where only what the folder has is on the path."""
    return subprocess.run(
        [str(folder / ".ci/setup")],
        env={"PATH": str(folder / "bin"), "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_candidate_that_is_found_but_does_not_run_is_passed_over(folder: Path) -> None:
    """As a pyenv shim is for a version that is not selected."""
    program(folder / "bin/python3.13", "echo 'no such version' >&2; exit 127")
    program(folder / "bin/python3", f'exec "{sys.executable}" "$@"')
    assert search(folder).stdout == "found (3, 13)\n"


def test_an_installed_but_unselected_pyenv_version_is_found(folder: Path) -> None:
    """The shim fails; the version behind it works."""
    program(folder / "bin/python3.13", "exit 127")
    (folder / ".pyenv/versions/3.13.7/bin").mkdir(parents=True)
    program(folder / ".pyenv/versions/3.13.7/bin/python", f'exec "{sys.executable}" "$@"')
    assert search(folder).stdout == "found (3, 13)\n"


def test_the_python_of_the_environment_comes_first(folder: Path) -> None:
    """A second setup looks no further."""
    (folder / ".venv/bin").mkdir(parents=True)
    program(folder / ".venv/bin/python", f'exec "{sys.executable}" "$@"')
    program(folder / "bin/python3.13", "echo wrong")
    assert search(folder).stdout == "found (3, 13)\n"


def test_a_named_python_that_does_not_work_is_not_replaced_by_another(folder: Path) -> None:
    """Who names one wants that one."""
    program(folder / "bin/python3.13", f'exec "{sys.executable}" "$@"')
    program(folder / "bin/other", "exit 1")
    answer = search(folder, PYTHON=str(folder / "bin/other"))
    assert answer.returncode == 1
    assert "is not a working Python 3.13" in answer.stderr
    assert answer.stdout == ""


def test_without_any_the_error_says_how_to_get_one(folder: Path) -> None:
    """Nothing is installed or changed, and the reader knows what to do."""
    answer = search(folder)
    if answer.returncode == 0:
        pytest.skip("this machine has a Python 3.13 in a usual place outside the path")
    assert answer.returncode == 1
    assert "uv python install 3.13" in answer.stderr
    assert "apt install python3.13" in answer.stderr


def test_a_stamp_is_right_for_the_same_parts_only(steps: ModuleType, tmp_path: Path) -> None:
    """Parts that run together differently are other parts; an interrupted step leaves no stamp."""
    stamp = steps.Stamp(tmp_path / "stamps/packages", [b"ab", b"c"])
    assert not stamp.is_right()
    stamp.write()
    assert steps.Stamp(tmp_path / "stamps/packages", [b"ab", b"c"]).is_right()
    assert not steps.Stamp(tmp_path / "stamps/packages", [b"a", b"bc"]).is_right()


def test_a_failing_step_shows_the_end_of_its_output(steps: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is on the screen, not in a log file."""
    command = [sys.executable, "-c", "print('the reason'); raise SystemExit(7)"]
    with pytest.raises(steps.StepError, match=r"(?s)packages failed.*exit code 7.*the reason"):
        steps.run("packages", command)
    assert capsys.readouterr().out == "setup: packages\n"


def test_a_compiler_is_believed_only_after_it_compiled(steps: ModuleType, tmp_path: Path) -> None:
    """A name on the path is not a compiler."""
    program(tmp_path / "cc", "exit 1")
    assert not steps.compiles(str(tmp_path / "cc"))
    assert not steps.compiles(str(tmp_path / "absent"))
