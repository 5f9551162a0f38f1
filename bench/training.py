"""How good the candidates are: the 303 heart-disease rows of Cleveland, cross-validated.

Five folds, repeated ten times with seeds fixed beforehand, no search, calibration and early
stopping inside the folds. The rows are read and prepared as `andon train heart-disease` does it.
"""

from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from andon.training.messages import TrainRequest
from andon.training.tabular import export, fitting, loading, splitting
from andon.training.tabular.candidates import BASELINE, CANDIDATES
from andon.training.tabular.fitting import Plan, Rows

HEART = Path(__file__).parents[2] / "shared" / "data" / "heart" / "processed.cleveland.data"
REPEATS = 10
SHOWN = ("roc_auc", "f1", "accuracy", "log_loss", "brier")


def measure(data: Path = HEART, repeats: int = REPEATS) -> dict[str, Any]:
    """By candidate: mean and standard deviation of each metric, seconds, difference of the export.

    Args:
        data: The rows, in UCI's file or any other coding that the recipe reads.
        repeats: Of the five folds.
    """
    request = TrainRequest(
        run_id="bench", recipe="heart-disease", model="heart-disease", data=(str(data),)
    )
    _, report, prepared = loading.load(request, lambda _: None)
    rows = Rows(prepared.x, prepared.y, prepared.groups)
    held = splitting.hold_out(prepared.keys, prepared.y, 0.2).mask
    plan = Plan(prepared.schema, repeats=repeats, seed=42)
    found: dict[str, Any] = {"rows": report.rows, "candidates": {}}
    # As in the process of a training.
    with threadpool_limits(1, "blas"):
        for candidate in (BASELINE, *CANDIDATES.values()):
            measured = fitting.cross_validate(candidate, rows, plan)
            entry: dict[str, Any] = {
                name: {"mean": spread.mean, "std": spread.std}
                for name, spread in measured.spreads.items()
            }
            entry["seconds"] = measured.seconds
            if candidate is not BASELINE:
                fitted = fitting.fit(candidate, rows.take(~held), plan)
                agreement = export.measure(export.build(fitted), fitted, rows.x[held])
                entry["export_difference"] = agreement.max_difference
            found["candidates"][candidate.name] = entry
    return found


def rows(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The lines of the printed table."""
    lines: list[tuple[str, str, str]] = []
    for name, entry in results["candidates"].items():
        aims = {} if name == BASELINE.name else {"roc_auc": ">= 0.90", "f1": ">= 0.80"}
        lines += [
            (
                f"{name}: {metric}",
                f"{entry[metric]['mean']:.4f} ± {entry[metric]['std']:.4f}",
                aims.get(metric, ""),
            )
            for metric in SHOWN
        ]
        if "export_difference" in entry:
            lines.append(
                (f"{name}: ONNX difference", f"{entry['export_difference']:.1e}", "<= 1e-5")
            )
    return lines
