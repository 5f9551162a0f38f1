"""What a training and its supervisor tell each other: the request, the lines, the report.

A training runs in a process of its own, with the folder of its run as the only argument. It
reads ``request.json`` (`TrainRequest`), prints one JSON object per line (`Stage`, `Say`,
`Scored`, `Checked`, `Refused`), and leaves ``model.onnx`` and ``report.json`` (`TrainReport`)
behind. Both sides, the command line and the pages read them with these types. No library for
training is needed to import them.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec

from andon import typed
from andon.runtimes.rows import Feature, Value

REQUEST = "request.json"
REPORT = "report.json"
MODEL = "model.onnx"
DATA_REPORT = "data_report.json"
LOG = "log.txt"

REFUSED = 3
"""Exit code of a training that refused its data or its recipe, and said why."""


class ActiveModel(msgspec.Struct, frozen=True):
    """The version that serves, to be compared with.

    Attributes:
        version: Its number.
        path: Its ONNX file.
    """

    version: int
    path: str


class TrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be trained, and all that the training may know of the installation.

    Attributes:
        run_id: Of the row in `training_runs`; the folder has the same name.
        recipe: Name of a recipe, or path of a recipe or table file of the user.
        model: Registered model that the version will belong to.
        target: Column to learn; "" leaves it to the recipe.
        data: Files or folders to read instead of the recipe's own source.
        drop: Columns that are no features, besides those that the recipe leaves out.
        seed: Of everything that draws; None leaves it to the recipe.
        tuning_trials: Budget of the search for each candidate; None leaves it to the recipe.
        candidates: Names of the algorithms to try; None leaves it to the recipe.
        threads: That the training may use.
        active: The version that serves this model, or None.
        check_only: Read and check the data, train nothing.
        recipes: Folder of the user's recipes.
        data_folder: Folder of data sets; downloads are kept there.
        home: Folder of the installation.
        database_url: Where stored telemetry is, for recipes that train on it; else "".
            May hold a password: the file can be read by its owner alone.
        mlflow_uri: MLflow server or store; "" where nothing is to be mirrored.
        mlflow_timeout: Longest wait for one answer of MLflow, seconds.
    """

    run_id: str
    recipe: str
    model: str
    target: str = ""
    data: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    seed: int | None = None
    tuning_trials: int | None = None
    candidates: tuple[str, ...] | None = None
    threads: int = 1
    active: ActiveModel | None = None
    check_only: bool = False
    recipes: str = ""
    data_folder: str = ""
    home: str = ""
    database_url: str = ""
    mlflow_uri: str = ""
    mlflow_timeout: float = 20.0


# -- Lines ------------------------------------------------------------------------------


class Stage(msgspec.Struct, frozen=True, tag_field="event", tag="stage"):
    """What is being done now, for people, and the share that is done, 0 to 1."""

    stage: str
    progress: float


class Say(msgspec.Struct, frozen=True, tag_field="event", tag="say"):
    """A line for the terminal, as it is."""

    text: str


class Finding(msgspec.Struct, frozen=True):
    """Something about the data.

    Attributes:
        check: Which check found it.
        severity: An "error" stops the training.
        column: Which column it is about; "" for all.
        detail: What was found: a full sentence.
        hint: What to do about it; may be empty.
        rows: How many rows are concerned.
    """

    check: str
    severity: Literal["error", "warning", "info"]
    column: str = ""
    detail: str = ""
    hint: str = ""
    rows: int = 0


class DataReport(msgspec.Struct, frozen=True):
    """What the checks found before training.

    Attributes:
        origin: Where the data came from, for people.
        digest: SHA-256 of their content, hexadecimal.
        rows: How many.
        columns: How many.
        findings: In the order of their weight.
        classes: Rows of each class, by the text of its value.
    """

    origin: str
    digest: str
    rows: int
    columns: int
    findings: tuple[Finding, ...] = ()
    classes: dict[str, int] = {}

    @property
    def ok(self) -> bool:
        """Whether training may go on."""
        return all(finding.severity != "error" for finding in self.findings)


class Spread(msgspec.Struct, frozen=True):
    """A metric over the folds of a cross-validation."""

    mean: float
    std: float
    folds: tuple[float, ...] = ()


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One algorithm of a training and how it did.

    Attributes:
        name: "random-forest".
        algorithm: For people: "Random forest".
        cross_validation: By metric.
        held_out: By metric, on the rows that no candidate saw.
        seconds: It took.
        parameters: Those it was fitted with.
        tuned: Those that the search chose.
        baseline: Whether it is the dummy that the others must beat.
        chosen: Whether it became the model.
        error: Why it could not be fitted; "" when it could.
    """

    name: str
    algorithm: str = ""
    cross_validation: dict[str, Spread] = {}
    held_out: dict[str, float] = {}
    seconds: float = 0.0
    parameters: dict[str, Any] = {}
    tuned: dict[str, Any] = {}
    baseline: bool = False
    chosen: bool = False
    error: str = ""


class Scored(msgspec.Struct, frozen=True, tag_field="event", tag="candidate"):
    """A candidate is done."""

    candidate: Candidate


class Checked(msgspec.Struct, frozen=True, tag_field="event", tag="data"):
    """The data are checked."""

    report: DataReport


class Refused(msgspec.Struct, frozen=True, tag_field="event", tag="refused"):
    """Nothing is trained, and why; the process ends with `REFUSED`."""

    error: str
    hint: str = ""
    report: DataReport | None = None


class Tracked(msgspec.Struct, frozen=True, tag_field="event", tag="tracked"):
    """MLflow knows the training under this run id."""

    tracking_id: str


Line = Stage | Say | Scored | Checked | Refused | Tracked
"""What a training prints, one object per line."""


# -- Report -----------------------------------------------------------------------------


class Interval(msgspec.Struct, frozen=True):
    """A metric with the bounds of its 95 % bootstrap interval."""

    value: float
    low: float | None = None
    high: float | None = None


class Bin(msgspec.Struct, frozen=True):
    """Rows of similar predicted probability: what was said and what was so."""

    mean_predicted: float
    observed: float
    rows: int


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen model on the rows that no candidate saw.

    Attributes:
        metrics: accuracy, precision, recall, f1, roc_auc, pr_auc, brier, log_loss, ece.
        classes: Text of the values of the target, in the order of the model's output.
        confusion: Rows by true class (outer) and answered class (inner).
        roc: Points (false positive rate, true positive rate).
        pr: Points (recall, precision).
        calibration: From low to high predicted probability.
        threshold: Probability from which the positive class is answered.
    """

    metrics: dict[str, Interval] = {}
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    roc: tuple[tuple[float, float], ...] = ()
    pr: tuple[tuple[float, float], ...] = ()
    calibration: tuple[Bin, ...] = ()
    threshold: float = 0.5


class SliceScore(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen model on some of the held-out rows; None where a metric is not defined."""

    slice: str
    value: str
    rows: int
    positives: int = 0
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None
    roc_auc: float | None = None


class Importance(msgspec.Struct, frozen=True):
    """How much worse the model gets when one feature is shuffled."""

    feature: str
    mean: float
    std: float = 0.0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The new model and the active version on the same held-out rows.

    Attributes:
        version: The active one.
        rows: How many both answered.
        new: Metrics of the new model.
        active: Metrics of the active version.
        differences: New minus active, with intervals.
        note: Why there is nothing to compare; "" when there is.
    """

    version: int
    rows: int = 0
    new: dict[str, float] = {}
    active: dict[str, float] = {}
    differences: dict[str, Interval] = {}
    note: str = ""


class GateResult(msgspec.Struct, frozen=True):
    """Whether the model may go on to production, and every reason why not."""

    passed: bool
    reasons: tuple[str, ...] = ()


class Agreement(msgspec.Struct, frozen=True):
    """The ONNX file beside the model it was made from: the largest difference of a probability."""

    rows: int
    max_difference: float
    limit: float


class DataUsed(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained on.

    Attributes:
        origin: For people.
        digest: SHA-256 of the content, hexadecimal.
        rows: All of them.
        held_out: Those no candidate saw.
        synthetic: Whether they were made up.
        notes: What a reader of the figures should know.
        findings: Of the checks.
        classes: Rows of each class.
    """

    origin: str
    digest: str
    rows: int
    held_out: int
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    classes: dict[str, int] = {}


class TrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured in one training.

    Attributes:
        recipe: Its name.
        title: Of the recipe, for people.
        model: Registered model.
        promote: What the recipe wants of a version that passed: "auto" lets it serve,
            "approve" and "manual" wait for a person.
        data: What was trained on.
        seed: Of everything that drew.
        metric: Chose among the candidates.
        candidates: All of them, the baseline included.
        chosen: Name of the candidate that became the model.
        algorithm: The same for people.
        held_out: The chosen model on unseen rows.
        slices: And on parts of them.
        importance: Of the features, most important first.
        comparison: With the active version; None where there is none.
        gate: Whether the model is good enough.
        agreement: Of the ONNX file with the model.
        hyperparameters: Of the chosen model.
        features: It takes, in order.
        versions: Of the libraries, by name.
        seconds: The training took.
        onnx_bytes: Size of the model file.
    """

    recipe: str
    title: str
    model: str
    promote: Literal["auto", "approve", "manual"] = "approve"
    data: DataUsed
    seed: int
    metric: str = "f1"
    candidates: tuple[Candidate, ...] = ()
    chosen: str
    algorithm: str = ""
    held_out: HeldOut
    slices: tuple[SliceScore, ...] = ()
    importance: tuple[Importance, ...] = ()
    comparison: Comparison | None = None
    gate: GateResult
    agreement: Agreement
    hyperparameters: dict[str, Any] = {}
    features: tuple[Feature, ...] = ()
    classes: tuple[Value, ...] = ()
    versions: dict[str, str] = {}
    seconds: float = 0.0
    onnx_bytes: int = 0


def encode(line: Line) -> bytes:
    """One line of a training's output, with its end."""
    return msgspec.json.encode(line) + b"\n"


def decode(line: bytes) -> Line:
    """The inverse of `encode`.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _lines.decode(line)


def read_report(path: Path) -> TrainReport:
    """A stored report.

    Raises:
        OSError: It cannot be read.
        msgspec.DecodeError: It is none.
    """
    return typed.decode(path.read_bytes(), TrainReport)


_lines: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
