"""From a finding to what should be done about it, each with its reason in a sentence.

A plain function of what is known: whether it may be done, and by whom, is the policy's business
and asked elsewhere.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from andon.agent.diagnosis import Finding
from andon.agent.rollback import Target
from andon.agent.thresholds import Step
from andon.monitoring.signals import Issue

NEW = timedelta(hours=24)
"""A version that serves for less is new: what goes wrong now is put down to it."""

# Numbers for which the version before is the better one, however old this one is.
_FAULTS = frozenset({"error_rate", "latency", "accuracy"})

# A bigger model may be meant to be slower than the one before: people are told, nothing is undone.
_ONLY_TOLD = frozenset({"latency_before"})


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Something that should be done.

    Attributes:
        kind: Type of the action.
        reason: Why, in a sentence or two.
        parameters: What exactly.
        ask: A person must agree even where the policy says it runs by itself.
    """

    kind: str
    reason: str
    parameters: dict[str, Any] = {}
    ask: bool = False


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the finding.

    Attributes:
        moment: Now.
        target: Where the model could go back to; None for what has no model.
        can_retrain: Whether there is a recipe, and what it needs is installed.
        why_not_retrain: Why there is not.
        step: A threshold that labels say would be better.
        also: Other troubles of the same model at the same time.
    """

    moment: datetime
    target: Target | None = None
    can_retrain: bool = False
    why_not_retrain: str = ""
    step: Step | None = None
    also: frozenset[Issue] = frozenset()


def decide(finding: Finding, known: Situation) -> list[Wish]:
    """What should be done about a finding, the most important first; never nothing."""
    if finding.camera:
        return [
            _alert(finding, f"Look at the camera {finding.subject}: the model is not at fault.")
        ]
    if not finding.model:
        return [_alert(finding, "Look at what sends these events.")]
    if "concept" in finding.names():
        return _changed_world(finding, known)
    if finding.issue is Issue.PERFORMANCE:
        if finding.names() <= _ONLY_TOLD:
            return [_alert(finding, "A person must say whether it may take that long.")]
        return _worse(finding, known)
    if finding.issue is Issue.ANOMALY:
        if is_new(known):
            return _go_back(finding, known, "Its answers are out of the ordinary since it serves.")
        return [_report(finding), _diagnostics(finding)]
    if finding.issue is Issue.DATA_DRIFT:
        return _moved(finding, known)
    if finding.issue is Issue.LOW_CONFIDENCE:
        return _unsure(finding, known)
    return [
        Wish(
            kind="validate_data",
            reason=f"The data are faulty: all checks are run on them. {finding.summary}",
        ),
        _alert(finding, "The model is left as it is: faulty data are no reason to go back."),
    ]


def is_new(known: Situation) -> bool:
    """Whether the active version has only just begun to serve."""
    since = known.target.since if known.target is not None else None
    return since is not None and known.moment - since < NEW


def roll_back(finding: Finding, target: Target, why: str) -> Wish:
    """Back to `target.version`, which must be there."""
    assert target.version is not None
    assert target.active is not None
    return Wish(
        kind="rollback_model",
        reason=f"{why} {finding.summary}".strip(),
        parameters={
            "from_version": target.active.version,
            "to_version": target.version.version,
            "passed_over": [msgspec.to_builtins(one) for one in target.passed],
            "automatic": not target.hold,
        },
        ask=bool(target.hold),
    )


def _worse(finding: Finding, known: Situation) -> list[Wish]:
    names = finding.names()
    if is_new(known):
        return _go_back(finding, known, "It does badly and serves for less than a day.")
    faults = sorted(names & _FAULTS)
    drifts = Issue.DATA_DRIFT in known.also
    if faults and not (drifts and faults == ["accuracy"]):
        return _go_back(finding, known, f"Bad: {', '.join(faults)}.")
    # An older version under changed data: the version before would do no better.
    return _changed_world(finding, known)


def _go_back(finding: Finding, known: Situation, why: str) -> list[Wish]:
    target = known.target
    if target is None or target.version is None or target.active is None:
        passed = "" if target is None else _passed(target)
        lacking = f"{why} There is no healthy version to go back to: a person must decide.{passed}"
        return [_alert(finding, lacking, severity="critical"), _diagnostics(finding)]
    wishes = [roll_back(finding, target, why)]
    if target.hold:
        wishes.append(_alert(finding, f"{why} {target.hold}", severity="critical"))
    return wishes


def _changed_world(finding: Finding, known: Situation) -> list[Wish]:
    wishes = []
    if known.can_retrain:
        wishes.append(_retrain(finding, "What is true has changed; the version before knows less."))
    wishes.append(_report(finding))
    if not known.can_retrain:
        wishes.append(_alert(finding, f"It cannot be trained again here: {known.why_not_retrain}"))
    return wishes


def _moved(finding: Finding, known: Situation) -> list[Wish]:
    if not known.can_retrain:
        return [_report(finding)]
    return [
        _report(finding),
        _retrain(finding, "The data are not what it was trained on any more."),
    ]


def _unsure(finding: Finding, known: Situation) -> list[Wish]:
    step = known.step
    if step is None:
        return [_report(finding)]
    return [
        Wish(
            kind="adjust_threshold",
            reason=f"{step.summary} {finding.summary}",
            parameters={
                "from_threshold": step.before,
                "to_threshold": step.after,
                "f1_before": round(step.f1_before, 4),
                "f1_after": round(step.f1_after, 4),
                "labels": step.labels,
            },
        )
    ]


def alert_key(finding: Finding) -> str:
    """Of the alert that says what the agent wants people to know."""
    if finding.camera or not finding.model:
        return finding.group_key
    return f"system:agent:{finding.group_key}"


def _alert(finding: Finding, what: str, *, severity: str = "") -> Wish:
    return Wish(
        kind="send_alert",
        reason=f"{what} {finding.summary}".strip(),
        parameters={
            "group_key": alert_key(finding),
            "severity": severity or finding.severity,
            "title": _title(finding),
            "message": f"{what} {finding.summary}".strip(),
        },
    )


def recommend(finding: Finding, wish: Wish, why: str) -> Wish:
    """An alert in place of a wish that the agent may not act on.

    Args:
        finding: What it is about.
        wish: What should be done.
        why: Why the agent does not do it.
    """
    severity = "critical" if wish.kind == "rollback_model" else finding.severity
    words = wish.kind.replace("_", " ")
    return _alert(finding, f"Andon would {words}. {why}", severity=severity)


def _title(finding: Finding) -> str:
    if finding.camera:
        return f"{finding.model}: look at camera {finding.subject}"
    what = str(finding.issue).replace("_", " ")
    return f"{finding.model or finding.subject}: a person is needed ({what})"


def _report(finding: Finding) -> Wish:
    return Wish(
        kind="generate_report",
        reason=f"For people to read and decide on. {finding.summary}",
    )


def _diagnostics(finding: Finding) -> Wish:
    return Wish(
        kind="collect_diagnostics",
        reason=f"For those who look into it. {finding.summary}",
    )


def _retrain(finding: Finding, why: str) -> Wish:
    return Wish(kind="retrain_model", reason=f"{why} {finding.summary}")


def _passed(target: Target) -> str:
    return "".join(f" v{one.version}: {one.why}" for one in target.passed[:5])
