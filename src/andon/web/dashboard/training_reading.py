"""Reports of trainings and cards of versions as the pages show them.

Both are JSON that was written by another release, or came inside a file from elsewhere. They are
read here and nowhere else: what is missing in them is left out, and what makes no sense as a
whole is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from andon import model_charts, typed
from andon.training.messages import (
    Agreement,
    Candidate,
    Comparison,
    DataUsed,
    Finding,
    GateResult,
    HeldOut,
    Importance,
    Interval,
    SliceScore,
)
from andon.web.dashboard.contexts import Figure
from andon.web.dashboard.training_contexts import (
    Concern,
    Confusion,
    ConfusionCell,
    Evaluation,
    Grid,
    GridLine,
    Measure,
    Tone,
)
from andon.web.dashboard.wording import count, interval, plural, score

METRICS = {
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "pr_auc": "PR-AUC",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "ece": "Calibration error",
}
"""Metrics and their names for people, the most telling first."""

_LOWER = {"brier", "log_loss", "ece"}
_TILES = ("f1", "roc_auc", "accuracy", "precision", "recall")
_IN_TURN = ("f1", "roc_auc", "accuracy")
_TONES: dict[str, Tone] = {"error": "stop", "warning": "look", "info": "none"}
_LEVELS = 5
# Features in the chart of importance, the weightiest; the table has all.
_IMPORTANT = 20


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a report and a card have in common; everything may be missing."""

    title: str = ""
    recipe: str = ""
    metric: str = "f1"
    data: DataUsed | None = None
    seed: int | None = None
    candidates: tuple[Candidate, ...] = ()
    chosen: str = ""
    algorithm: str = ""
    held_out: HeldOut | None = None
    slices: tuple[SliceScore, ...] = ()
    importance: tuple[Importance, ...] = ()
    comparison: Comparison | None = None
    gate: GateResult | None = None
    agreement: Agreement | None = None
    hyperparameters: dict[str, Any] = {}
    versions: dict[str, str] = {}
    seconds: float | None = None
    onnx_bytes: int | None = None

    @property
    def algorithm_name(self) -> str:
        """The chosen algorithm for people; empty where it is not told."""
        told = (one.algorithm for one in self.candidates if one.chosen and one.algorithm)
        return self.algorithm or next(told, self.chosen)

    def measure(self, metric: str) -> Measure | None:
        """A metric on the held-out rows, or None."""
        found = self.held_out.metrics.get(metric) if self.held_out else None
        if found is None:
            return None
        return Measure(
            name=METRICS.get(metric, metric), value=found.value, low=found.low, high=found.high
        )


def measured(report: Mapping[str, Any] | None) -> Measured | None:
    """A stored report or card; None where there is none that can be read."""
    if not report:
        return None
    try:
        return typed.convert(dict(report), Measured, strict=False)
    except (msgspec.ValidationError, TypeError):
        return None


def evaluation(
    found: Measured, title: str = "", names: Mapping[str, str] | None = None
) -> Evaluation:
    """Everything a report or card tells, for a page.

    Args:
        found: What was read.
        title: What the model is called in comparisons, "v4"; empty: "this model".
        names: Classes for people, by the text of their value; others stay as they are.
    """
    data, held, names = found.data, found.held_out, names or {}
    grids = (
        _comparison(found.comparison, title or "This model"),
        _metrics(held),
        _slices(found.slices),
    )
    return Evaluation(
        synthetic=bool(data and data.synthetic),
        measures=tuple(one for one in map(found.measure, _TILES) if one is not None),
        basis=_basis(data),
        confusion=_confusion(held, names),
        figures=tuple(_figures(found)),
        candidates=_candidates(found.candidates, found.metric),
        grids=tuple(one for one in grids if one is not None),
        concerns=_concerns(data),
        data=_data(data, names),
        lineage=_lineage(found),
        parameters=_pairs(found.hyperparameters),
    )


def _basis(data: DataUsed | None) -> str:
    if data is None or not data.held_out:
        return ""
    made_up = "made-up rows" if data.synthetic else "rows"
    return (
        f"Measured on {count(data.held_out)} of {count(data.rows)} {made_up}, which no candidate "
        "saw. Below each value: its 95 % interval."
    )


def _metrics(held: HeldOut | None) -> Grid | None:
    if held is None or not held.metrics:
        return None
    known = [name for name in METRICS if name in held.metrics]
    others = [name for name in held.metrics if name not in METRICS]
    lines = []
    for name in (*known, *others):
        one = held.metrics[name]
        bounded = one.low is not None and one.high is not None
        lines.append(
            GridLine(
                cells=(
                    _named(name),
                    f"{one.value:.3f}",
                    f"{one.low:.3f} to {one.high:.3f}" if bounded else "–",
                )
            )
        )
    return Grid(
        id="metrics",
        title="Held-out metrics",
        note=f"The class looked for is answered from probability {held.threshold:.2f}."
        if len(held.classes) == 2
        else "",
        columns=(("Metric", False), ("Value", True), ("95 % interval", True)),
        lines=tuple(lines),
    )


def _named(metric: str) -> str:
    text = METRICS.get(metric, metric)
    return f"{text} (lower is better)" if metric in _LOWER else text


def _slices(slices: Sequence[SliceScore]) -> Grid | None:
    # Groups keep together and in their order; "under 45" comes before "45 to 54".
    known = list(dict.fromkeys(one.slice for one in slices))
    ranked = sorted(
        slices, key=lambda one: (known.index(one.slice), not one.value.startswith("under "))
    )
    lines = tuple(
        GridLine(
            cells=(
                f"{one.slice}: {one.value}",
                count(one.rows),
                count(one.positives),
                interval(Interval(one.f1, one.f1_low, one.f1_high)) if one.f1 is not None else "–",
                score(one.roc_auc),
                score(one.accuracy),
                score(one.precision),
                score(one.recall),
            ),
            tag="Too few rows" if one.f1 is None and one.accuracy is None else "",
            tone="none",
        )
        for one in ranked
    )
    if not lines:
        return None
    heads = ("Rows", "Positive", "F1", "ROC-AUC", "Accuracy", "Precision", "Recall")
    return Grid(
        id="slices",
        title="By group",
        note="Of the held-out rows. Where a group has few rows, the interval is wide or there is "
        "none: do not read a difference into it.",
        columns=(("Group", False), *((head, True) for head in heads)),
        lines=lines,
    )


def _comparison(found: Comparison | None, title: str) -> Grid | None:
    if found is None or not found.differences:
        return None
    lines = tuple(
        GridLine(
            cells=(
                _named(name),
                score(found.new.get(name)),
                score(found.active.get(name)),
                interval(found.differences[name], signed=True),
            )
        )
        for name in (*METRICS, *found.differences.keys() - METRICS.keys())
        if name in found.differences
    )
    return Grid(
        id="against",
        title=f"Against v{found.version}",
        note=f"Both on the same {plural(found.rows, 'held-out row')}. Where the interval of the "
        "difference holds 0, the rows do not tell which is better.",
        columns=(
            ("Metric", False),
            (title, True),
            (f"v{found.version}", True),
            ("Difference", True),
        ),
        lines=lines,
    )


def _candidates(candidates: Sequence[Candidate], metric: str) -> Grid | None:
    shown = [name for name in (metric, *_IN_TURN) if name]
    names = list(dict.fromkeys(shown))
    lines = []
    # A card leaves times out: they are no property of the model.
    timed = any(one.seconds for one in candidates)
    for one in candidates:
        text = one.algorithm or one.name
        if one.error:
            cells = (f"{text}: {one.error}", *("–" for _ in names), "–", *(("–",) * timed))
            lines.append(GridLine(cells=cells, tag="Failed", tone="stop"))
            continue
        name_it = text.lower() != "baseline"
        spread = (one.cross_validation.get(name) for name in names)
        lines.append(
            GridLine(
                cells=(
                    text,
                    *(f"{two.mean:.3f} ± {two.std:.3f}" if two else "–" for two in spread),
                    score(one.held_out.get(metric)),
                    *((f"{one.seconds:.1f} s",) * timed),
                ),
                tag="Chosen" if one.chosen else "Baseline" if one.baseline and name_it else "",
                tone="good" if one.chosen else "none",
            )
        )
    if not lines:
        return None
    heads = [f"{METRICS.get(name, name)}, cross-validated" for name in names]
    return Grid(
        id="candidates",
        title="Candidates",
        note="Mean ± standard deviation over the folds of the training rows. The best "
        f"{METRICS.get(metric, metric)} there is chosen, before anybody looks at the held-out "
        "rows. The baseline only knows how frequent the classes are, and is never chosen.",
        columns=(
            ("Algorithm", False),
            *((head, True) for head in heads),
            (f"{METRICS.get(metric, metric)}, held out", True),
            *((("Time", True),) * timed),
        ),
        lines=tuple(lines),
    )


def _confusion(held: HeldOut | None, known: Mapping[str, str]) -> Confusion | None:
    if held is None or not held.confusion:
        return None
    size = len(held.confusion)
    texts = held.classes if len(held.classes) == size else tuple(map(str, range(size)))
    names = tuple(known.get(text, text) for text in texts)
    rows = []
    for place, counts in enumerate(held.confusion):
        total = sum(counts) or 1
        cells = tuple(
            ConfusionCell(
                count=number,
                share=number / total,
                level=round(_LEVELS * number / total),
                right=place == column,
            )
            for column, number in enumerate(counts)
        )
        rows.append((names[place], cells))
    right = sum(row[place] for place, row in enumerate(held.confusion) if place < len(row))
    total = sum(map(sum, held.confusion))
    return Confusion(
        classes=names,
        rows=tuple(rows),
        sentence=f"{count(right)} of {plural(total, 'held-out row')} answered right.",
    )


def _figures(found: Measured) -> Iterable[Figure]:
    held = found.held_out
    if held is not None:
        chosen = _operating(held)
        yield from _curves(held, chosen)
    if found.importance:
        weights = [
            model_charts.Weight(one.feature, one.mean, one.std)
            for one in sorted(found.importance, key=lambda one: -one.mean)
        ]
        metric = METRICS.get(found.metric, found.metric)
        first = weights[0]
        shown = weights[:_IMPORTANT]
        told = f"{first.feature} weighs most: shuffling it costs {first.mean:.3f} {metric}."
        if first.mean <= 0:
            told = f"No feature helps: shuffling any of them costs no {metric}."
        if len(weights) > len(shown):
            told += f" Drawn are {len(shown)} of {len(weights)} features."
        yield Figure(
            id="importance",
            title="What it goes by",
            spec=model_charts.importance(shown, metric),
            height=model_charts.importance_height(len(shown)),
            summary=told,
            columns=("Feature", f"Loss of {metric}", "Standard deviation"),
            rows=tuple((one.feature, f"{one.mean:.4f}", f"{one.std:.4f}") for one in weights),
        )


def _curves(held: HeldOut, chosen: tuple[model_charts.Point, model_charts.Point] | None) -> Any:
    marked = "" if chosen is None else " The dot is the model's own threshold."
    if held.roc:
        points = [model_charts.Point(*one) for one in held.roc]
        told = interval(held.metrics.get("roc_auc"))
        yield Figure(
            id="roc",
            title="ROC curve",
            spec=model_charts.roc(points, chosen[0] if chosen else None),
            height=model_charts.CURVE_HEIGHT,
            summary=f"Area {told}; guessing reaches 0.50.{marked}",
            columns=("False positive rate", "True positive rate"),
            rows=_rows(points),
        )
    if held.pr:
        points = [model_charts.Point(*one) for one in held.pr]
        share = _positive_share(held)
        guess = f"; guessing reaches {share:.2f}" if share is not None else ""
        yield Figure(
            id="precision-recall",
            title="Precision and recall",
            spec=model_charts.precision_recall(points, chosen[1] if chosen else None, share),
            height=model_charts.CURVE_HEIGHT,
            summary=f"Area {interval(held.metrics.get('pr_auc'))}{guess}.{marked}",
            columns=("Recall", "Precision"),
            rows=_rows(points),
        )
    if held.calibration:
        bins = [
            model_charts.Bin(one.mean_predicted, one.observed, one.rows) for one in held.calibration
        ]
        error = held.metrics.get("ece")
        off = f" Mean distance {error.value:.2f}." if error else ""
        yield Figure(
            id="calibration",
            title="Calibration",
            spec=model_charts.calibration(bins),
            height=model_charts.CURVE_HEIGHT,
            summary=f"On the diagonal, a probability means what it says.{off}",
            columns=("Predicted", "Observed", "Rows"),
            rows=tuple(
                (f"{one.predicted:.3f}", f"{one.observed:.3f}", count(one.rows)) for one in bins
            ),
        )


def _rows(points: Iterable[model_charts.Point]) -> tuple[tuple[str, ...], ...]:
    return tuple((f"{one.x:.3f}", f"{one.y:.3f}") for one in points)


def _binary(held: HeldOut) -> tuple[int, int, int, int] | None:
    """True negatives, false positives, false negatives, true positives of two classes."""
    if len(held.confusion) != 2 or any(len(row) != 2 for row in held.confusion):
        return None
    (tn, fp), (fn, tp) = held.confusion
    return tn, fp, fn, tp


def _operating(held: HeldOut) -> tuple[model_charts.Point, model_charts.Point] | None:
    """Where the model's threshold lies on the ROC and on the precision-recall curve."""
    counts = _binary(held)
    if counts is None:
        return None
    tn, fp, fn, tp = counts
    if not (tn + fp and fn + tp and tp + fp):
        return None
    recall = tp / (tp + fn)
    return model_charts.Point(fp / (fp + tn), recall), model_charts.Point(recall, tp / (tp + fp))


def _positive_share(held: HeldOut) -> float | None:
    counts = _binary(held)
    if counts is None or not sum(counts):
        return None
    return (counts[2] + counts[3]) / sum(counts)


def _concerns(data: DataUsed | None) -> tuple[Concern, ...]:
    if data is None:
        return ()
    order = tuple(_TONES)
    ranked = sorted(
        data.findings, key=lambda one: order.index(one.severity) if one.severity in order else 9
    )
    told = tuple(concern(one) for one in ranked)
    # Notes say some of it again, for those who read nothing else.
    known = {text for one in told for text in (one.text, one.hint)}
    notes = (note for note in data.notes if note not in known)
    return told + tuple(Concern(tone="none", text=note) for note in notes)


def concern(finding: Finding) -> Concern:
    """What a check of the data found."""
    text = finding.detail
    if finding.column and finding.column not in text:
        text = f"{finding.column}: {text}"
    return Concern(tone=_TONES.get(finding.severity, "none"), text=text, hint=finding.hint)


def _data(data: DataUsed | None, names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if data is None:
        return ()
    classes = ", ".join(
        f"{names.get(text, text)}: {count(number)}" for text, number in data.classes.items()
    )
    return (
        ("Origin", data.origin),
        ("Rows", f"{count(data.rows)}, {count(data.held_out)} of them held out"),
        *((("Classes", classes),) if classes else ()),
        ("SHA-256 of the content", data.digest),
    )


def _lineage(found: Measured) -> tuple[tuple[str, str], ...]:
    pairs = []
    if found.recipe:
        pairs.append(("Recipe", found.recipe))
    if found.algorithm_name:
        pairs.append(("Algorithm", found.algorithm_name))
    if found.seed is not None:
        pairs.append(("Seed", str(found.seed)))
    if found.agreement is not None:
        agreed, rows = found.agreement, plural(found.agreement.rows, "row")
        told = f"within {agreed.max_difference:.1e} on {rows}; {agreed.limit:.0e} is allowed"
        pairs.append(("ONNX file agrees", told))
    pairs += sorted(found.versions.items())
    return tuple(pairs)


def _pairs(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, f"{value}") for name, value in sorted(values.items()))


def gate_sentence(found: Measured) -> str:
    """``F1 0.84 (0.77–0.90), better than v3 on the same 61 rows by 0.02 (−0.03 to 0.07)``."""
    metric = found.metric if found.measure(found.metric) else "f1"
    one = found.measure(metric)
    if one is None:
        return ""
    text = f"{one.name} {interval(one)}"
    against = found.comparison
    difference = against.differences.get(metric) if against else None
    if against is None or difference is None:
        return text
    size = Interval(abs(difference.value), difference.low, difference.high)
    rows = plural(against.rows, "row")
    if abs(difference.value) < 0.005:
        return f"{text}, as good as v{against.version} on the same {rows}"
    better = difference.value > 0
    if not better and size.low is not None and size.high is not None:
        size = Interval(size.value, -size.high, -size.low)
    bounds = ""
    if size.low is not None and size.high is not None:
        bounds = f" ({_plain(size.low)} to {_plain(size.high)})"
    word = "better" if better else "worse"
    return f"{text}, {word} than v{against.version} on the same {rows} by {size.value:.2f}{bounds}"


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "\u2212")
