"""How the program starts, and how failures leave it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.conftest import Andon

from andon import __version__
from andon.cli import main as program

ANDON = [sys.executable, "-m", "andon.cli.main"]


def test_help_lists_every_command(andon: Andon) -> None:
    """`andon --help` is a page, not an error."""
    done = andon("--help")
    assert done.code == 0
    for name in ("serve", "demo", "models", "predict", "batch", "compare", "evaluate", "doctor"):
        assert f"\n  {name} " in done.out


def test_the_version_is_the_packages(andon: Andon) -> None:
    """`andon version` prints it."""
    assert andon("version").out == f"andon {__version__}\n"


def test_a_wrong_command_line_leaves_with_two(andon: Andon) -> None:
    """An unknown option is named on standard error."""
    done = andon("models", "list", "--nonsense")
    assert done.code == 2
    assert "--nonsense" in done.err


def test_an_error_is_one_line_and_the_next_step(andon: Andon) -> None:
    """No traceback: what happened, what to do, exit code 1."""
    done = andon("models", "show", 7)
    assert done.code == 1
    assert done.out == ""
    assert done.err == (
        "Error: Version 7 of model pcb does not exist.\n"
        "`andon models list` shows the versions there are.\n"
    )


def test_an_unusable_setting_is_named(andon: Andon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that does not parse is named as the variable it is, without its value."""
    monkeypatch.setenv("ANDON_PORT", "eighty")
    done = andon("models", "list")
    assert done.code == 1
    assert "ANDON_PORT" in done.err
    assert "docs/configuration.md" in done.err
    assert "eighty" not in done.err


def test_a_home_that_cannot_be_made_is_named(andon: Andon, tmp_path: Path) -> None:
    """A file where the home should be is an error with its path."""
    (tmp_path / "file").write_text("")
    done = andon("models", "list", "--home", tmp_path / "file" / "home")
    assert done.code == 1
    assert str(tmp_path / "file") in done.err


def test_debug_shows_the_traceback(andon: Andon) -> None:
    """`--debug` raises the error itself."""
    with pytest.raises(Exception, match="Version 7 of model pcb"):
        andon("--debug", "models", "show", 7)
    os.environ.pop("ANDON_DEBUG")


def test_a_bug_is_called_one(andon: Andon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything unexpected is one line too, and says how to report it."""

    def broken(**_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(program, "app", broken)
    done = andon("version")
    assert done.code == 1
    assert "ZeroDivisionError: by nothing" in done.err
    assert "bug in Andon" in done.err


def test_a_closed_pipe_is_quiet(home: Path) -> None:
    """`andon … | head` leaves no complaint behind."""
    command = f"'{sys.executable}' -m andon.cli.main models list --json | true"
    done = subprocess.run(
        ["/bin/bash", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""


def test_an_interrupt_leaves_with_130(home: Path, tmp_path: Path) -> None:
    """Ctrl+C ends a command without a traceback."""
    # Reading a pipe that nobody writes to keeps the command busy.
    pipe = tmp_path / "endless.onnx"
    os.mkfifo(pipe)
    running = subprocess.Popen(
        [*ANDON, "models", "add", str(pipe)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not (home / "models" / ".incoming").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in errors


def test_help_imports_no_command() -> None:
    """The list of commands comes from a table: `andon --help` loads none of them."""
    assert loaded("--help") == {"main", "output"}


def test_a_command_imports_no_other() -> None:
    """The server does not keep the rest of the command line in memory."""
    assert loaded("serve", "--help") == {"main", "opening", "options", "output", "serve"}


def test_a_mistyped_command_is_met_with_the_nearest() -> None:
    """Commands are suggested by name, without being loaded."""
    code = f"{_LOADED}\nsys.argv[1:] = ['modls']\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such command 'modls'. Did you mean 'models'?" in done.stderr
    assert done.stdout.split() == ["main", "output"]


def test_a_fault_while_a_command_loads_is_no_wrong_name(
    andon: Andon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that fails with a KeyError is a bug in Andon, not a command that is not there."""

    def broken(_: str) -> None:
        raise KeyError("table")

    monkeypatch.setattr(program, "import_module", broken)
    done = andon("models", "list")
    assert done.code == 1
    assert "bug in Andon" in done.err


_LOADED = """
import atexit, sys
from andon.cli.main import main
def say():
    print(*sorted(name[10:] for name in sys.modules if name.startswith("andon.cli.")))
atexit.register(say)
"""


def loaded(*words: str) -> set[str]:
    """The modules of the command line that ``andon …`` has imported when it ends."""
    code = f"{_LOADED}\nsys.argv[1:] = {list(words)}\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())
