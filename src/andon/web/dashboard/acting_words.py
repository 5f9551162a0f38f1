"""What the agent's actions and the numbers it watches are called, in plain words."""

from collections.abc import Mapping
from typing import Any

from andon.store.records import AgentAction
from andon.web.dashboard.traffic_contexts import Tone
from andon.web.dashboard.wording import count, decimal, millis, percent, score

KINDS = {
    "retrain_model": "Train again",
    "rollback_model": "Roll back",
    "promote_model": "Promote",
    "send_alert": "Tell people",
    "adjust_threshold": "Move the threshold",
    "collect_diagnostics": "Collect diagnostics",
    "validate_data": "Check the data",
    "generate_report": "Write a report",
}
ICONS = {
    "retrain_model": "board",
    "rollback_model": "rollback",
    "promote_model": "activate",
    "adjust_threshold": "stage",
}
STATUS: dict[str, tuple[str, Tone]] = {
    "pending": ("Waits for you", "look"),
    "approved": ("Approved", "none"),
    "running": ("Being done", "none"),
    "succeeded": ("Done", "good"),
    "failed": ("Failed", "stop"),
    "rejected": ("Rejected", "none"),
    "expired": ("Expired", "none"),
}
CHANGES = {
    "retrain_model": "A training runs beside the line. Its version serves only after its gate, "
    "by the rules of its recipe.",
    "rollback_model": "The earlier version answers instead, within a second or two. No request "
    "is lost, and the later version is kept.",
    "promote_model": "The version on trial answers everything from then on. The one before it is "
    "kept.",
    "adjust_threshold": "From which score a finding counts. Scores and earlier answers stay as "
    "they are.",
    "send_alert": "Nothing but that people know.",
    "collect_diagnostics": "Nothing: a bundle without secrets is written for download.",
    "validate_data": "Nothing: what came in is checked, and the findings are kept.",
    "generate_report": "Nothing: a document is written for download.",
}
UNDO = {
    "retrain_model": "Cancel the training on its page; a version that came of it can be rolled "
    "back.",
    "rollback_model": "Activate the later version again, with the button on this action's page.",
    "promote_model": "Roll back to the version before, with the button on this action's page.",
    "adjust_threshold": "Put the old threshold back, with the button on this action's page.",
    "send_alert": "Nothing to undo.",
    "collect_diagnostics": "Nothing to undo; the file goes by itself after some time.",
    "validate_data": "Nothing to undo.",
    "generate_report": "Nothing to undo; the file goes by itself after some time.",
}

_WATCHED = {
    "error_rate": "Error rate",
    "latency": "Time to answer",
    "latency_before": "Time to answer beside the version before",
    "accuracy": "Accuracy",
    "confidence": "Confidence",
    "detections": "Detections per picture",
    "label_mix": "Mix of labels",
    "drift": "Drift of the inputs",
    "score_variance": "Spread of the scores",
    "prediction_drift": "Drift of the answers",
    "concept": "Right answers over time",
    "camera": "Camera",
    "missing": "Missing values",
    "out_of_range": "Values out of range",
    "duplicates": "Repeated inputs",
    "stale_feed": "Events",
    "disagreement": "Other answers than the active version",
}
_SHARES = frozenset({"error_rate", "missing", "out_of_range", "duplicates", "disagreement"})
_SCORES = frozenset({"accuracy", "estimated_accuracy", "confidence"})


def watched(name: str, estimated: bool = False) -> str:
    """What a signal watches."""
    plain = name.removeprefix("estimated_")
    words = _WATCHED.get(plain, plain.replace("_", " ").capitalize())
    return f"{words} (estimated)" if estimated or plain != name else words


def figure(name: str, value: Any) -> str:
    """The number of a signal in the unit people know; a dash where unknown."""
    if not _is_number(value):
        return "–"
    if name in _SHARES:
        return share(value)
    if name in _SCORES:
        return score(value)
    if name in {"latency", "latency_before"}:
        return millis(value)
    if float(value).is_integer():
        return count(int(value))
    return decimal(value, 2)


def share(value: float) -> str:
    """``12 %``, and ``0.3 %`` where whole percents would say nothing."""
    return f"{value * 100:.1f} %" if 0 < value < 0.02 else percent(value)


def mode_text(mode: str) -> str:
    """What the agent does, one sentence."""
    return {
        "on": "The agent acts by the policy, and asks where the policy says so.",
        "dry-run": "Dry run: the agent writes down what it would do, and does nothing.",
        "off": "The agent is off: alerts are raised, and nothing is proposed.",
    }.get(mode, "")


# Before and after it was done; {model} and {about} (model and version) are filled in.
_SENTENCES = {
    "retrain_model": ("Train {model} again", "Began to train {model} again"),
    "rollback_model": ("Roll {model} back{moved}", "Rolled {model} back{moved}"),
    "promote_model": ("Let {about} serve", "Let {about} serve"),
    "send_alert": ("Tell people about {about}", "Told people about {about}"),
    "adjust_threshold": (
        "Move the threshold of {about}{moved}",
        "Moved the threshold of {about}{moved}",
    ),
    "collect_diagnostics": ("Collect diagnostics of {about}", "Collected diagnostics of {about}"),
    "validate_data": ("Check the data of {model}", "Checked the data of {model}"),
    "generate_report": ("Write a report about {about}", "Wrote a report about {about}"),
}


def headline(record: AgentAction) -> str:
    """What would be done, or was done, in one sentence."""
    model = record.model or "the installation"
    about = f"{model} v{record.model_version}" if record.model_version else model
    plain = record.action_type.replace("_", " ").capitalize()
    before, after = _SENTENCES.get(record.action_type, (plain, plain))
    done = record.status == "succeeded" and not record.dry_run
    target = _version(record.parameters)
    moved = ""
    if record.action_type == "rollback_model" and record.parameters.get("rollout_id"):
        return f"{'Stopped' if done else 'Stop'} trying {about}"
    if record.action_type == "rollback_model":
        came = f" from v{record.model_version}" if record.model_version else ""
        moved = f"{came} to {f'v{target}' if target else 'the last version that was healthy'}"
    elif record.action_type == "promote_model" and target:
        about = f"{model} v{target}"
    elif record.action_type == "adjust_threshold":
        moved = _threshold(record.parameters)
    return (after if done else before).format(model=model, about=about, moved=moved)


def _version(given: Mapping[str, Any]) -> int | None:
    version = given.get("to_version") or given.get("version")
    return version if isinstance(version, int) else None


def _threshold(given: Mapping[str, Any]) -> str:
    """``from 0.50 to 0.60``, as far as it is known."""
    named = (("from", given.get("from_threshold")), ("to", given.get("to_threshold")))
    return "".join(f" {word} {score(value)}" for word, value in named if _is_number(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def outcome(record: AgentAction) -> str:
    """What came of an action, one sentence; empty while that is not known."""
    if record.status == "failed":
        return record.error or "It failed without saying why."
    told = record.execution_result or {}
    said = str(told.get("summary") or told.get("message") or "")
    if record.dry_run and record.status == "succeeded":
        return said or "Written down only: nothing was changed."
    if said or record.status != "succeeded":
        return said
    return "Done."
