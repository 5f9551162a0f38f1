"""One running `.eim` program: started with limits, spoken to with deadlines, ended for good.

Whatever a program does, a caller gets an answer or an error in time, and nothing of it is
left: no process, no zombie, no folder, no shared memory.
"""

import concurrent.futures
import contextlib
import errno
import os
import queue
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed
from andon.runtimes import eim_launcher, eim_protocol
from andon.runtimes.base import RuntimeConfig
from andon.runtimes.eim_protocol import Connection, ErrorReply, Hello, HungUp
from andon.runtimes.eim_workspace import SHARED, Workspace
from andon.runtimes.text import clean

_TAIL_BYTES = 8192
_TAIL_SHOWN = 400
_RETRY = 0.003
_HANG_UP_WAIT = 1.0
_TERM_WAIT = 2.0
_KILL_WAIT = 5.0
# A program that hung up gets this long to end, so that its exit code can be told, seconds.
_LAST_BREATH = 0.5


class _Spawner:
    """Starts programs from a thread that lives as long as this process.

    The kernel kills a program with the *thread* that started it, so request threads,
    which come and go, must not start any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._orders: queue.SimpleQueue[
            tuple[list[str], dict[str, Any], concurrent.futures.Future[subprocess.Popen[bytes]]]
        ] = queue.SimpleQueue()

    def spawn(self, command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        """`subprocess.Popen`, called on the spawner's thread."""
        done: concurrent.futures.Future[subprocess.Popen[bytes]] = concurrent.futures.Future()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="andon-eim-spawner", daemon=True
                )
                self._thread.start()
        self._orders.put((command, options, done))
        return done.result()

    def _work(self) -> None:
        while True:
            command, options, done = self._orders.get()
            try:
                done.set_result(subprocess.Popen(command, **options))
            except BaseException as error:
                done.set_exception(error)


_spawner = _Spawner()


def _forked() -> None:
    """A forked child has no spawner thread; it makes its own."""
    global _spawner
    _spawner = _Spawner()


os.register_at_fork(after_in_child=_forked)


class EimProcess:
    """A program and the connection to it. One caller at a time, except `kill` and `stop`.

    Args:
        path: The executable.
        config: Limits, timeouts and the score floor.
    """

    def __init__(self, path: Path, config: RuntimeConfig) -> None:
        self._path = path.absolute()
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._workspace: Workspace | None = None
        self._memory: int | None = None
        self._hello: Hello | None = None
        self._output = b""
        self._reader: threading.Thread | None = None
        self._ending = threading.Lock()
        self._ended = False
        self.usual = 0.0
        """Duration of the first inference, seconds."""
        self.refusals = 0
        """Error replies in a row."""
        self.held_back = False
        """Whether the program refused to answer boxes below its own threshold."""

    @property
    def hello(self) -> Hello:
        """What the model says of itself; only after `start`."""
        assert self._hello is not None
        return self._hello

    def start(self, deadline: float) -> None:
        """Start the program, get to know it, and let it answer once.

        Raises:
            ModelRejected: It is no model that Andon serves.
            RuntimeFailed: It ended or talked nonsense; the message carries its last words.
            DeadlineExceeded: It was not ready in time.
        """
        try:
            self._launch()
            self._connect(deadline)
            self._introduce(deadline)
            started = time.monotonic()
            self.classify(np.zeros(self.hello.features, np.float32), deadline)
            self.usual = time.monotonic() - started
        except ErrorReply as error:
            words = self._words()
            self._abandon()
            raise RuntimeFailed(f"The model refused to start: {error}.{words}") from None
        except DeadlineExceeded as error:
            words = self._words()
            self._abandon()
            raise DeadlineExceeded(f"{error.detail}{words}", hint=error.hint) from None
        except BaseException:
            self._abandon()
            raise

    def classify(self, features: NDArray[np.float32], deadline: float) -> dict[str, Any]:
        """The `result` object for one picture.

        Args:
            features: float32, (hello.features,).
            deadline: `time.monotonic()` value.

        Raises:
            DeadlineExceeded: Not in time; call `late` before anything else.
            RuntimeFailed: The program ended or talked nonsense; kill it.
            ErrorReply: It refused this picture; it goes on.
        """
        if self._share(features):
            body = b'"classify_shm":{"elements":%d}' % features.shape[0]
        else:
            body = eim_protocol.classify_message(features)
        return self._result(self._ask(body, deadline))

    def late(self, deadline: float) -> None:
        """Wait for the answer that did not come in time, so that the next one is the next.

        Raises:
            DeadlineExceeded: Still nothing; kill it.
            RuntimeFailed: It ended; kill it.
        """
        assert self._connection is not None
        with contextlib.suppress(ErrorReply):
            self._connection.late(deadline)

    def hang_up(self) -> None:
        """Close the connection: a caller that waits gets an error, a sane program exits."""
        if self._connection is not None:
            self._connection.hang_up()

    def kill(self) -> None:
        """End the program's whole process group at once and clear up. Safe to call twice."""
        with self._ending:
            if not self._ended:
                self._ended = True
                self.hang_up()
                self._signal(signal.SIGKILL)
                self._wait(_KILL_WAIT)
                self._clear()

    def stop(self) -> None:
        """Let the program exit by itself, then insist, then clear up. Safe to call twice."""
        with self._ending:
            if not self._ended:
                self._ended = True
                self.hang_up()
                # A program without a connection does not notice that it ended.
                if self._connection is None or not self._wait(_HANG_UP_WAIT):
                    self._signal(signal.SIGTERM)
                    self._wait(_TERM_WAIT)
                # Also where the program has exited: it may have left children.
                self._signal(signal.SIGKILL)
                self._wait(_KILL_WAIT)
                self._clear()

    def _abandon(self) -> None:
        """End a start half-way, also where `stop` came in between and is done already."""
        self.kill()
        if self._connection is not None:
            self._connection.close()

    # -- Starting -----------------------------------------------------------------------

    def _launch(self) -> None:
        with self._ending:
            if self._ended:
                raise RuntimeFailed("The model is closed.")
            self._process = self._spawn()
            self._reader = threading.Thread(
                target=self._listen, args=(self._process,), name="andon-eim-output", daemon=True
            )
            self._reader.start()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        make_executable(self._path)
        self._workspace = Workspace()
        command = [
            sys.executable,
            "-I",
            "-S",
            eim_launcher.__file__,
            str(os.getpid()),
            str(self._config.memory_bytes),
            str(self._path),
            str(self._workspace.socket),
        ]
        return _spawner.spawn(
            command,
            cwd=self._workspace.scratch,
            # Nothing of our environment: it holds secrets.
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "LANG": os.environ.get("LANG", "C.UTF-8"),
                "TMPDIR": str(self._workspace.scratch),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        """Drain what the program prints: a full pipe would stop it for good."""
        assert process.stdout is not None
        with process.stdout as pipe, contextlib.suppress(OSError, ValueError):
            while chunk := os.read(pipe.fileno(), 65536):
                self._output = (self._output + chunk)[-_TAIL_BYTES:]

    def _connect(self, deadline: float) -> None:
        assert self._workspace is not None
        while True:
            if self._exited():
                raise self._death("ended before it was ready")
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                stream.settimeout(max(0.001, deadline - time.monotonic()))
                stream.connect(str(self._workspace.socket))
            except OSError as error:
                stream.close()
                # The socket's file appears between bind and listen.
                if error.errno not in {errno.ENOENT, errno.ECONNREFUSED}:
                    raise RuntimeFailed(f"The model cannot be reached ({error}).") from None
                if time.monotonic() >= deadline:
                    raise DeadlineExceeded("The model did not listen in time.") from None
                time.sleep(_RETRY)
            else:
                self._connection = Connection(stream)
                return

    def _introduce(self, deadline: float) -> None:
        assert self._workspace is not None
        reply = self._ask(b'"hello":1', deadline)
        self._workspace.owe(eim_protocol.shared_names(reply))
        self._hello = hello = eim_protocol.read_hello(reply)
        if hello.shm:
            self._memory = _open_shared(hello.shm, hello.features * 4)
        if self._memory is None and hello.features * 9 > eim_protocol.LARGEST_REQUEST:
            raise ModelRejected(
                f"The model takes {hello.width}x{hello.height} pixels, too many for a message, "
                "and there is no shared memory.",
                hint="Enlarge /dev/shm, or build the model with a smaller input.",
            )
        floor = self._config.score_floor
        if hello.block is not None and hello.min_score is not None and hello.min_score > floor:
            body = b'"set_threshold":{"id":%d,"min_score":%f}' % (hello.block, floor)
            try:
                self._ask(body, deadline)
            except ErrorReply:
                self.held_back = True

    # -- Talking ------------------------------------------------------------------------

    def _ask(self, body: bytes, deadline: float) -> dict[str, Any]:
        if self._connection is None:
            raise RuntimeFailed("The model's process is not running.")
        try:
            return self._connection.ask(body, deadline)
        except RuntimeFailed as error:
            if self._wait(_LAST_BREATH if isinstance(error, HungUp) else 0):
                raise self._death("ended") from None
            raise RuntimeFailed(f"{error.detail}{self._words()}", hint=error.hint) from None

    def _result(self, reply: dict[str, Any]) -> dict[str, Any]:
        result = reply.get("result")
        if not isinstance(result, dict):
            raise RuntimeFailed("The model's reply holds no result.")
        return result

    def _share(self, features: NDArray[np.float32]) -> bool:
        """Put features into shared memory; False where there is none.

        Written, not mapped: writing to a shrunk or full file is an error that can be
        caught, touching a mapping of it would kill this process.
        """
        if self._memory is None:
            return False
        try:
            rest = features.data.cast("B")
            at = 0
            while at < len(rest):
                at += os.pwrite(self._memory, rest[at:], at)
        except OSError:
            os.close(self._memory)
            self._memory = None
            return False
        return True

    # -- Ending -------------------------------------------------------------------------

    def _exited(self) -> bool:
        """Whether the program has ended; does not reap it, so its group stays addressable."""
        if self._process is None or self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self._process.pid, flags) is not None
        except ChildProcessError:
            return True

    def _wait(self, seconds: float) -> bool:
        """Wait until the program has ended; does not reap it."""
        until = time.monotonic() + seconds
        while not self._exited():
            if time.monotonic() >= until:
                return False
            time.sleep(_RETRY)
        return True

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _clear(self) -> None:
        if self._process is not None:
            if self._exited():
                self._process.wait()
            else:
                # It hangs inside the kernel; somebody must still collect it one day.
                threading.Thread(target=self._process.wait, daemon=True).start()
        if self._reader is not None:
            self._reader.join(timeout=1.0)
        if self._connection is not None:
            self._connection.close()
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None
        if self._workspace is not None:
            self._workspace.remove()

    def _death(self, what: str) -> RuntimeFailed:
        """The error for a program that is no more."""
        assert self._process is not None
        if self._reader is not None:
            self._reader.join(timeout=0.2)
        info = None
        with contextlib.suppress(ChildProcessError):
            info = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        how = ""
        if info is not None and info.si_code == os.CLD_EXITED:
            how = f" with exit code {info.si_status}"
        elif info is not None:
            with contextlib.suppress(ValueError):
                how = f" by {signal.Signals(info.si_status).name}"
        return RuntimeFailed(f"The model's program {what}{how}.{self._words()}")

    def _words(self) -> str:
        """The end of what the program printed, as a sentence; empty where it is silent."""
        text = self._output.decode("utf-8", errors="replace")
        if self._workspace is not None:
            text = text.replace(str(self._workspace.folder), "")
        lines = [line for line in text.splitlines() if not line.startswith("Waiting for")]
        last = clean(" | ".join(line.strip() for line in lines if line.strip())[-_TAIL_SHOWN:], 400)
        return f" Its last words: {last.rstrip('.')}." if last else ""


def stop_all(processes: Sequence[EimProcess]) -> None:
    """Stop processes side by side; each may take seconds."""
    for process in processes:
        process.hang_up()
    threads = [threading.Thread(target=process.stop) for process in processes[1:]]
    for thread in threads:
        thread.start()
    for process in processes[:1]:
        process.stop()
    for thread in threads:
        thread.join()


def make_executable(path: Path) -> None:
    """Give a model file its executable bits, which uploads lose.

    Raises:
        ModelRejected: It lacks them and they cannot be set.
    """
    try:
        if not path.stat().st_mode & stat.S_IXUSR:
            path.chmod(0o755)
    except OSError as error:
        raise ModelRejected(
            f'Model file "{path.name}" is not executable, and cannot be made so: {error.strerror}.',
            hint="Check the owner of the models folder.",
        ) from None


def _open_shared(name: str, size: int) -> int | None:
    """A file descriptor of shared memory whose pages exist; None where it is unusable."""
    try:
        memory = os.open(SHARED / name[1:], os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # A full /dev/shm lets everybody map it, and kills who touches it first.
        if os.fstat(memory).st_size < size:
            raise OSError(errno.EINVAL, "too small")
        os.posix_fallocate(memory, 0, size)
    except OSError:
        os.close(memory)
        return None
    return memory
