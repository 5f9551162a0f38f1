"""What the templates about training and about models of rows receive, field by field.

The same rules as in `contexts.py`, which has the parts that every page shares.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from andon.web.dashboard.contexts import EventLine, Figure, Shell, Strip, Version
from andon.web.dashboard.traffic_contexts import TrafficPanel

# -- Parts ------------------------------------------------------------------------------

Tone = Literal["good", "look", "stop", "none"]


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A measured number with the bounds of its interval."""

    name: Annotated[str, "What was measured, for people."]
    value: Annotated[float | None, "The number; None where it is not defined."]
    low: Annotated[float | None, "Lower bound of its 95 % interval, or None."] = None
    high: Annotated[float | None, "Upper bound, or None."] = None


class GridLine(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table."""

    cells: Annotated[tuple[str, ...], "One text per column; the first names the row."]
    tag: Annotated[str, "A word beside the name; may be empty."] = ""
    tone: Annotated[Tone, "What the tag means."] = "none"


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """A table."""

    id: Annotated[str, "Of the section; unique on the page."]
    title: Annotated[str, "What it holds."]
    note: Annotated[str, "A sentence below it; may be empty."] = ""
    columns: Annotated[tuple[tuple[str, bool], ...], "Heads, and whether numbers stand below."]
    lines: Annotated[tuple[GridLine, ...], "Rows."]


class ConfusionCell(msgspec.Struct, frozen=True, kw_only=True):
    """Held-out rows of one true class that got one answer."""

    count: Annotated[int, "How many."]
    share: Annotated[float, "Of the rows of the true class, 0 to 1."]
    level: Annotated[int, "The share in steps from 0 to 5, for the ground."]
    right: Annotated[bool, "Whether the answer is the true class."]


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered, over what was so."""

    classes: Annotated[tuple[str, ...], "Answered classes: the columns."]
    rows: Annotated[
        tuple[tuple[str, tuple[ConfusionCell, ...]], ...], "True class and its cells: the rows."
    ]
    sentence: Annotated[str, "What it says, in words."]


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """Something a reader of the figures should know."""

    tone: Annotated[Tone, "stop: an error; look: a warning; none: worth knowing."]
    text: Annotated[str, "A full sentence."]
    hint: Annotated[str, "What to do about it; may be empty."] = ""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """How a model did, as far as it is known."""

    synthetic: Annotated[bool, "Whether its data were made up."]
    measures: Annotated[tuple[Measure, ...], "The most telling metrics, for tiles."]
    basis: Annotated[str, "What the metrics are of, as a sentence; may be empty."]
    confusion: Annotated[Confusion | None, "Answers over truth, or None."]
    figures: Annotated[tuple[Figure, ...], "Curves and importance."]
    candidates: Annotated[Grid | None, "Algorithms that were tried, or None."]
    grids: Annotated[tuple[Grid, ...], "All metrics, slices, comparison."]
    concerns: Annotated[tuple[Concern, ...], "Findings of the data checks, weightiest first."]
    data: Annotated[tuple[tuple[str, str], ...], "Where the data came from: name and value."]
    lineage: Annotated[tuple[tuple[str, str], ...], "Seed, libraries, export: name and value."]
    parameters: Annotated[tuple[tuple[str, str], ...], "Hyperparameters: name and value."]


class RecipeLine(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe, and the model that came of it."""

    model: Annotated[str, "Registered model it trains; the recipe has the same name."]
    title: Annotated[str, "For people."]
    description: Annotated[str, "For people; may be empty."]
    version: Annotated[int | None, "The version that serves, or None."]
    f1: Annotated[Measure | None, "F1 of that version on held-out rows, or None."]
    synthetic: Annotated[bool, "Whether that version's data were made up."]
    trained: Annotated[
        datetime | None, "When it was trained, or the newest where none serves, UTC; or None."
    ]
    failed: Annotated[str, "Id of its newest training, if that failed; else empty."]
    refused: Annotated[int | None, "Newest version, if it did not pass its gate, else None."]
    waiting: Annotated[int | None, "Newer version that waits for a decision, or None."]
    following: Annotated[datetime | None, "Next scheduled training, UTC; None: not scheduled."]
    running: Annotated[str, "Id of the training that runs; empty while none does."]


class Going(msgspec.Struct, frozen=True, kw_only=True):
    """A training that waits or runs."""

    id: Annotated[str, "Run."]
    model: Annotated[str, "Registered model."]
    queued: Annotated[bool, "Whether it still waits."]
    stage: Annotated[str, "What it does now, as a sentence."]
    progress: Annotated[float, "The share that is done, 0 to 1."]
    since: Annotated[datetime, "When it started, or was asked for while it waits, UTC."]
    by: Annotated[str, "Who asked, or which way it came, as a phrase; may be empty."]
    reason: Annotated[str, "Why; may be empty."]
    cancelling: Annotated[bool, "Whether it is to stop."]


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """One training in the list."""

    id: Annotated[str, "Run."]
    model: Annotated[str, "Registered model."]
    when: Annotated[datetime, "When it was asked for, UTC."]
    by: Annotated[str, "Who asked, or which way it came, as a phrase; may be empty."]
    reason: Annotated[str, "Why; may be empty."]
    chosen: Annotated[str, "Algorithm that was chosen; may be empty."]
    f1: Annotated[Measure | None, "On held-out rows, or None."]
    gate: Annotated[bool | None, "Whether the gate was passed; None where it was not reached."]
    version: Annotated[int | None, "Version that came of it, or None."]
    seconds: Annotated[float | None, "How long it took; None while it runs."]
    status: Annotated[str, "queued, running, succeeded, failed or cancelled."]


class FieldChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a choice."""

    value: Annotated[str, "The value as JSON; empty for unknown."]
    text: Annotated[str, "For people."]
    chosen: Annotated[bool, "Whether the form starts with it."]


class FormField(msgspec.Struct, frozen=True, kw_only=True):
    """One feature as a field of the form."""

    id: Annotated[str, "Of the element."]
    name: Annotated[str, "Feature."]
    label: Annotated[str, "What it is, for people."]
    hint: Annotated[str, "Range and unit; may be empty."]
    unit: Annotated[str, "Unit; may be empty."]
    kind: Annotated[str, "number, integer or category."]
    minimum: Annotated[str, "Smallest value, as the field has it; empty: none."]
    maximum: Annotated[str, "Largest value; empty: none."]
    step: Annotated[str, "Step of the field: 1, or any."]
    nullable: Annotated[bool, "Whether it may be unknown."]
    value: Annotated[str, "What it starts with; empty: unknown."]
    choices: Annotated[tuple[FieldChoice, ...], "Values of a category, else empty."]


class FieldGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that stand together."""

    title: Annotated[str, "What they have in common."]
    fields: Annotated[tuple[FormField, ...], "In the model's order."]


class AnswerClass(msgspec.Struct, frozen=True, kw_only=True):
    """One class a model can answer."""

    value: Annotated[str, "The value as JSON."]
    key: Annotated[str, "The value as the log has it."]
    text: Annotated[str, "For people."]


class RowLine(msgspec.Struct, frozen=True, kw_only=True):
    """One logged answer about a row."""

    id: Annotated[str, "Prediction id."]
    href: Annotated[str, "The page that shows it."]
    when: Annotated[datetime, "When it was answered, UTC."]
    ok: Annotated[bool, "False: it failed, `label` says why."]
    label: Annotated[str, "The answer in words."]
    positive: Annotated[bool, "Whether the answer is the class looked for."]
    probability: Annotated[float | None, "Of the class looked for, or None."]
    version: Annotated[int, "Version that answered."]
    subject: Annotated[str, "Whom it is about; may be empty."]
    actual: Annotated[str, "What it really was, in words; empty while not known."]
    right: Annotated[bool | None, "Whether the answer was right; None while not known."]


class RowHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Past rows."""

    items: Annotated[tuple[RowLine, ...], "Newest first."]
    older: Annotated[str, "Query string of the next page; empty at the end."]
    newer: Annotated[str, "Query string of the first page; empty when this is it."]


class ShownRow(msgspec.Struct, frozen=True, kw_only=True):
    """The answer that the page opens with."""

    line: Annotated[RowLine, "The answer."]
    threshold: Annotated[float | None, "Probability from which the class is answered, or None."]
    latency_ms: Annotated[float, "Milliseconds from request to answer."]
    features: Annotated[tuple[tuple[str, str], ...], "The row as it was given."]


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """How answers compare with what was said of them later."""

    labelled: Annotated[int, "Answers whose truth is known."]
    measures: Annotated[tuple[Measure, ...], "Metrics over them; empty: not enough labels."]
    sentence: Annotated[str, "What is known, or what is missing, in words."]


class RowVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model of rows."""

    version: Annotated[Version, "What every version has."]
    algorithm: Annotated[str, "For people; may be empty."]
    f1: Annotated[Measure | None, "On held-out rows, or None."]
    auc: Annotated[Measure | None, "The same of the area under the ROC curve."]
    synthetic: Annotated[bool, "Whether its training data were made up."]
    moves: Annotated[tuple[str, ...], "Stages it can be moved to: staging, production, archived."]
    warning: Annotated[str, "Why somebody should think twice before that; may be empty."]


# -- Pages ------------------------------------------------------------------------------


class TrainingPage(msgspec.Struct, frozen=True, kw_only=True):
    """Which trainings there are, were and will be."""

    template: ClassVar[str] = "training.html"

    shell: Annotated[Shell, "The frame."]
    missing: Annotated[str, "Command that installs what training needs; empty: it is there."]
    going: Annotated[tuple[Going, ...], "Trainings that wait or run."]
    recipes: Annotated[tuple[RecipeLine, ...], "What can be trained."]
    schedule: Annotated[str, "When trainings start by themselves, as a sentence."]
    runs: Annotated[tuple[RunLine, ...], "Trainings, newest first."]
    older: Annotated[str, "Query string of the next page; empty at the end."]
    newer: Annotated[str, "Query string of the first page; empty when this is it."]


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one training."""

    template: ClassVar[str] = "run.html"

    shell: Annotated[Shell, "The frame."]
    id: Annotated[str, "Run."]
    model: Annotated[str, "Registered model."]
    status: Annotated[str, "queued, running, succeeded, failed or cancelled."]
    going: Annotated[Going | None, "Its progress while it waits or runs, else None."]
    tone: Annotated[Tone, "What the outcome means."]
    outcome: Annotated[str, "What came of it, in a sentence or two."]
    error: Annotated[str, "Why it failed; empty where it did not."]
    following: Annotated[str, "The next step, as a sentence; may be empty."]
    href: Annotated[str, "Where that is done; may be empty."]
    promotable: Annotated[int | None, "Version that can be promoted here, or None."]
    gate: Annotated[tuple[str, ...], "Why the gate was not passed."]
    facts: Annotated[tuple[tuple[str, str], ...], "Who, when, how long: name and value."]
    evaluation: Annotated[Evaluation | None, "What was measured, or None."]
    log: Annotated[str, "Where its log can be read; empty when it is gone."]
    report: Annotated[str, "Where its report can be downloaded; empty when there is none."]
    drawable: Annotated[bool, "Whether the library that draws charts is installed."]


class RowModelsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Versions of a model of rows, which one serves, and how to change that."""

    template: ClassVar[str] = "models_rows.html"

    shell: Annotated[Shell, "The frame."]
    active: Annotated[Version | None, "The version that serves, or None."]
    versions: Annotated[tuple[RowVersion, ...], "The active one first, then newest first."]
    previous: Annotated[int | None, "The version a roll back would go to, or None."]
    pair: Annotated[tuple[int, int] | None, "Versions offered for comparison; None below two."]
    classes: Annotated[dict[str, str], "Classes for people, by the text of their value."]
    positive: Annotated[str, "The class looked for, for people; empty with three or more."]
    events: Annotated[tuple[EventLine, ...], "Deployment events, newest first."]
    traffic: Annotated[TrafficPanel | None, "Who answers; None where that is not told."] = None


class RowVersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one version of a model of rows."""

    template: ClassVar[str] = "version_rows.html"

    shell: Annotated[Shell, "The frame."]
    one: Annotated[RowVersion, "The version."]
    version: Annotated[Version, "The same, what every version has."]
    run: Annotated[str, "Id of the training it came from; may be empty."]
    evaluation: Annotated[Evaluation | None, "Its model card, or None."]
    features: Annotated[Grid, "What it takes."]
    live: Annotated[Live, "How its answers turned out."]
    options: Annotated[tuple[tuple[str, str], ...], "What was overridden at upload."]
    warnings: Annotated[tuple[str, ...], "Sentences to read before trusting it."]
    events: Annotated[tuple[EventLine, ...], "Deployment events of this version, newest first."]
    drawable: Annotated[bool, "Whether the library that draws charts is installed."]
    traffic: Annotated[TrafficPanel | None, "Who answers; None where that is not told."] = None


class RowInspectPage(msgspec.Struct, frozen=True, kw_only=True):
    """Put a row in, see the answer and why, look back."""

    template: ClassVar[str] = "inspect_rows.html"

    shell: Annotated[Shell, "The frame."]
    active: Annotated[Version | None, "The version that answers, or None."]
    synthetic: Annotated[bool, "Whether its training data were made up."]
    groups: Annotated[tuple[FieldGroup, ...], "The form."]
    classes: Annotated[tuple[AnswerClass, ...], "What can be answered."]
    positive: Annotated[AnswerClass | None, "The class looked for; None with three or more."]
    threshold: Annotated[float | None, "Probability from which it is answered, or None."]
    shown: Annotated[ShownRow | None, "The answer named by the address, or None."]
    missing: Annotated[str, "Why the answer named by the address cannot be shown; else empty."]
    history: Annotated[RowHistory, "Past rows."]


class RowOverviewPage(msgspec.Struct, frozen=True, kw_only=True):
    """Does a model of rows answer, and how."""

    template: ClassVar[str] = "overview_rows.html"

    shell: Annotated[Shell, "The frame, with the lamp."]
    one: Annotated[RowVersion | None, "The version that serves, or None."]
    answers: Annotated[tuple[str, ...], "What it can answer, for people."]
    threshold: Annotated[float | None, "Probability from which the class looked for is answered."]
    strip: Annotated[Strip, "Throughput of the last hour."]
    total: Annotated[int, "Rows ever answered."]
    live: Annotated[Live, "How its answers turned out."]
    latency_p50: Annotated[float | None, "Median latency of recent rows, milliseconds."]
    latency_p95: Annotated[float | None, "95th percentile of the same, milliseconds."]
    waiting: Annotated[int, "Requests waiting or running now."]
    queue_size: Annotated[int, "Requests that may wait or run."]
    jobs: Annotated[int, "Jobs that wait in the durable queue."]
    positive: Annotated[str, "The class looked for, for people; empty with three or more."]
    latest: Annotated[tuple[RowLine, ...], "Latest rows, newest first."]
    events: Annotated[tuple[EventLine, ...], "Latest deployment events, newest first."]


PAGES = (
    TrainingPage,
    RunPage,
    RowModelsPage,
    RowVersionPage,
    RowInspectPage,
    RowOverviewPage,
)
