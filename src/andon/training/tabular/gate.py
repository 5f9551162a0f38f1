"""Whether a trained model is good enough to go on to production."""

from andon.training.messages import Candidate, Comparison, GateResult
from andon.training.tabular import scoring
from andon.training.tabular.recipe import Gate

NAMES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier score",
    "log_loss": "log loss",
    "ece": "calibration error",
}


def judge(
    gate: Gate, chosen: Candidate, baseline: Candidate, comparison: Comparison | None
) -> GateResult:
    """Pass what reaches the minimum, beats the baseline and is not worse than the active version.

    A reason is a full sentence. One that there was nothing to compare with is told and does not
    fail the gate.
    """
    name = NAMES.get(gate.metric, gate.metric)
    failures: list[str] = []
    remarks: list[str] = []
    value = chosen.held_out.get(gate.metric)
    if value is None:
        failures.append(f"{name} could not be measured on the held-out rows.")
    elif scoring.better(gate.metric, gate.minimum, value):
        failures.append(
            f"{name} on the held-out rows is {value:.3f}; {gate.minimum:.3f} is asked for."
        )
    failures += _beside_baseline(gate.metric, name, chosen, baseline)
    if gate.not_worse and comparison is not None:
        if comparison.note:
            remarks.append(
                f"It could not be compared with version {comparison.version}. {comparison.note}"
            )
        else:
            failures += _beside_active(gate.metric, name, comparison)
    return GateResult(passed=not failures, reasons=(*failures, *remarks))


def _beside_baseline(metric: str, name: str, chosen: Candidate, baseline: Candidate) -> list[str]:
    found: list[str] = []
    places = (
        ("by cross-validation", _mean(chosen, metric), _mean(baseline, metric)),
        (
            "on the held-out rows",
            chosen.held_out.get(metric),
            baseline.held_out.get(metric),
        ),
    )
    for where, mine, dummy in places:
        if mine is not None and dummy is not None and not scoring.better(metric, mine, dummy):
            found.append(
                f"It is not better than the baseline, which always answers the same: {name} "
                f"{where} is {mine:.3f}, the baseline's {dummy:.3f}."
            )
    return found


def _beside_active(metric: str, name: str, comparison: Comparison) -> list[str]:
    new, active = comparison.new.get(metric), comparison.active.get(metric)
    if new is None or active is None or not scoring.better(metric, active, new):
        return []
    difference = comparison.differences[metric]
    bounds = ""
    if difference.low is not None and difference.high is not None:
        bounds = f" (95 % interval of the difference {difference.low:.3f} to {difference.high:.3f})"
    return [
        (
            f"It is worse than the active version {comparison.version} on the same "
            f"{comparison.rows} rows: {name} {new:.3f} and {active:.3f}{bounds}."
        )
    ]


def _mean(candidate: Candidate, metric: str) -> float | None:
    spread = candidate.cross_validation.get(metric)
    return spread.mean if spread else None
