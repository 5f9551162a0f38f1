"""A training from its data to its model file, in order.

The rows are divided once: held-out rows, which no candidate sees, and rows to learn from. On the
latter candidates are compared by cross-validation, and each is fitted on all of them. What is
reported of the chosen one is measured on the held-out rows, and the model that was measured is the
one that is exported: it is not fitted again on all rows.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from andon.errors import UnusableUpload
from andon.runtimes.rows import RowSchema
from andon.training import messages
from andon.training.messages import DataReport, Say, Stage, TrainReport, TrainRequest
from andon.training.tabular import (
    candidates,
    card,
    comparing,
    contest,
    export,
    fitting,
    gate,
    loading,
    reference,
    schema,
    scoring,
    splitting,
)
from andon.training.tabular.candidates import BASELINE
from andon.training.tabular.fitting import Plan, Rows
from andon.training.tabular.prepared import Prepared
from andon.training.tabular.recipe import Recipe

Tell = Callable[[messages.Line], None]


@dataclass(frozen=True)
class Outcome:
    """What a training made.

    Attributes:
        report: Everything that was measured.
        model: The ONNX file.
    """

    report: TrainReport
    model: bytes


def train(request: TrainRequest, tell: Tell) -> Outcome:
    """The whole of a training: read, check, then `learn`.

    Raises:
        DataRefused: The checks found an error in the data.
        AndonError: Nothing could be trained.
    """
    recipe, found, data = loading.load(request, tell)
    return learn(recipe, found, data, request, tell)


def learn(
    recipe: Recipe, found: DataReport, data: Prepared, request: TrainRequest, tell: Tell
) -> Outcome:
    """Train on prepared rows.

    Args:
        recipe: What the training is.
        found: By the checks; becomes part of the report.
        data: The rows.
        request: What was asked for; it stands before the recipe.
        tell: Takes each line of progress.

    Raises:
        AndonError: The recipe names what there is not, the rows cannot be divided, or no candidate
            could be fitted and exported.
    """
    started = time.perf_counter()
    for metric in (recipe.metric, recipe.gate.metric):
        if metric not in scoring.METRICS:
            raise UnusableUpload(
                f"The recipe {recipe.name!r} names the metric {metric!r}, which is not measured.",
                hint=f"Measured are {', '.join(scoring.METRICS)}.",
            )
    names = recipe.candidates if request.candidates is None else request.candidates
    chosen = [candidates.find(name) for name in dict.fromkeys(names) if name != BASELINE.name]
    held = splitting.hold_out(data.keys, data.y, recipe.hold_out, grouped=data.groups is not None)
    rows = Rows(data.x, data.y, data.groups)
    learned, checked = rows.take(~held.mask), rows.take(held.mask)
    plan = _plan(recipe, request, data.schema, len(learned))
    entries = contest.compete(chosen, learned, checked, plan, tell)
    best, content, agreement = contest.export_best(entries, plan, checked, tell)
    assert best.fitted is not None
    answering = msgspec.structs.replace(data.schema, threshold=best.fitted.threshold)
    p = best.fitted.probabilities(checked.x)
    tell(Stage("Measuring on the held-out rows", 0.84))
    held_out = _held_out(checked, p, answering, plan.seed)
    _say(held_out, tell)
    tell(Stage("Measuring parts of the held-out rows", 0.88))
    slices = scoring.slices(
        checked.y,
        p,
        answering.positive,
        answering.threshold,
        {name: values[held.mask] for name, values in data.slices.items()},
        plan.seed,
    )
    importance = scoring.importance(
        best.fitted.probabilities,
        checked.x,
        checked.y,
        answering.positive,
        [feature.name for feature in answering.features],
        plan.seed,
        lambda share: tell(Stage("Measuring the features", 0.9 + 0.06 * share)),
    )
    comparison = None
    if request.active is not None:
        tell(Stage(f"Comparing with version {request.active.version}", 0.96))
        comparison = comparing.compare(
            request.active,
            schema=answering,
            x=checked.x,
            y=checked.y,
            p=p,
            positions=held.position[held.mask],
            groups=checked.groups,
            seed=plan.seed,
        )
    told = {name: entry.told(chosen=entry is best) for name, entry in entries.items()}
    report = TrainReport(
        recipe=recipe.name,
        title=recipe.title,
        model=request.model,
        promote=recipe.promote,
        data=_used(data, found, len(rows), len(checked)),
        seed=plan.seed,
        metric=recipe.metric,
        candidates=tuple(told.values()),
        chosen=best.candidate.name,
        algorithm=best.candidate.title,
        held_out=held_out,
        slices=slices,
        importance=importance,
        comparison=comparison,
        gate=gate.judge(recipe.gate, told[best.candidate.name], told[BASELINE.name], comparison),
        agreement=agreement,
        hyperparameters=best.fitted.model.described(),
        features=answering.features,
        classes=answering.classes,
        versions=card.versions(),
    )
    tell(Stage("Writing the model", 0.98))
    content = export.describe(
        content,
        name=request.model,
        schema=answering,
        card=card.of(report, held.limits),
        reference=reference.describe(answering, learned.x, p),
    )
    report = msgspec.structs.replace(
        report, seconds=round(time.perf_counter() - started, 3), onnx_bytes=len(content)
    )
    return Outcome(report, content)


def _plan(recipe: Recipe, request: TrainRequest, answering: RowSchema, rows: int) -> Plan:
    """What was asked for, else the recipe's."""
    trials = request.tuning_trials
    return Plan(
        schema=answering,
        metric=recipe.metric,
        folds=recipe.folds,
        repeats=recipe.repeats if rows <= fitting.CROSS_VALIDATED else 1,
        trials=recipe.tuning_trials if trials is None else trials,
        seed=recipe.seed if request.seed is None else request.seed,
        # With one thread every machine makes the same model; many rows would take too long.
        threads=request.threads if rows > fitting.ONE_SPLIT else 1,
        parameters=recipe.parameters,
    )


def _held_out(
    checked: Rows, p: NDArray[np.float64], answering: RowSchema, seed: int
) -> messages.HeldOut:
    """What the probabilities `p` of the held-out rows are worth."""
    scorer = scoring.Scorer(checked.y, p, answering.positive, answering.threshold)
    roc, pr = scoring.curves(checked.y, p, answering.positive)
    return messages.HeldOut(
        metrics=scoring.intervals(scorer, checked.groups, seed),
        classes=tuple(schema.text(value) for value in answering.classes),
        confusion=scorer.confusion(),
        roc=roc,
        pr=pr,
        calibration=scorer.bins(),
        threshold=answering.threshold,
    )


def _say(held_out: messages.HeldOut, tell: Tell) -> None:
    """The four figures that people look at first."""
    tell(Say("Model Metrics:"))
    for title, name in (
        ("Accuracy", "accuracy"),
        ("Precision", "precision"),
        ("Recall", "recall"),
        ("F1-Score", "f1"),
    ):
        measured = held_out.metrics.get(name)
        tell(Say(f"  {title}: {measured.value:.4f}" if measured else f"  {title}: not defined"))


def _used(data: Prepared, found: DataReport, rows: int, held_out: int) -> messages.DataUsed:
    learned = rows - held_out
    notes = list(data.notes)
    if learned > fitting.CROSS_VALIDATED:
        notes.append(
            f"Candidates were compared on {fitting.CROSS_VALIDATED:,} of the {learned:,} rows to "
            "learn from, drawn within the classes."
        )
    if learned > fitting.MOST_ROWS:
        notes.append(
            f"The model learned from {fitting.MOST_ROWS:,} of them, drawn within the classes."
        )
    return messages.DataUsed(
        origin=data.origin,
        digest=data.digest,
        rows=rows,
        held_out=held_out,
        synthetic=data.synthetic,
        notes=tuple(notes),
        findings=found.findings,
        classes=found.classes,
    )
