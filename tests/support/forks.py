"""Processes that die, without a second of imports for each: they are forked from one that waits.

    forks = Forks(folder, "andon.platform")
    forks.run(code, argument, ...)

The process that waits has imported the modules and started nothing: no thread, no file, no
connection. What it forks is a process of its own, which may be killed like any other.
"""

import json
import os
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

_ROOT = Path(__file__).parents[2]
_WAIT = "from tests.support.forks import wait; wait()"


class Ended(NamedTuple):
    """How a process ended: as `subprocess.CompletedProcess` tells it."""

    returncode: int
    stdout: str
    stderr: str


class Forks:
    """Runs code in processes that have imported already.

    Args:
        folder: A folder for what they write; it must exist.
        modules: What they find imported. None of them may start a thread when imported.
    """

    def __init__(self, folder: Path, *modules: str) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WAIT, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )

    def run(self, code: str, *arguments: object, **environment: str) -> Ended:
        """Run code with `sys.argv[1:]` in a process of its own, to its end.

        Args:
            code: Python, as for `python -c`.
            arguments: As text in `sys.argv[1:]`.
            environment: Added to this process's variables as they are now.
        """
        out, errors = self._folder / "out.txt", self._folder / "errors.txt"
        asked = {
            "code": code,
            "argv": ["-c", *map(str, arguments)],
            "environment": {**os.environ, **environment},
            "files": [str(out), str(errors)],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks the others has ended"
        return Ended(int(answer), out.read_text(), errors.read_text())

    def close(self) -> None:
        """End the process that waits."""
        self._process.communicate(timeout=60)


def wait() -> None:
    """Import what is named, then fork a process for every line of standard input."""
    for module in sys.argv[1:]:
        import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_live(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 (it is the answer)


def _live(code: str, argv: list[str], environment: dict[str, str], files: list[str]) -> int:
    """Be the program: exit code."""
    for number, path in enumerate(files, 1):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(target, number)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        exec(compile(code, "<test>", "exec"), names)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
