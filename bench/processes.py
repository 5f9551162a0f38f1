"""Starting, watching and stopping the servers that are measured."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Server:
    """A running server under test.

    Attributes:
        port: Where it listens on 127.0.0.1.
        start_seconds: From spawning the process to the first good answer of `ready_path`.
        process: The process that was spawned.
    """

    port: int
    start_seconds: float
    process: subprocess.Popen[bytes]

    def rss_mib(self) -> float:
        """Resident set size of the spawned process alone, MiB, as `ps` shows it."""
        return self._mib("VmRSS")

    def peak_rss_mib(self) -> float:
        """The greatest resident set since the start, or since `forget_peak`, MiB."""
        return self._mib("VmHWM")

    def forget_peak(self) -> None:
        """Count the greatest resident set anew from here on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _mib(self, name: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        return 0.0


def free_port() -> int:
    """A TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _environment() -> dict[str, str]:
    """Ours, but with bytecode kept, as on any machine: starts are measured warm."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and its children; they have ten seconds to do it themselves."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serving(
    command: Sequence[str],
    *,
    port: int,
    ready_path: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    log: Path,
) -> Iterator[Server]:
    """Run a server until the block ends.

    Raises:
        RuntimeError: It ended, or did not answer `ready_path` with 200 within 90 seconds.
    """
    started = time.perf_counter()
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command,
            env={**_environment(), **(env or {})},
            cwd=cwd,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        while not _answers(port, ready_path):
            if process.poll() is not None or time.perf_counter() - started > 90:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{command[0]} did not become ready; its log ends:\n{tail}")
            time.sleep(0.01)
        yield Server(port, time.perf_counter() - started, process)
    finally:
        _stop(process)


@contextmanager
def andon(home: Path, *, python: Path | str = sys.executable, **settings: str) -> Iterator[Server]:
    """`andon serve` on a home folder, with settings given as ``queue_size="64"``."""
    port = free_port()
    env = {"ANDON_HOME": str(home), "ANDON_PORT": str(port), "ANDON_LOG_LEVEL": "WARNING"}
    env |= {f"ANDON_{name.upper()}": value for name, value in settings.items()}
    command = [str(python), "-m", "andon", "serve"]
    with serving(
        command, port=port, ready_path="/health/ready", env=env, log=home / "bench.log"
    ) as server:
        yield server
