"""Mirrors the training of this process to MLflow while it runs.

MLflow is spoken to by a process of its own, beside the training and never in its way: lines are
written where there is room, and only at the end is waited, `mlflow_timeout` seconds at most. That
process notices when the training dies, and closes its run as KILLED. What could not be sent is
sent later from the folder of the run (``andon mlflow sync``).
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec

from andon import typed
from andon.training.messages import (
    Candidate,
    DataReport,
    Line,
    Say,
    Tracked,
    TrainReport,
    TrainRequest,
)
from andon.training.mlflow_names import of_recipe
from andon.training.mlflow_tasks import (
    COMMAND,
    Answer,
    Broken,
    Done,
    Live,
    LiveLine,
    Training,
    Tried,
    shown,
    store_at,
    surroundings,
)
from andon.training.tabular.recipe import Recipe

_LATER = "The training goes on without it. Send it later with: andon mlflow sync"


class Tracker:
    """The mirror of one training.

    No method raises, and none but `finish` and `fail` waits.

    Args:
        request: Where MLflow is, and which training this is.
        recipe: What is trained.
        tell: Called with lines for whoever watches the training.
    """

    def __init__(
        self, request: TrainRequest, recipe: Recipe, tell: Callable[[Line], object]
    ) -> None:
        self._request = request
        self._recipe = recipe
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._unsent = b""
        self._unread = b""
        self._done = False
        self.tracking_id = ""
        """MLflow's id of the run; "" while there is none."""
        self.problem = ""
        """Why MLflow does not have this training; "" while nothing is wrong."""

    def start(self, data_report: DataReport) -> None:
        """Begin to mirror; says once where to, or why not."""
        request, recipe = self._request, self._recipe
        if not request.mlflow_uri:
            self._say("MLflow is off: this training is not mirrored.")
            return
        if find_spec("mlflow") is None:
            self._give_up("it is not installed (pip install 'andon[mlflow]')")
            return
        store = store_at(request.mlflow_uri, Path(request.home), request.mlflow_timeout)
        training = Training(
            run_id=request.run_id,
            model=request.model,
            recipe=recipe.name,
            title=recipe.title,
            data_digest=data_report.digest,
            names=of_recipe(recipe, request.model),
        )
        try:
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=surroundings(store),
                # Whoever kills the training and its group leaves this one time to say so.
                start_new_session=True,
            )
        except OSError as error:
            self._give_up(error.strerror or str(error))
            return
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._say(f"Mirroring to MLflow at {shown(store.uri)}.")
        self._unsent = msgspec.json.encode(Live(store, training)) + b"\n"
        self._exchange()

    def candidate(self, result: Candidate) -> None:
        """A candidate is done."""
        self._send(Tried(result))

    def finish(self, report: TrainReport, model_path: Path) -> None:
        """The training has ended well; waits until MLflow has it, or the time is over.

        Args:
            report: All of it.
            model_path: The ONNX file, which must stay there while this waits.
        """
        self._send(Done(report=report, model=str(model_path)))
        self._wait()

    def fail(self, error: str) -> None:
        """The training has failed; waits as `finish`."""
        self._send(Broken(error))
        self._wait()

    # -- Inside -------------------------------------------------------------------------

    def _send(self, line: LiveLine) -> None:
        if self._process is not None:
            self._unsent += msgspec.json.encode(line) + b"\n"
            self._exchange()

    def _wait(self) -> None:
        """Until it is done, has given up, or took too long; it is gone afterwards."""
        if self._process is None:
            return
        until = time.monotonic() + self._request.mlflow_timeout
        while not (self._done or self.problem):
            left = until - time.monotonic()
            if left <= 0:
                self._give_up(f"it was not done within {self._request.mlflow_timeout:g} seconds")
            else:
                self._exchange(left)
        self._end()

    def _exchange(self, seconds: float = 0.0) -> None:
        """Write what there is room for, read what there is; wait up to `seconds` for either."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        writing = [process.stdin] if self._unsent else []
        readable, writable, _ = select.select([process.stdout], writing, [], seconds)
        try:
            if writable:
                written = os.write(process.stdin.fileno(), self._unsent)
                self._unsent = self._unsent[written:]
            if readable:
                read = os.read(process.stdout.fileno(), 1 << 16)
                self._unread += read
                self._listen()
                if not read and not self._done:
                    self._give_up("its process died")
        except BrokenPipeError:
            # It said why before it went, and that is read next.
            self._unsent = b""
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def _listen(self) -> None:
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            answer = typed.decode(line, Answer)
            if answer.error:
                self._give_up(answer.error)
                return
            if answer.tracking_id and not self.tracking_id:
                self.tracking_id = answer.tracking_id
                self._tell(Tracked(answer.tracking_id))
            self._done = self._done or answer.done

    def _give_up(self, why: str) -> None:
        if not self.problem:
            self.problem = f"MLflow: {shown(why, self._request.mlflow_uri)}."
            self._say(f"{self.problem} {_LATER}")
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _say(self, text: str) -> None:
        self._tell(Say(text))
