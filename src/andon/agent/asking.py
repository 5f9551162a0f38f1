"""Actions that a person asks for: what they mean exactly, checked before anything is written."""

from datetime import datetime
from typing import Any

from andon.agent import thresholds
from andon.agent.approvals import clean_name
from andon.agent.means import Means
from andon.agent.policy import ACTIONS, Policy
from andon.agent.rollback import find_target
from andon.errors import Conflict, InvalidRequest, NotFound
from andon.registry.names import clean_model_name
from andon.store.records import ModelVersion

_MOST_TEXT = 1_000
_KNOWN = {
    "rollback_model": {"to_version"},
    "adjust_threshold": {"to_threshold"},
    "send_alert": {"message", "title", "severity"},
}
_SEVERITIES = ("info", "warning", "critical")


def prepare(
    means: Means,
    policy: Policy,
    kind: str,
    *,
    by: str,
    model: str | None,
    version: int | None,
    parameters: dict[str, Any],
    reason: str,
    moment: datetime,
) -> dict[str, Any]:
    """What `AgentActions.propose` takes for an action that a person asks for.

    Raises:
        InvalidRequest: There is no such action, or something about it is wrong.
        NotFound: There is no such model or version.
        Conflict: It cannot be done now.
    """
    name = clean_name(by)
    if kind not in ACTIONS:
        raise _invalid("action_type", f"must be one of {', '.join(ACTIONS)}")
    if len(reason) > _MOST_TEXT or "\x00" in reason:
        raise _invalid("reason", f"must have at most {_MOST_TEXT} characters")
    for unknown in parameters.keys() - _KNOWN.get(kind, set()):
        raise _invalid(f"parameters.{unknown[:64]}", f"is not known for {kind}")
    found = _about(means, model, version, needed=kind != "send_alert")
    about = clean_model_name(model or means.settings.default_model)
    given = _parameters(means, kind, about, found, parameters, reason)
    return _values(
        policy,
        kind,
        name,
        model=about if found is not None or kind == "retrain_model" else None,
        version=None if found is None else found.version,
        reason=reason.strip() or f"{name} asked for it.",
        parameters=given,
        moment=moment,
    )


def prepare_undo(
    means: Means, policy: Policy, action_id: str, *, by: str, comment: str, moment: datetime
) -> dict[str, Any]:
    """What `AgentActions.propose` takes to put a moved threshold back.

    Raises:
        NotFound: There is no such action.
        Conflict: It cannot be taken back.
    """
    name = clean_name(by)
    action = means.db.actions.get(action_id)
    result = action.execution_result or {}
    if action.action_type == "rollback_model" and result.get("from_version"):
        raise Conflict(
            "A rollback is not taken back by itself: the version was given up for a reason.",
            hint=f"Activate v{result['from_version']} of {action.model} by its number.",
        )
    if action.action_type != "adjust_threshold" or action.dry_run or action.status != "succeeded":
        raise Conflict(
            f"The action {action_id} cannot be taken back: only a threshold that was moved can.",
            hint="See what it did: `andon agent actions`.",
        )
    version = means.db.models.get(str(action.model), int(action.model_version or 0))
    if version.threshold != result.get("after_set"):
        raise Conflict(
            f"The threshold of v{version.version} of {version.model} was changed since.",
            hint="Ask for the threshold you want: `andon agent ask adjust_threshold`.",
        )
    return _values(
        policy,
        "adjust_threshold",
        name,
        model=action.model,
        version=version.version,
        reason=comment.strip() or f"{name} took back what was done at {action.executed_at:%H:%M}.",
        parameters={
            "from_threshold": result.get("after"),
            "to_threshold": result.get("before"),
            "from_set": version.threshold,
            "to_set": result.get("before_set"),
            "undo_of": action_id,
        },
        moment=moment,
    )


def _values(
    policy: Policy,
    kind: str,
    by: str,
    *,
    model: str | None,
    version: int | None,
    reason: str,
    parameters: dict[str, Any],
    moment: datetime,
) -> dict[str, Any]:
    action = policy.action(kind)
    return {
        "action_type": kind,
        "risk_level": action.risk,
        "reason": reason,
        "model": model,
        "model_version": version,
        "source": "person",
        "parameters": {**parameters, "asked_by": by},
        "evidence": {"signals": []},
        "approvals_needed": action.approvals,
        "dry_run": policy.dry_run,
        "expires_at": moment + policy.approval_expires,
    }


def _about(
    means: Means, model: str | None, version: int | None, *, needed: bool
) -> ModelVersion | None:
    """The version that is meant; None where nothing of the name serves and none is needed."""
    name = clean_model_name(model or means.settings.default_model)
    if version is not None:
        return means.db.models.get(name, version)
    active = means.db.models.active(name)
    if active is None and needed:
        names = means.db.models.names()
        if name not in names:
            raise NotFound(
                f"There is no model named {name!r}.",
                hint=f"Registered: {', '.join(names) or 'none'}.",
            )
        raise NotFound(
            f"Model {name} has no active version.", hint="Name a version, or deploy one."
        )
    return active


def _parameters(
    means: Means,
    kind: str,
    model: str,
    version: ModelVersion | None,
    given: dict[str, Any],
    reason: str,
) -> dict[str, Any]:
    if kind == "rollback_model":
        return _rollback(means, model, given)
    if kind == "promote_model":
        rollout = means.db.rollouts.running(model)
        if rollout is None:
            raise Conflict(
                f"No version of model {model} is being tried.",
                hint="`andon traffic canary` starts that; any version can be activated as well.",
            )
        return {
            "rollout_id": rollout.id,
            "from_version": rollout.baseline,
            "to_version": rollout.candidate,
        }
    if kind == "retrain_model":
        why = means.why_not_retrain(model)
        if why:
            raise Conflict(
                f"Model {model} cannot be trained again here: {why}",
                hint="docs/training.md says what it takes.",
            )
        return {}
    if kind == "adjust_threshold":
        assert version is not None
        return _threshold(means, version, given)
    if kind == "send_alert":
        message = _text("message", given.get("message") or reason, several_lines=True)
        if not message:
            raise _invalid("parameters.message", f"must be 1 to {_MOST_TEXT} characters of text")
        severity = given.get("severity", "warning")
        if severity not in _SEVERITIES:
            raise _invalid("parameters.severity", f"must be one of {', '.join(_SEVERITIES)}")
        return {
            "message": message,
            "severity": severity,
            "title": (_text("title", given.get("title")) or " ".join(message.split()))[:120],
        }
    return {}


def _text(name: str, said: Any, *, several_lines: bool = False) -> str:
    """A text that goes into an alert, and from there to people, their terminals and webhooks."""
    if said is None:
        return ""
    if not isinstance(said, str) or len(said) > _MOST_TEXT:
        raise _invalid(f"parameters.{name}", f"must be text of at most {_MOST_TEXT} characters")
    text = said.strip()
    if not (text.replace("\n", " ") if several_lines else text).isprintable():
        raise _invalid(f"parameters.{name}", "must not hold characters that cannot be printed")
    return text


def _rollback(means: Means, model: str, given: dict[str, Any]) -> dict[str, Any]:
    active = means.db.models.active(model)
    to = given.get("to_version")
    if active is None:
        raise Conflict(
            f"Model {model} has no active version to go back from.",
            hint="Activate a version by its number.",
        )
    if to is None:
        target = find_target(means.db, model)
        if target.version is None:
            raise Conflict(
                f"Model {model} has no healthy version to go back to.",
                hint="Deploy another version, or activate one by its number.",
            )
        to = target.version.version
    elif not isinstance(to, int) or isinstance(to, bool) or to < 1:
        raise _invalid("parameters.to_version", "must be a version number, 1 or more")
    means.db.models.get(model, to)
    if to == active.version:
        raise Conflict(
            f"v{to} of {model} serves already.", hint="Name an earlier version to go back to."
        )
    return {"from_version": active.version, "to_version": to}


def _threshold(means: Means, version: ModelVersion, given: dict[str, Any]) -> dict[str, Any]:
    wanted = given.get("to_threshold")
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not 0 <= wanted <= 1:
        raise _invalid("parameters.to_threshold", "must be a number from 0 to 1")
    before = thresholds.in_force(version, means.settings)
    if before is None:
        raise Conflict(
            f"v{version.version} of {version.model} has no threshold: it answers the likeliest "
            "class.",
            hint="Only detectors and models of two classes have one.",
        )
    return {
        "from_threshold": before,
        # 0 of both signs is 0.
        "to_threshold": float(wanted) + 0.0,
        "from_set": version.threshold,
    }


def _invalid(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(
        f"The request is not valid: {field} {detail}.",
        errors=[{"field": field, "detail": detail}],
    )
