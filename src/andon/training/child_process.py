"""One training process: started with limits, listened to, ended for good with all it started.

It prints JSON lines on standard output; anything else it says goes to the log of the run, which
is bounded. One thread starts, drains and ends it: the kernel kills it with that thread.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, Self

import msgspec

from andon.errors import StorageFull
from andon.logs import escaped
from andon.training import launcher, messages

MAX_LOG = 10 * 1024 * 1024
"""Bytes of a run's log; what comes later is dropped."""

MAX_LINE = 1024 * 1024
"""Bytes of one line; what comes later, up to its end, is dropped."""

_NICENESS = 10
_MAX_SHOWN = 4000
_TAIL = 12
_MAX_TOLD = 300
_LOOK = 0.2
_TERM_WAIT = 3.0
_KILL_WAIT = 5.0
# The process has ended, and something it started still holds its output: not waited for longer.
_LAST_WORDS = 1.0

# What a training may know of our environment, which holds secrets.
_PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH",
    "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "POLARS_MAX_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        code: Exit code; the negative signal number where a signal ended it.
        stopped: Why we ended it, as `listen`'s `look` said; empty where it ended by itself.
        tail: The last lines that it said.
    """

    code: int
    stopped: str
    tail: tuple[str, ...]


def environment(threads: int, extra: Sequence[str] = ()) -> dict[str, str]:
    """What a training process finds in its environment.

    Args:
        threads: That libraries may use inside one computation.
        extra: Further variables passed on, by the beginning of their names.
    """
    ours = os.environ
    passed = {name: ours[name] for name in _PASSED_ON if name in ours}
    passed |= {name: ours[name] for name in ours if extra and name.startswith(tuple(extra))}
    return {
        **passed,
        **dict.fromkeys(_THREADS, str(threads)),
        # Sets of text come out in the same order: the same data and seed, the same model.
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }


class Log:
    """The log of a run: lines of readable text, appended, at most `MAX_LOG` bytes.

    A full disk is no reason to end a training here: its lines are dropped.

    Args:
        path: The file; it may hold the log of an earlier attempt.
    """

    def __init__(self, path: Path) -> None:
        self.tail: list[str] = []
        self._file: BinaryIO | None = None
        self._room = 0
        with contextlib.suppress(OSError):
            self._file = path.open("ab", buffering=0)
            self._room = MAX_LOG - self._file.tell()

    def write(self, text: str) -> None:
        """Append a line."""
        line = escaped(text.rstrip("\r\n").expandtabs())
        if len(line) > _MAX_SHOWN:
            line = line[:_MAX_SHOWN] + "…"
        if line.strip():
            self.tail = [*self.tail[1 - _TAIL :], line[:_MAX_TOLD]]
        if self._file is None or self._room <= 0:
            return
        data = line.encode("utf-8", "replace") + b"\n"
        self._room -= len(data)
        if self._room <= 0:
            data = f"The log ends here: it holds {MAX_LOG // 1024**2} MiB.\n".encode()
        with contextlib.suppress(OSError):
            self._file.write(data)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class ChildProcess:
    """A training process. Use it in one thread, in a `with` block: leaving it ends the process.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        env: Its whole environment.
        memory_bytes: Address space; 0: no limit.

    Raises:
        StorageFull: There is no memory or process left to start it with.
    """

    def __init__(
        self, command: Sequence[str], *, folder: Path, env: Mapping[str, str], memory_bytes: int
    ) -> None:
        self._stage = ""
        limits = [str(os.getpid()), str(memory_bytes), str(_NICENESS)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", launcher.__file__, *limits, *command],
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise StorageFull(
                f"The training process cannot be started: {error.strerror}.",
                hint="Free some memory and try again.",
            ) from error

    @property
    def pid(self) -> int:
        """Of the process and of its group."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reap()

    def listen(
        self, tell: Callable[[messages.Line], None], log: Log, look: Callable[[], str]
    ) -> Ended:
        """Pass on what it says until it has ended.

        Args:
            tell: Called with each message.
            log: Gets everything, as text.
            look: Called a few times a second; a text ends the process for that reason.
        """
        out, err = self._process.stdout, self._process.stderr
        assert out is not None
        assert err is not None
        lines = {out: _Lines(), err: _Lines()}
        stopped = ""
        give_up = term_until = 0.0
        with selectors.DefaultSelector() as selector:
            for stream in lines:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(_LOOK):
                    stream = out if key.fileobj is out else err
                    if not self._drain(stream, lines[stream], stream is out, tell, log):
                        selector.unregister(stream)
                present = time.monotonic()
                if self._exited():
                    give_up = give_up or present + _LAST_WORDS
                    if not selector.get_map() or present >= give_up:
                        break
                elif not selector.get_map():
                    # It has closed its output and lives on.
                    time.sleep(_LOOK)
                if not stopped and (stopped := look()):
                    self._signal(signal.SIGTERM)
                    term_until = present + _TERM_WAIT
                if term_until and present >= term_until:
                    self._signal(signal.SIGKILL)
                    term_until = 0.0
        self._reap()
        return Ended(self._process.returncode, stopped, tuple(log.tail))

    def _drain(
        self,
        stream: IO[bytes],
        lines: "_Lines",
        is_out: bool,
        tell: Callable[[messages.Line], None],
        log: Log,
    ) -> bool:
        """Read what is there; False at the end."""
        try:
            chunk = os.read(stream.fileno(), 65536)
        except BlockingIOError:
            return True
        for line in lines.feed(chunk):
            message = _message(line) if is_out else None
            if isinstance(message, messages.Stage):
                # A long stage moves on many times; its first line is enough to read.
                known, self._stage = self._stage, message.stage
                if message.stage != known:
                    log.write(_text(message))
            else:
                log.write(line.decode("utf-8", "replace") if message is None else _text(message))
            if message is not None:
                tell(message)
        return bool(chunk)

    def _exited(self) -> bool:
        """Whether it has ended; does not reap it, so that its group stays addressable."""
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self._process.pid, flags) is not None
        except ChildProcessError:
            return True

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        """End what is left of the group, collect the process, close its pipes."""
        # Also where it has exited: it may have left children.
        self._signal(signal.SIGKILL)
        # It may hang inside the kernel: the garbage collector of subprocess collects it then.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_WAIT)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


class _Lines:
    """Cuts a stream of bytes into lines of bounded length."""

    def __init__(self) -> None:
        self._rest = b""
        self._cut = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete now; an empty chunk is the end of the stream."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if not chunk and self._rest:
            whole, self._rest = [self._rest], b""
        if self._cut and whole:
            # The rest of a line whose beginning was passed on.
            whole, self._cut = whole[1:], False
        if len(self._rest) > MAX_LINE:
            if not self._cut:
                whole.append(self._rest[:_MAX_SHOWN])
            self._rest, self._cut = b"", True
        return whole


def _message(line: bytes) -> messages.Line | None:
    """The message in a line; None where it is none."""
    if not line.startswith(b"{"):
        return None
    try:
        return messages.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _text(message: messages.Line) -> str:
    """A message as a line of the log."""
    match message:
        case messages.Stage(stage, progress):
            return f"[{min(max(progress, 0.0), 1.0):4.0%}] {stage}"
        case messages.Say(text):
            return text
        case messages.Scored(candidate) if candidate.error:
            return f"{candidate.name}: {candidate.error}"
        case messages.Scored(candidate):
            scores = ", ".join(
                f"{metric} {spread.mean:.4f} ± {spread.std:.4f}"
                for metric, spread in candidate.cross_validation.items()
            )
            return f"{candidate.name}: {scores or 'done'} ({candidate.seconds:.1f} s)"
        case messages.Checked(report):
            found = [f"{one.severity}: {one.detail}" for one in report.findings]
            return f"Data: {report.rows} rows of {report.origin}. {' '.join(found)}".rstrip()
        case messages.Refused(error, hint):
            return f"Refused: {error} {hint}".rstrip()
        case messages.Tracked(tracking_id):
            return f"MLflow run {tracking_id}"
