"""Trainings as runs of MLflow: a parent run for the training, a nested one per candidate.

Only `andon.training.mlflow_child` imports this: MLflow takes seconds to import.
"""

import fcntl
import hashlib
import math
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.onnx
import msgspec
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Schema, TensorSpec

from andon import __version__, typed
from andon.runtimes.rows import SCHEMA_KEY, Feature, RowSchema
from andon.training import mlflow_report
from andon.training.messages import MODEL, REPORT, Candidate, TrainReport, read_report
from andon.training.mlflow_tasks import Folder, Store, Training

ROLE = "andon.role"
RUN_ID = "andon.run_id"
SHA256 = "andon.sha256"
VERSION = "andon.version"
STATUS = "andon.status"
_COMPLETE = "andon.complete"
_MODEL = "andon.model_uri"

_MODEL_NAME = "model"
_CHUNK = 100  # parameters, or tags, that one request may carry
_MAX_VALUE = 5000
_DIGEST = 36  # characters that MLflow keeps of a data set's digest


class Logged(msgspec.Struct, frozen=True):
    """A model that MLflow keeps: the run it belongs to, and its own address."""

    run_id: str
    uri: str


class Runs:
    """Writes runs.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        # Logging a model takes the address from here.
        mlflow.set_tracking_uri(store.uri)
        mlflow.set_registry_uri(store.uri)
        with _alone(store):
            self.client = MlflowClient(store.uri, store.uri)

    def experiment(self, name: str) -> str:
        """The id of an experiment; it is made, or brought back, where it is not there."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            folder = f"{self.store.artifacts}/{name}" if self.store.artifacts else None
            try:
                return str(self.client.create_experiment(name, artifact_location=folder))
            except MlflowException as error:
                # Another training began at the same moment.
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                return self.experiment(name)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def find(self, experiment: str, **tags: str) -> Any | None:
        """The newest run with these tags of Andon's, or None."""
        wanted = " AND ".join(f"tags.`andon.{name}` = '{value}'" for name, value in tags.items())
        found = self.client.search_runs([experiment], wanted, max_results=1)
        return found[0] if found else None

    def begin(self, training: Training, *, started: float | None = None, live: bool = True) -> str:
        """Open the run of a training; its id.

        Args:
            training: Which one.
            started: Seconds since 1970; None: now.
            live: Whether it runs now, with this code.
        """
        moment = time.time() if started is None else started
        tags = {
            ROLE: "training",
            RUN_ID: training.run_id,
            "andon.model": training.model,
            "andon.recipe": training.recipe,
            "andon.data_digest": training.data_digest,
            "mlflow.source.name": f"andon train {training.recipe}",
            "mlflow.source.type": "JOB",
        }
        if live:
            tags |= {"andon.code_version": __version__, "mlflow.source.git.commit": _commit()}
        if training.title:
            tags["mlflow.note.content"] = training.title
        run = self.client.create_run(
            self.experiment(training.names.experiment),
            start_time=_millis(moment),
            run_name=f"{training.model} {time.strftime('%Y-%m-%d %H:%M', time.gmtime(moment))}",
            tags={name: value for name, value in tags.items() if value},
        )
        return str(run.info.run_id)

    def try_out(
        self, training: Training, parent: str, candidate: Candidate, *, ended: float | None = None
    ) -> str:
        """Log a candidate as a nested run; its id."""
        end = time.time() if ended is None else ended
        run = self.client.create_run(
            self.experiment(training.names.experiment),
            start_time=_millis(end - candidate.seconds),
            run_name=training.names.of_run(candidate.name),
            tags={
                ROLE: "candidate",
                "mlflow.parentRunId": parent,
                "andon.candidate": candidate.name,
                "andon.data_digest": training.data_digest,
                "andon.baseline": _yes(candidate.baseline),
                **({"andon.error": candidate.error[:_MAX_VALUE]} if candidate.error else {}),
            },
        )
        run_id = str(run.info.run_id)
        parameters = {"algorithm": candidate.algorithm or candidate.name}
        self._write(run_id, metrics=_of_candidate(candidate), params=parameters)
        self._write(run_id, params={**candidate.parameters, **candidate.tuned})
        status = "FAILED" if candidate.error else "FINISHED"
        self.client.set_terminated(run_id, status, _millis(end))
        return run_id

    def score(self, run_id: str, candidate: Candidate) -> None:
        """Add to a candidate's run what is known at the end of the training."""
        self._write(run_id, metrics=_held_out(candidate.held_out))
        self.client.set_tag(run_id, "andon.chosen", _yes(candidate.chosen))

    def finish(
        self, run_id: str, report: TrainReport, model: Path, *, ended: float | None = None
    ) -> Logged:
        """Log what was measured and the model, and close the run as FINISHED.

        Raises:
            OSError: The model cannot be read.
        """
        self._write(run_id, metrics=_of_report(report), params=_parameters(report))
        self._write(run_id, params=report.hyperparameters)
        self.client.log_inputs(run_id, [_dataset(report)])
        with tempfile.TemporaryDirectory(prefix="andon-mlflow-") as folder:
            mlflow_report.write(report, Path(folder))
            self.client.log_artifacts(run_id, folder)
        logged = self.log_model(run_id, model)
        tags = {
            "andon.data_digest": report.data.digest,
            "andon.synthetic": _yes(report.data.synthetic),
            "andon.gate": "passed" if report.gate.passed else "failed",
            "andon.gate_reasons": " ".join(report.gate.reasons)[:_MAX_VALUE],
            "andon.chosen": report.chosen,
            "andon.algorithm": report.algorithm,
            _MODEL: logged.uri,
            # Last: a run without it is written again by `andon mlflow sync`.
            _COMPLETE: "yes",
        }
        self._write(run_id, tags={name: value for name, value in tags.items() if value})
        end = time.time() if ended is None else ended
        self.client.set_terminated(run_id, "FINISHED", _millis(end))
        return logged

    def close(self, run_id: str, status: str, error: str = "") -> None:
        """Close the run of a training that came to nothing: FAILED or KILLED."""
        if error:
            self.client.set_tag(run_id, "andon.error", error[:_MAX_VALUE])
        self.client.set_terminated(run_id, status)

    def send(self, folder: Folder) -> tuple[Logged, bool]:
        """Log a training that has ended, unless it is there; its model, and whether it was new.

        Raises:
            OSError, msgspec.DecodeError: Its report or model cannot be read.
        """
        training = folder.training
        experiment = self.experiment(training.names.experiment)
        there = self.find(experiment, run_id=training.run_id, role="training")
        if there is not None:
            run_id, tags = str(there.info.run_id), there.data.tags
            if _COMPLETE in tags:
                return Logged(run_id, tags[_MODEL]), False
            self.forget(experiment, run_id)
        report = read_report(Path(folder.path) / REPORT)
        run_id = self.begin(training, started=folder.started, live=False)
        for candidate in report.candidates:
            nested = self.try_out(training, run_id, candidate, ended=folder.ended)
            self.client.set_tag(nested, "andon.chosen", _yes(candidate.chosen))
        model = Path(folder.path) / MODEL
        return self.finish(run_id, report, model, ended=folder.ended), True

    def forget(self, experiment: str, run_id: str) -> None:
        """Delete a run and those nested in it."""
        nested = f"tags.`mlflow.parentRunId` = '{run_id}'"
        for run in self.client.search_runs([experiment], nested):
            self.client.delete_run(run.info.run_id)
        self.client.delete_run(run_id)

    def log_model(self, run_id: str, path: Path) -> Logged:
        """Log an ONNX file as the model of a run, with signature and example.

        Raises:
            OSError: The file cannot be read.
        """
        content = path.read_bytes()
        graph = onnx.load_model_from_string(content)
        schema = _schema(graph)
        about: dict[str, Any] = {}
        if schema is not None:
            rows, classes = (-1, len(schema.features)), (-1, len(schema.classes))
            tensor = np.dtype(np.float32)
            about = {
                "signature": ModelSignature(
                    inputs=Schema([TensorSpec(tensor, rows)]),
                    outputs=Schema([TensorSpec(tensor, classes)]),
                ),
                "input_example": _example(schema),
                "metadata": {"features": [feature.name for feature in schema.features]},
            }
        # Closes the run as FINISHED on its way out; whoever called sets what it shall be.
        with mlflow.start_run(run_id=run_id):
            info = mlflow.onnx.log_model(
                graph,
                name=_MODEL_NAME,
                # Given, because MLflow would load the model in one more process to find them.
                pip_requirements=["onnxruntime", "numpy"],
                onnx_execution_providers=["CPUExecutionProvider"],
                save_as_external_data=False,
                tags={SHA256: hashlib.sha256(content).hexdigest()},
                **about,
            )
        return Logged(run_id, str(info.model_uri))

    def _write(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log in batches of what one request may carry."""
        moment = _millis(time.time())
        self.client.log_batch(
            run_id,
            metrics=[Metric(name, value, moment, 0) for name, value in (metrics or {}).items()],
            tags=[RunTag(name, value) for name, value in (tags or {}).items()],
        )
        shown = [Param(name, str(value)[:_MAX_VALUE]) for name, value in (params or {}).items()]
        for first in range(0, len(shown), _CHUNK):
            self.client.log_batch(run_id, params=shown[first : first + _CHUNK])


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Hold the lock of a store: two processes that make its tables at once both fail."""
    if not store.artifacts:
        yield
        return
    # Beside it is the database, where it is a file: MLflow makes neither folder.
    folder = Path(store.artifacts)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".andon.lock").open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _commit() -> str:
    """The commit of the checkout that Andon's code runs from; "" where it runs from none."""
    folder = Path(__file__).parent
    found = ""
    # The first fails for code that was installed into somebody else's checkout.
    for words in (["ls-files", "--error-unmatch", __file__], ["rev-parse", "HEAD"]):
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words],  # noqa: S607 - the one on the PATH
                capture_output=True,
                text=True,
                timeout=5,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        if done.returncode != 0:
            return ""
        found = done.stdout.strip()
    return found


def _metric(name: str) -> str:
    """MLflow's users call it as scikit-learn does."""
    return "f1_score" if name == "f1" else name


def _finite(metrics: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    return {
        name: float(value) for name, value in metrics if value is not None and math.isfinite(value)
    }


def _held_out(metrics: Mapping[str, float]) -> dict[str, float]:
    return _finite((_metric(name), value) for name, value in metrics.items())


def _cross_validated(candidate: Candidate) -> dict[str, float]:
    found: list[tuple[str, float]] = []
    for name, spread in candidate.cross_validation.items():
        found += [
            (f"cv_{_metric(name)}_mean", spread.mean),
            (f"cv_{_metric(name)}_std", spread.std),
        ]
    return _finite(found)


def _of_candidate(candidate: Candidate) -> dict[str, float]:
    held_out = _held_out(candidate.held_out)
    return {**_cross_validated(candidate), **held_out, "seconds": candidate.seconds}


def _of_report(report: TrainReport) -> dict[str, float]:
    """The metrics of a training: those of its chosen model."""
    found: list[tuple[str, float | None]] = []
    for name, interval in report.held_out.metrics.items():
        metric = _metric(name)
        found += [
            (metric, interval.value),
            (f"{metric}_low", interval.low),
            (f"{metric}_high", interval.high),
        ]
    for candidate in report.candidates:
        if candidate.chosen:
            found += _cross_validated(candidate).items()
    if report.comparison is not None:
        found += [
            (f"{_metric(name)}_minus_active", interval.value)
            for name, interval in report.comparison.differences.items()
        ]
    found += [
        ("gate_passed", float(report.gate.passed)),
        ("onnx_max_difference", report.agreement.max_difference),
        ("onnx_bytes", float(report.onnx_bytes)),
        ("seconds", report.seconds),
    ]
    return _finite(found)


def _parameters(report: TrainReport) -> dict[str, Any]:
    own = {
        "recipe": report.recipe,
        "seed": report.seed,
        "metric": report.metric,
        "candidate": report.chosen,
        "algorithm": report.algorithm,
        "rows": report.data.rows,
        "held_out_rows": report.data.held_out,
        "features": ", ".join(feature.name for feature in report.features),
        "threshold": report.held_out.threshold,
    }
    # A hyperparameter of the same name would be refused: a parameter has one value.
    return {name: value for name, value in own.items() if name not in report.hyperparameters}


def _dataset(report: TrainReport) -> DatasetInput:
    data = report.data
    dataset = Dataset(
        name=report.recipe,
        digest=data.digest[:_DIGEST],
        source_type="synthetic" if data.synthetic else "local",
        source=msgspec.json.encode({"origin": data.origin, "sha256": data.digest}).decode(),
        profile=msgspec.json.encode(
            {"rows": data.rows, "held_out": data.held_out, "classes": data.classes}
        ).decode(),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _schema(graph: Any) -> RowSchema | None:
    """What the file says of its rows; None where it is no tabular model of Andon's."""
    for entry in graph.metadata_props:
        if entry.key == SCHEMA_KEY:
            return typed.decode(entry.value, RowSchema)
    return None


def _example(schema: RowSchema) -> Any:
    """A typical row as the model takes it: float32 (1, features)."""
    return np.array([[_typical(feature) for feature in schema.features]], np.float32)


def _typical(feature: Feature) -> float:
    if feature.kind == "category":
        codes = {str(value): code for code, value in enumerate(feature.categories)}
        return float(codes.get(str(feature.typical), 0))
    typical = feature.typical if feature.typical is not None else feature.minimum
    return 0.0 if typical is None else float(typical)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _millis(seconds: float) -> int:
    return int(seconds * 1000)
