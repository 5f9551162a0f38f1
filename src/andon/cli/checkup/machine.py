"""The machine: Python, ONNX Runtime, memory, open files, the clock."""

import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from andon.cli.checkup.finding import Finding, fail, ok, warn
from andon.cli.output import size

if TYPE_CHECKING:
    from andon.settings import Settings

_MACHINES = {"x86_64", "amd64", "aarch64", "arm64"}
_LEAST_MEMORY = 256 * 1024**2
_LEAST_OPEN_FILES = 1024
# No clock of a working machine shows a time before this release was written.
_RELEASED = datetime(2026, 1, 1, tzinfo=UTC)


def examine(_settings: "Settings") -> Iterator[Finding]:
    """All checks of the machine."""
    yield _python()
    yield _onnxruntime()
    yield from _memory(Path("/proc/meminfo"))
    yield _open_files()
    yield _clock(datetime.now(UTC))


def _python() -> Finding:
    here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.maxsize < 2**32 or platform.machine().lower() not in _MACHINES:
        return warn(
            "python",
            f"{here} is not a machine Andon is tested on.",
            "Use a 64-bit system (Raspberry Pi OS 64-bit on a Raspberry Pi).",
        )
    return ok("python", f"{here}.")


def _onnxruntime() -> Finding:
    # In a process of its own: on an unsuitable processor the import ends the whole program.
    command = [sys.executable, "-c", "import onnxruntime as o; print(o.__version__)"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return fail(
            "onnxruntime",
            "Importing ONNX Runtime took more than 60 s.",
            "The machine or its disk is overloaded; look at `top` and at free memory.",
        )
    if done.returncode < 0:
        return fail(
            "onnxruntime",
            f"Importing ONNX Runtime ends the process with signal {-done.returncode}.",
            "This build does not suit the processor. Try another: pip install onnxruntime==1.27.0",
        )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return fail(
            "onnxruntime", f"ONNX Runtime does not import: {reason}.", "Run `make install` again."
        )
    return ok("onnxruntime", f"ONNX Runtime {done.stdout.strip()} imports.")


def _memory(meminfo: Path) -> Iterator[Finding]:
    """Free memory, where the system tells it (Linux)."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    values = {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (x.partition(":") for x in lines)
    }
    free = values.get("MemAvailable", values.get("MemFree", 0))
    if free < _LEAST_MEMORY:
        yield warn(
            "memory",
            f"Only {size(free)} of memory are available.",
            "Stop other programs, add swap, or lower ANDON_INFERENCE_WORKERS and "
            "ANDON_EIM_PROCESSES.",
        )
    else:
        yield ok("memory", f"{size(free)} of memory are available.")


def _open_files() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= limit < _LEAST_OPEN_FILES:
        return warn(
            "open files",
            f"A process may open only {limit} files; each client is one.",
            "Raise it: `ulimit -n 4096`, or LimitNOFILE=4096 in the systemd unit.",
        )
    return ok("open files", f"A process may open {limit} files.")


def _clock(now: datetime) -> Finding:
    shown = now.strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < _RELEASED:
        return fail(
            "clock",
            f"The clock says {shown}, which cannot be.",
            "Set it (sudo timedatectl set-ntp true): the log would be in the wrong order.",
        )
    return ok("clock", f"The clock says {shown}.")
