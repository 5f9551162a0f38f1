"""The process that talks to MLflow: ``python -m andon.training.mlflow_child``.

It reads one task from standard input (`andon.training.mlflow_tasks`), does it, prints what came
of it and ends. It gives up at the first thing that goes wrong: whoever asked tries again later.
"""

import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from andon import typed
from andon.training.mlflow_names import of_folder
from andon.training.mlflow_tasks import (
    Answer,
    Broken,
    Done,
    Folder,
    Live,
    LiveLine,
    Look,
    Registered,
    Send,
    Task,
    Training,
    Tried,
    shown,
)

if TYPE_CHECKING:
    from andon.training.mlflow_runs import Runs

Tell = Callable[[Answer], None]

_LINES: msgspec.json.Decoder[LiveLine] = msgspec.json.Decoder(LiveLine)
_MOST_ERROR = 500


def main() -> int:
    """Do the task on standard input; the exit code, 0 when it is done."""
    # MLflow's libraries warn of one another's futures. Nobody here can do anything about it.
    warnings.simplefilter("ignore")
    source = sys.stdin.buffer
    task = typed.decode(source.readline(), Task)
    # Libraries print to standard output, which is for answers alone.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def tell(answer: Answer) -> None:
        # A training that was killed hears nothing, and its run is closed all the same.
        with suppress(BrokenPipeError):
            answers.write(msgspec.json.encode(answer) + b"\n")

    if not isinstance(task, Live):
        _end_after(task.seconds)
    try:
        do(task, source, tell)
    # Whatever MLflow raises: it is told, and the training goes on.
    except Exception as error:
        tell(Answer(error=_sentence(error, task.store.uri)))
        return 1
    return 0


def do(task: Task, source: IO[bytes], tell: Tell) -> None:
    """Do one task.

    Args:
        task: Which.
        source: Further lines of a task `Live`.
        tell: Called with what came of it.

    Raises:
        Exception: Whatever MLflow, its libraries or the files raise.
    """
    if isinstance(task, Live):
        _follow(task, source, tell)
        return
    result = _look(task) if isinstance(task, Look) else _send(task)
    tell(Answer(done=True, result=result))


def _follow(task: Live, source: IO[bytes], tell: Tell) -> None:
    """Mirror a training until it says how it ended, or says nothing more because it is dead."""
    # On a thread, so that the end of the training is noticed while MLflow is slow.
    lines: queue.SimpleQueue[LiveLine | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, lines, task), daemon=True).start()
    from andon.training.mlflow_runs import Runs  # noqa: PLC0415 - seconds, spent while it trains

    runs = Runs(task.store)
    parent = runs.begin(task.training)
    tell(Answer(tracking_id=parent))
    try:
        _mirror(runs, task.training, parent, lines)
    except Exception:
        # It would seem to go on for ever. Where MLflow is gone, this fails as well.
        with suppress(Exception):
            runs.close(parent, "FAILED", "MLflow did not get all of it: andon mlflow sync")
        raise
    tell(Answer(tracking_id=parent, done=True))


def _mirror(
    runs: "Runs", training: Training, parent: str, lines: "queue.SimpleQueue[LiveLine | None]"
) -> None:
    """Write down what comes, until the run is closed."""
    nested: dict[str, str] = {}
    while True:
        line = lines.get()
        if isinstance(line, Tried):
            candidate = line.candidate
            nested[candidate.name] = runs.try_out(training, parent, candidate)
        elif isinstance(line, Done):
            for candidate in line.report.candidates:
                if candidate.name not in nested:
                    nested[candidate.name] = runs.try_out(training, parent, candidate)
                runs.score(nested[candidate.name], candidate)
            runs.finish(parent, line.report, Path(line.model))
            return
        elif isinstance(line, Broken):
            runs.close(parent, "FAILED", line.error)
            return
        else:
            runs.close(parent, "KILLED")
            return


def _listen(source: IO[bytes], lines: "queue.SimpleQueue[LiveLine | None]", task: Live) -> None:
    try:
        for line in source:
            lines.put(_LINES.decode(line))
    # A training that is killed in the middle of a line leaves half of it.
    except msgspec.DecodeError:
        pass
    finally:
        lines.put(None)
        # It has ended or is dead: nobody is left who would end this process.
        _end_after(task.store.timeout)


def _send(task: Send) -> dict[str, Any]:
    from andon.training import mlflow_days, mlflow_versions  # noqa: PLC0415 - as above
    from andon.training.mlflow_runs import Runs  # noqa: PLC0415

    runs = Runs(task.store)
    sent, unusable = [], []
    for folder in map(_named, task.folders):
        try:
            _, new = runs.send(folder)
        # A damaged folder stays damaged: the others are sent all the same.
        except (OSError, msgspec.DecodeError) as error:
            unusable.append(f"{folder.training.run_id}: {_sentence(error, task.store.uri)}")
        else:
            sent += [folder.training.run_id] if new else []
    models = {one.model: mlflow_versions.mirror(runs, _renamed(one)) for one in task.models}
    days = mlflow_days.send(runs, task.days)
    return {"trainings": sent, "unusable": unusable, "models": models, "days": days}


def _named(folder: Folder) -> Folder:
    """A training under the names that its recipe gives."""
    training = msgspec.structs.replace(folder.training, names=of_folder(folder))
    return msgspec.structs.replace(folder, training=training)


def _renamed(registered: Registered) -> Registered:
    """A model under the names that its newest training gives."""
    versions = tuple(
        msgspec.structs.replace(one, folder=one.folder and _named(one.folder))
        for one in registered.versions
    )
    found = [one.folder.training.names for one in versions if one.folder is not None]
    return Registered(registered.model, found[-1] if found else registered.names, versions)


def _look(task: Look) -> dict[str, Any]:
    from andon.training.mlflow_runs import ROLE, VERSION, Runs  # noqa: PLC0415 - as above

    client = Runs(task.store).client
    experiments = {}
    for one in client.search_experiments():
        mine = f"tags.`{ROLE}` = 'training'"
        count = len(client.search_runs([one.experiment_id], mine))
        if count or one.name != "Default":
            experiments[one.name] = count
    models = {}
    for model in client.search_registered_models():
        tags = {
            str(one.version): one.tags.get(VERSION, "?")
            for one in client.search_model_versions(f"name = '{model.name}'")
        }
        aliases = {alias: tags.get(str(number), "?") for alias, number in model.aliases.items()}
        models[model.name] = {"versions": len(tags), "aliases": aliases}
    return {"experiments": experiments, "models": models}


def _end_after(seconds: float) -> None:
    """End this process then, whatever hangs in it."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _sentence(error: Exception, uri: str) -> str:
    """What went wrong, on one line, without secrets."""
    text = " ".join(str(error).split()) or type(error).__name__
    return shown(text, uri)[:_MOST_ERROR]


if __name__ == "__main__":
    sys.exit(main())
