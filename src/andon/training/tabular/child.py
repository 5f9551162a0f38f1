"""``python -m andon.training.tabular.child FOLDER``: one training, in a process of its own.

Reads ``request.json`` in the folder and leaves ``data_report.json``, ``model.onnx`` and
``report.json`` there, each complete or absent. Standard output carries one JSON object per line
(`messages.Line`) and nothing else; what libraries print goes to standard error.

Exit code 0: all files are complete. 3: refused, the last line says why. Anything else: it crashed,
and the end of standard error says how.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from andon import typed

if TYPE_CHECKING:
    from andon.training.messages import Line, TrainRequest

_THREADS = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
# Sums in another order differ in the last digit: linear algebra stays on one thread.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_SILENCE = 1.0


def main() -> int:
    """Train as the folder named on the command line asks; the exit code."""
    # What is stopped ends at once: there is nothing to tidy, files appear when they are complete.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    folder = Path(sys.argv[1])
    content = _request(folder / "request.json")
    # Libraries read these when they are imported, so everything heavy comes later.
    threads = str(max(1, int(json.loads(content).get("threads", 1))))
    os.environ.update(dict.fromkeys(_THREADS, threads) | dict.fromkeys(_ONE_THREAD, "1"))
    with _protocol() as stream:
        return _train(folder, content, stream)


def _request(path: Path) -> bytes:
    """What is asked; from here on the file tells no passwords, whoever is killed when."""
    content = path.read_bytes()
    known = {**json.loads(content), "database_url": "", "mlflow_uri": ""}
    # It stays as it is where it cannot be written: whoever started this takes them out at the end.
    with contextlib.suppress(OSError):
        unfinished = path.with_name(f".{path.name}.tmp")
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            json.dump(known, stream)
        unfinished.replace(path)
    return content


def _train(folder: Path, content: bytes, stream: BinaryIO) -> int:

    from andon.errors import AndonError  # noqa: PLC0415
    from andon.training import messages  # noqa: PLC0415

    request = typed.decode(content, messages.TrainRequest)
    with _Teller(stream) as teller:
        try:
            _work(folder, request, teller)
        except AndonError as error:
            report = getattr(error, "report", None)
            teller(messages.Refused(error.detail, error.hint, report))
            return messages.REFUSED
    return 0


def _work(folder: Path, request: "TrainRequest", teller: "_Teller") -> None:
    import msgspec  # noqa: PLC0415 - see `_train`

    from andon.training import messages  # noqa: PLC0415
    from andon.training.tabular import loading  # noqa: PLC0415
    from andon.training.tabular.tracking import Tracker  # noqa: PLC0415

    def checked(line: messages.Line) -> None:
        if isinstance(line, messages.Checked):
            _write(folder / messages.DATA_REPORT, msgspec.json.encode(line.report))
        teller(line)

    beginning = "Checking the data..." if request.check_only else "Starting model training..."
    teller(messages.Say(beginning))
    recipe, found, data = loading.load(request, checked)
    if request.check_only:
        teller(messages.Stage("Checked", 1.0))
        return
    # The libraries that learn take seconds to import: only now, when there is something to learn.
    teller(messages.Stage("Loading the libraries", 0.06))
    from andon.training.tabular import pipeline  # noqa: PLC0415

    tracker = Tracker(request, recipe, teller)

    def tracked(line: messages.Line) -> None:
        teller(line)
        if isinstance(line, messages.Scored):
            tracker.candidate(line.candidate)

    tracker.start(found)
    try:
        outcome = pipeline.learn(recipe, found, data, request, tracked)
        _write(folder / messages.MODEL, outcome.model)
        _write(folder / messages.REPORT, msgspec.json.encode(outcome.report))
    except BaseException as error:
        tracker.fail(str(error) or type(error).__name__)
        raise
    if request.mlflow_uri:
        teller(messages.Stage("Mirroring to MLflow", 0.99))
    tracker.finish(outcome.report, folder / messages.MODEL)
    teller(messages.Stage("Done", 1.0))
    teller(messages.Say("Model training completed successfully!"))


class _Teller:
    """Writes lines; repeats the last stage when nothing was said for a second.

    So whoever listens sees a long fit as work and not as silence.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._last = b""
        self._spoke = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __call__(self, line: "Line") -> None:
        from andon.training import messages  # noqa: PLC0415 - see `_train`

        encoded = messages.encode(line)
        with self._lock:
            self._stream.write(encoded)
            self._stream.flush()
            if isinstance(line, messages.Stage):
                self._last = encoded
        self._spoke.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._spoke.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended:
            if self._spoke.wait(_SILENCE):
                self._spoke.clear()
                continue
            with self._lock, contextlib.suppress(OSError):
                self._stream.write(self._last)
                self._stream.flush()


@contextlib.contextmanager
def _protocol() -> Iterator[BinaryIO]:
    """The real standard output; from here on, what anybody prints goes to standard error."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "wb") as stream:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        yield stream


def _write(path: Path, content: bytes) -> None:
    """A file that is complete on the disk, or not there.

    Raises:
        StorageFull: It could not be written.
    """
    from andon.errors import StorageFull  # noqa: PLC0415 - see `_train`

    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise StorageFull(
            f"{path.name} could not be written: {error.strerror}.",
            hint="Make room on the disk of the trainings' folder and start the training again.",
        ) from error


if __name__ == "__main__":
    sys.exit(main())
