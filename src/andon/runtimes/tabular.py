"""Tabular models: rows of numbers in, probabilities of classes out.

Andon's own export carries everything (`andon.runtimes.rows`). A plain export of skl2onnx is
taken too: one float input ``[rows, features]``, the probabilities as a tensor or as skl2onnx's
list of dictionaries; its features are then called f0, f1 and so on.

One inference takes a few millionths of a second, so it runs on one thread: waking a second one
takes longer.
"""

import mmap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed, UnsupportedMedia
from andon.runtimes import onnx_metadata, row_card, rows
from andon.runtimes.base import (
    Inference,
    ModelDescription,
    ModelOptions,
    Picture,
    Resize,
    RuntimeConfig,
    Task,
    plain,
)
from andon.runtimes.onnx_sessions import FATAL_ONLY, Sessions, reason
from andon.runtimes.rows import RowEncoder, RowSchema
from andon.runtimes.watchdog import WATCHDOG

Matrix = NDArray[np.float32]

_LONGEST_ENTRY = 8 * 1024 * 1024
_TRIAL_ROWS = 64
_TRIAL_SEED = 11
_TOLERANCE = 1e-3
_TIMED_RUNS = 15

_EXPORT = "Train and export it with `andon train`, or export it with skl2onnx."


class TabularModel:
    """A loaded tabular model. Made by `load`.

    Attributes:
        schema: What rows it takes, and its classes and threshold.
        encoder: Turns rows into its input.
        card: What was measured of it, as its file says; None where it says nothing.
        reference: Statistics of its training data, or None.
        row_ms: What it takes for one row on this machine at best, milliseconds.
    """

    def __init__(
        self,
        sessions: Sessions,
        output: "_Output",
        schema: RowSchema,
        description: ModelDescription,
        config: RuntimeConfig,
    ) -> None:
        self._sessions: Sessions | None = sessions
        self._input = sessions.wide.get_inputs()[0].name
        self._output = output
        self._names = [output.name]
        self._description = description
        self._capacity = config.workers
        self.schema = schema
        self.encoder = RowEncoder(schema)
        self.card: dict[str, Any] | None = None
        self.reference: dict[str, Any] | None = None
        self.row_ms = 0.0

    @property
    def description(self) -> ModelDescription:
        """What the model says of itself."""
        return self._description

    @property
    def capacity(self) -> int:
        """Calls that can make progress at a time: `RuntimeConfig.workers`."""
        return self._capacity

    def infer(self, picture: Picture, *, deadline: float) -> Inference:  # noqa: ARG002
        """Refuse a picture.

        Raises:
            UnsupportedMedia: Always.
        """
        raise UnsupportedMedia(
            f"The model '{self._description.name}' takes rows, not pictures.",
            hint="Send the row as JSON.",
        )

    def infer_rows(self, matrix: Matrix, *, deadline: float) -> Matrix:
        """Answer rows.

        Args:
            matrix: float32 (rows, features), from `encoder`.
            deadline: `time.monotonic()` value. A run that passes it is stopped between two of
                its operations.

        Returns:
            float32 (rows, classes): probabilities, which sum to 1 in each row.

        Raises:
            DeadlineExceeded: No answer in time.
            RuntimeFailed: It failed or answered no probabilities; or the model is closed.
        """
        sessions = self._sessions
        if sessions is None:
            raise RuntimeFailed("The model is closed.", hint="Ask again for the active version.")
        if time.monotonic() >= deadline:
            raise self._late()
        options = onnxruntime.RunOptions()
        options.log_severity_level = FATAL_ONLY
        ticket = WATCHDOG.enter(options, deadline)
        try:
            (raw,) = sessions.wide.run(self._names, {self._input: matrix}, options)
        except Exception as error:
            # ONNX Runtime's exceptions have no common ancestor of their own.
            if options.terminate:
                raise self._late() from None
            raise RuntimeFailed(
                f"The model '{self._description.name}' failed: {reason(error)}.",
                hint="Try again; if it stays, upload a new export.",
            ) from None
        finally:
            WATCHDOG.leave(ticket)
        found = raw if self._output.keys is None else _from_dictionaries(raw, self._output.keys)
        wrong = _wrong(found, (matrix.shape[0], len(self.schema.classes)))
        if wrong:
            raise RuntimeFailed(
                f"The model '{self._description.name}' answered no probabilities: {wrong}.",
                hint="Export the model again, or activate another version.",
            )
        return found

    def close(self) -> None:
        """Free the session; calls that run finish first, later ones fail."""
        sessions, self._sessions = self._sessions, None
        if sessions is not None:
            sessions.close()

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"The model '{self._description.name}' did not answer before the deadline.",
            hint="Try again, send fewer rows at a time, or raise ANDON_REQUEST_TIMEOUT.",
        )


class _Output(msgspec.Struct, frozen=True):
    """Where a network answers probabilities.

    Attributes:
        name: Of the output.
        keys: Classes in the order of their columns, where the output is a list of dictionaries.
    """

    name: str
    keys: tuple[int | str, ...] | None = None


def is_tabular(session: onnxruntime.InferenceSession) -> bool:
    """Whether a network takes rows: it says so, or its only input is a table of numbers."""
    if rows.SCHEMA_KEY in session.get_modelmeta().custom_metadata_map:
        return True
    inputs = session.get_inputs()
    return len(inputs) == 1 and len(inputs[0].shape) == 2


def describes_rows(path: Path) -> bool:
    """Whether a file seems to carry a schema of rows; a cheap look, for a name's sake.

    Whether it really does is found out when it is loaded.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(rows.SCHEMA_KEY.encode()) >= 0
    except (OSError, ValueError):
        return False


def load(path: Path, options: ModelOptions, config: RuntimeConfig) -> TabularModel:
    """Load a tabular model and try it on made-up rows.

    Raises:
        ModelRejected: It contradicts itself, or does not answer probabilities.
    """
    sessions = Sessions(path, msgspec.structs.replace(config, threads=1))
    try:
        model = _understand(sessions, path, options, config)
        _try(model, config)
    except BaseException:
        sessions.close()
        raise
    return model


def _understand(
    sessions: Sessions, path: Path, options: ModelOptions, config: RuntimeConfig
) -> TabularModel:
    session = sessions.wide
    info = session.get_modelmeta()
    entries = dict(info.custom_metadata_map)
    size = sum(len(value) for value in entries.values())
    if size > _LONGEST_ENTRY:
        raise ModelRejected(
            f"The model's metadata has {size} characters; {_LONGEST_ENTRY} are taken.",
            hint=_EXPORT,
        )
    if options.task not in {None, Task.TABULAR}:
        raise ModelRejected(
            f"The model was declared as {options.task}, but it takes rows.",
            hint="Leave the option 'task' out.",
        )
    width = _width(session)
    warnings: list[str] = []
    own = entries.get(rows.SCHEMA_KEY)
    if own is not None:
        schema, output = rows.read_schema(own), _own_output(session)
        if options.features is not None:
            raise ModelRejected(
                "The file names its features itself.", hint="Leave the option 'features' out."
            )
    else:
        schema, output = _guessed(session, width, options)
        warnings.append(
            "The file does not describe its rows: any number is taken for every feature. Export "
            "it with `andon train` to have types, ranges and categories checked."
        )
    if len(schema.features) != width:
        raise ModelRejected(
            f"The model takes {width} numbers per row, but {len(schema.features)} features are "
            "described.",
            hint=_EXPORT,
        )
    schema = _overridden(schema, options)
    # What has columns of its own in the registry need not be shown as text besides.
    shown = {key: value for key, value in entries.items() if key not in _OWN}
    facts = onnx_metadata.read(shown, info.graph_name, info.producer_name)
    description = ModelDescription(
        format="onnx",
        name=facts.name or path.stem,
        task=Task.TABULAR,
        labels=schema.class_labels or tuple(map(rows.text_of, schema.classes)),
        width=0,
        height=0,
        channels=0,
        resize=Resize.STRETCH,
        head="",
        threshold=schema.threshold,
        metadata=facts.shown,
        warnings=tuple(warnings),
        rows=plain(schema),
    )
    model = TabularModel(sessions, output, schema, description, config)
    model.card = row_card.read_card(entries, rows.CARD_KEY)
    model.reference = row_card.read_reference(entries, rows.REFERENCE_KEY)
    return model


_OWN = frozenset({rows.SCHEMA_KEY, rows.CARD_KEY, rows.REFERENCE_KEY})


def _width(session: onnxruntime.InferenceSession) -> int:
    """Numbers per row.

    Raises:
        ModelRejected: The input is no table of 32-bit numbers, or a very wide one.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
        said = ", ".join(f"{node.name} {node.type} {node.shape}" for node in inputs[:5])
        raise ModelRejected(
            f"A tabular model must have one input of float32 [rows, features]; this one has "
            f"{said[:300] or 'none'}.",
            hint=_EXPORT,
        )
    length, width = inputs[0].shape
    if isinstance(length, int) and length > 0:
        raise ModelRejected(
            f"The model takes exactly {length} rows at a time.",
            hint="Export it with the number of rows left open (None).",
        )
    if not isinstance(width, int) or not 1 <= width <= rows.MAX_FEATURES:
        raise ModelRejected(
            f"The model takes {width} numbers per row; 1 to {rows.MAX_FEATURES} are possible.",
            hint="Export it with the number of features fixed.",
        )
    return width


def _own_output(session: onnxruntime.InferenceSession) -> _Output:
    for node in session.get_outputs():
        if node.name == rows.OUTPUT and node.type == "tensor(float)":
            return _Output(node.name)
    raise ModelRejected(
        f"The model has no output '{rows.OUTPUT}' of float32 [rows, classes].", hint=_EXPORT
    )


def _guessed(
    session: onnxruntime.InferenceSession, width: int, options: ModelOptions
) -> tuple[RowSchema, _Output]:
    """The schema of a file that carries none, from what it answers to a row of zeros.

    Raises:
        ModelRejected: It answers no probabilities.
    """
    probable = [
        node
        for node in session.get_outputs()
        if node.type.startswith("seq(map(")
        or (node.type == "tensor(float)" and len(node.shape) == 2)
    ]
    if len(probable) != 1:
        raise ModelRejected(
            "The model has no single output of probabilities, float32 [rows, classes].",
            hint="Export a classifier with skl2onnx, or train it with `andon train`.",
        )
    (node,) = probable
    try:
        (answer,) = session.run(
            [node.name], {session.get_inputs()[0].name: np.zeros((1, width), np.float32)}
        )
    except Exception as error:
        raise ModelRejected(
            f"The model fails on a row of zeros: {reason(error)}.", hint=_EXPORT
        ) from None
    keys: tuple[int | str, ...] | None = None
    if isinstance(answer, np.ndarray):
        classes: tuple[Any, ...] = tuple(range(answer.shape[1]))
    else:
        classes = keys = tuple(answer[0])
    names = options.features or tuple(f"f{index}" for index in range(width))
    schema = RowSchema(
        features=tuple(rows.Feature(name, "number") for name in names),
        target="label",
        classes=classes,
        positive=1 if len(classes) == 2 else None,
    )
    rows.check_schema(schema)
    return schema, _Output(node.name, keys)


def _overridden(schema: RowSchema, options: ModelOptions) -> RowSchema:
    """The schema with what a person said at upload.

    Raises:
        ModelRejected: It does not fit.
    """
    if options.labels is not None:
        schema = msgspec.structs.replace(schema, class_labels=options.labels)
    if options.threshold is not None:
        schema = msgspec.structs.replace(schema, threshold=options.threshold)
    rows.check_schema(schema)
    return schema


def _try(model: TabularModel, config: RuntimeConfig) -> None:
    """Run made-up rows through the model, and measure one.

    Raises:
        ModelRejected: It fails, or what it answers are no probabilities.
    """
    trials = trial_rows(model.schema)
    deadline = time.monotonic() + config.start_timeout
    try:
        model.infer_rows(trials, deadline=deadline)
        took: list[float] = []
        for _ in range(_TIMED_RUNS):
            began = time.perf_counter()
            model.infer_rows(trials[:1], deadline=deadline)
            took.append(time.perf_counter() - began)
    except (RuntimeFailed, DeadlineExceeded) as error:
        raise ModelRejected(
            f"The model does not answer trial rows: {error.detail}", hint=error.hint
        ) from None
    model.row_ms = min(took) * 1000


def trial_rows(schema: RowSchema) -> Matrix:
    """Rows that the schema allows, float32 (rows, features), the same every time.

    The first is the typical row; in the last, everything is missing that may be.
    """
    chance = np.random.default_rng(_TRIAL_SEED)
    typical = RowEncoder(schema).typical()
    columns: list[NDArray[Any]] = []
    for feature, usual in zip(schema.features, typical, strict=True):
        if feature.kind == "category":
            column = chance.integers(0, len(feature.categories), _TRIAL_ROWS).astype(np.float64)
        else:
            middle = 0.0 if usual is None else usual
            low = middle - 1 - abs(middle) if feature.minimum is None else feature.minimum
            high = max(low, middle) + 1 if feature.maximum is None else feature.maximum
            column = low + (high - low) * chance.random(_TRIAL_ROWS)
            if feature.kind == "integer":
                column = np.clip(np.round(column), low, high)
        column[0] = column[0] if usual is None else usual
        if feature.nullable:
            column[chance.random(_TRIAL_ROWS) < 0.1] = np.nan
            column[-1] = np.nan
            column[0] = column[0] if usual is None else usual
        columns.append(column)
    return np.stack(columns, axis=1).astype(np.float32)


def _from_dictionaries(answer: Sequence[dict[Any, float]], keys: tuple[Any, ...]) -> Matrix:
    return np.array([[row.get(key, np.nan) for key in keys] for row in answer], np.float32)


def _wrong(found: Any, shape: tuple[int, int]) -> str:
    """Why an answer is no table of probabilities; empty when it is one."""
    if not isinstance(found, np.ndarray) or found.dtype != np.float32 or found.shape != shape:
        return f"not {shape[0]} rows of {shape[1]} numbers"
    # NaN fails every comparison, so each is written to hold for what is good.
    if not (found.min(initial=0.0) >= -_TOLERANCE and found.max(initial=1.0) <= 1 + _TOLERANCE):
        return "not all are numbers from 0 to 1"
    if not np.abs(found.sum(axis=1) - 1).max(initial=0.0) <= _TOLERANCE:
        return "they do not sum to 1"
    return ""
