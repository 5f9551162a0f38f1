"""A training's report as files for MLflow: pictures, a page, JSON.

Only `andon.training.mlflow_child` imports this: matplotlib comes with MLflow.
"""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import msgspec
from matplotlib.figure import Figure

from andon.training.messages import HeldOut, Importance, TrainReport

_MOST_FEATURES = 20
_DOTS = 110

# A server has no display.
mpl.use("Agg")


def write(report: TrainReport, folder: Path) -> None:
    """Write what there is to show of a report into a folder.

    ``report.json``, ``report.html``, and where the figures exist ``confusion_matrix.png``,
    ``roc_curve.png``, ``precision_recall_curve.png``, ``calibration.png``,
    ``feature_importance.png``.
    """
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    (folder / "report.html").write_text(page(report), encoding="utf-8")
    held_out = report.held_out
    drawings: dict[str, tuple[object, Callable[[Any], None]]] = {
        "confusion_matrix": (held_out.confusion, lambda axes: _confusion(axes, held_out)),
        "roc_curve": (held_out.roc, lambda axes: _roc(axes, held_out)),
        "precision_recall_curve": (held_out.pr, lambda axes: _pr(axes, held_out)),
        "calibration": (held_out.calibration, lambda axes: _calibration(axes, held_out)),
        "feature_importance": (
            report.importance,
            lambda axes: _importance(axes, report.importance),
        ),
    }
    for name, (there, draw) in drawings.items():
        if there:
            figure = Figure(figsize=(6, 5), layout="constrained")
            draw(figure.subplots())
            figure.savefig(folder / f"{name}.png", dpi=_DOTS)


def _confusion(axes: Any, held_out: HeldOut) -> None:
    names = held_out.classes or tuple(str(number) for number in range(len(held_out.confusion)))
    most = max((count for row in held_out.confusion for count in row), default=0)
    axes.imshow(held_out.confusion, cmap="Blues", vmin=0)
    for true, row in enumerate(held_out.confusion):
        for answered, count in enumerate(row):
            dark = count > most / 2
            axes.text(
                answered, true, str(count), ha="center", va="center", color="w" if dark else "k"
            )
    places = range(len(names))
    axes.set(
        title="Confusion matrix, held-out rows", xlabel="answered", ylabel="true",
        xticks=places, yticks=places, xticklabels=names, yticklabels=names,
    )  # fmt: skip


def _roc(axes: Any, held_out: HeldOut) -> None:
    _curve(axes, held_out.roc)
    axes.plot([0, 1], [0, 1], ":", color="gray")
    axes.set(title="ROC curve", xlabel="false positive rate", ylabel="true positive rate")


def _pr(axes: Any, held_out: HeldOut) -> None:
    _curve(axes, held_out.pr)
    axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02))


def _calibration(axes: Any, held_out: HeldOut) -> None:
    _curve(axes, [(one.mean_predicted, one.observed) for one in held_out.calibration], "o-")
    axes.plot([0, 1], [0, 1], ":", color="gray")
    axes.set(title="Calibration", xlabel="mean predicted probability", ylabel="observed share")


def _curve(axes: Any, points: Sequence[tuple[float, float]], style: str = "-") -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], style)
    axes.grid(alpha=0.3)


def _importance(axes: Any, importance: Sequence[Importance]) -> None:
    shown = list(reversed(importance[:_MOST_FEATURES]))
    axes.barh(
        [one.feature for one in shown], [one.mean for one in shown], xerr=[one.std for one in shown]
    )
    axes.set(title="Permutation importance", xlabel="what shuffling the feature costs")


# -- Page -------------------------------------------------------------------------------

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2em .6em;text-align:left}"
)


def page(report: TrainReport) -> str:
    """The report as one HTML page without scripts."""
    data, gate = report.data, report.gate
    metrics = [
        (name, _number(one.value), _number(one.low), _number(one.high))
        for name, one in report.held_out.metrics.items()
    ]
    source = f"{data.origin}: {data.rows} rows, {data.held_out} of them held out"
    source += ", synthetic" if data.synthetic else ""
    passed = "passed" if gate.passed else "failed"
    outcome = f"{report.model}, {report.algorithm or report.chosen}. Gate: {passed}. "
    outcome += " ".join(gate.reasons)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(report.title)}</title>",
        f"<style>{_STYLE}</style><h1>{escape(report.title)}</h1>",
        f"<p>{escape(source)}. SHA-256 {escape(data.digest)}.</p>",
        f"<p>{escape(outcome)}</p>",
        "<h2>Held-out rows</h2>",
        _table(("metric", "value", "95 % low", "high"), metrics),
        "<h2>Candidates</h2>",
        _candidates(report),
    ]
    if report.slices:
        slices = [
            (one.slice, one.value, str(one.rows), _number(one.f1), _number(one.roc_auc))
            for one in report.slices
        ]
        parts += ["<h2>Slices</h2>", _table(("slice", "value", "rows", "F1", "ROC-AUC"), slices)]
    if data.findings:
        findings = [(one.severity, one.column, one.detail) for one in data.findings]
        parts += ["<h2>Data checks</h2>", _table(("severity", "column", "found"), findings)]
    return "".join(parts) + "</html>\n"


def _candidates(report: TrainReport) -> str:
    rows = []
    for one in report.candidates:
        spread = one.cross_validation.get(report.metric)
        shown = "–" if spread is None else f"{spread.mean:.4f} ± {spread.std:.4f}"
        note = one.error or ("chosen" if one.chosen else "baseline" if one.baseline else "")
        rows.append((one.algorithm or one.name, shown, f"{one.seconds:.1f} s", note))
    return _table(("candidate", f"{report.metric}, cross-validated", "took", ""), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
