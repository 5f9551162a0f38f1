"""Does what was decided, once: each of the eight kinds of action.

A process can be killed at any step. Whoever takes an action up again looks first whether it was
done: a rollback left a deployment event with the action's id, a training has the action's id for
its own, a threshold is set to a value and not moved by one, and files carry the action's id.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from andon.agent.means import Means
from andon.agent.rollback import ACTOR, Target, find_target
from andon.errors import AndonError, Conflict, ModelDamaged, ModelRejected, NotFound, Unavailable
from andon.store.records import AgentAction, ModelVersion

log = structlog.get_logger("andon.agent")

_MOST_ACTOR = 64


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an action.

    Attributes:
        result: As plain values; `summary` is a sentence, `files` name what can be downloaded.
        event_id: Of the deployment event it made.
        alert_id: Of the alert it raised.
        helps: Whether it is looked later if the numbers recovered.
    """

    result: dict[str, Any]
    event_id: int | None = None
    alert_id: str | None = None
    helps: bool = False


class Executor:
    """Does one action at a time; every kind may be done again after a crash.

    Args:
        means: What it works with.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._db = means.db
        self._kinds: dict[str, Callable[[AgentAction], Done]] = {
            "retrain_model": self._retrain,
            "rollback_model": self._roll_back,
            "promote_model": self._promote,
            "send_alert": self._alert,
            "adjust_threshold": self._adjust,
            "collect_diagnostics": self._collect,
            "validate_data": self._validate,
            "generate_report": self._report,
        }

    def do(self, action: AgentAction) -> Done:
        """Do it, or find that it was done; a dry run only says what would be done.

        Raises:
            AndonError: It cannot be done; `is_final` says whether trying again could help.
        """
        if action.dry_run:
            return Done(result={"dry_run": True, "summary": self._would(action)})
        return self._kinds[action.action_type](action)

    def _would(self, action: AgentAction) -> str:
        words = action.action_type.replace("_", " ")
        about = f" for {action.model}" if action.model else ""
        given = ", ".join(
            f"{name} {value}"
            for name, value in action.parameters.items()
            if isinstance(value, int | float | str) and name != "message"
        )
        after = ""
        if action.approvals_needed:
            people = "person" if action.approvals_needed == 1 else "people"
            after = f" after {action.approvals_needed} {people} had agreed"
        return f"Dry run: would {words}{about}{f' ({given})' if given else ''}{after}."

    # -- What serves --------------------------------------------------------------------

    def _roll_back(self, action: AgentAction) -> Done:
        if "rollout_id" in action.parameters:
            return self._end_rollout(action, "reverted")
        model = _model(action)
        if self._db.actions.event_of(action.action_id) is None:
            try:
                self._go_back(action, model)
            except Conflict:
                # A process that was believed dead has done it meanwhile.
                if self._db.actions.event_of(action.action_id) is None:
                    raise
        event = self._db.actions.event_of(action.action_id)
        if event is None:
            raise Conflict(
                f"Model {model} was not rolled back: the version to go back to serves already.",
                hint="Nothing needs to be done.",
            )
        summary = f"v{event.model_version} of {model} serves again, not v{event.previous_version}."
        self._means.notifier.tell(
            "rollback",
            {
                "model": model,
                "from_version": event.previous_version,
                "to_version": event.model_version,
                "reason": action.reason,
                "action_id": action.action_id,
                "severity": "critical",
                "title": f"{model} was rolled back to v{event.model_version}",
                "message": f"{summary} {action.reason}",
                "href": f"/actions/{action.action_id}",
            },
        )
        return Done(
            result={
                "summary": summary,
                "from_version": event.previous_version,
                "to_version": event.model_version,
                "undo": f"Activate v{event.previous_version} of {model} by its number.",
            },
            event_id=event.id,
            helps=True,
        )

    def _go_back(self, action: AgentAction, model: str) -> None:
        """Change what serves; a version that does not load is passed over.

        Raises:
            Conflict: Another version serves meanwhile, or there is none to go back to.
        """
        meant = action.parameters.get("from_version")
        active = self._db.models.active(model)
        if active is None or (meant is not None and active.version != meant):
            now = "no version" if active is None else f"v{active.version}"
            raise Conflict(
                f"Model {model} was not rolled back: {now} serves now, not v{meant} any more.",
                hint="If that one is bad as well, ask for another rollback.",
            )
        to = action.parameters.get("to_version")
        tried: set[int] = set()
        while True:
            if to is None:
                to = _number(find_target(self._db, model, without=frozenset(tried)), model)
            try:
                self._means.deployments.rollback(
                    model,
                    action.reason,
                    _actor(action),
                    to=to,
                    action_id=action.action_id,
                    instead_of=active.version,
                )
            except (ModelDamaged, ModelRejected, NotFound):
                # People agreed to this version and no other.
                if action.reviews or action.source == "person":
                    raise
                tried.add(to)
                to = None
            else:
                return

    def _promote(self, action: AgentAction) -> Done:
        model = _model(action)
        to = int(action.parameters["to_version"])
        active = self._db.models.active(model)
        before = action.parameters.get("from_version")
        if active is None or active.version not in {to, before}:
            now = "no version" if active is None else f"v{active.version}"
            raise Conflict(
                f"v{to} of {model} was not promoted: {now} serves now, not v{before}.",
                hint="Start a new canary against the version that serves.",
            )
        if active.version != to:
            self._means.deployments.activate(
                model, to, action.reason, _actor(action), action_id=action.action_id
            )
        rollout = self._db.rollouts.get(action.parameters["rollout_id"])
        if rollout.status == "running":
            self._means.traffic.stop(model, "promoted", action.reason)
        event = self._db.actions.event_of(action.action_id)
        return Done(
            result={
                "summary": f"v{to} of {model} serves now; v{before} is kept to go back to.",
                "from_version": before,
                "to_version": to,
            },
            event_id=None if event is None else event.id,
            helps=True,
        )

    def _end_rollout(self, action: AgentAction, status: str) -> Done:
        rollout = self._db.rollouts.get(action.parameters["rollout_id"])
        if rollout.status == "running":
            self._means.traffic.stop(rollout.model, status, action.reason)
        return Done(
            result={
                "summary": f"v{rollout.candidate} of {rollout.model} gets no more requests; "
                f"v{rollout.baseline} answers all of them.",
                "from_version": rollout.candidate,
                "to_version": rollout.baseline,
                "rollout_id": rollout.id,
            }
        )

    def _adjust(self, action: AgentAction) -> Done:
        model = _model(action)
        given = action.parameters
        version = self._db.models.get(model, _version(action))
        wanted = given["to_threshold"] if "to_set" not in given else given["to_set"]
        if "undo_of" not in given and action.source == "agent":
            bounds = self._means.policy.current()[0].model(model)
            if not bounds.threshold_min <= wanted <= bounds.threshold_max:
                raise Conflict(
                    f"The threshold {wanted:g} is outside of what the policy allows for {model}: "
                    f"{bounds.threshold_min:g} to {bounds.threshold_max:g}.",
                    hint="Change the bounds in the policy file, or set it by hand.",
                )
        if self._db.actions.event_of(action.action_id) is None:
            self._means.deployments.set_threshold(
                model,
                version.version,
                wanted,
                action.reason,
                _actor(action),
                action_id=action.action_id,
            )
        event = self._db.actions.event_of(action.action_id)
        before, after = given.get("from_threshold"), given.get("to_threshold")
        return Done(
            result={
                "summary": f"The threshold of v{version.version} of {model} is {after:g} now; "
                f"it was {before:g}.",
                "before": before,
                "after": after,
                "before_set": given.get("from_set"),
                "after_set": wanted,
                "can_undo": True,
            },
            event_id=None if event is None else event.id,
            helps="undo_of" not in given,
        )

    # -- Training -----------------------------------------------------------------------

    def _retrain(self, action: AgentAction) -> Done:
        model = _model(action)
        policy, _ = self._means.policy.current()
        try:
            run = self._db.training.get(action.action_id)
        except NotFound:
            run = self._means.retrain(
                model=model,
                reason=action.reason,
                source="agent",
                actor=_actor(action),
                # Whether what comes of it serves at once is a decision of its own.
                promote=None if policy.mode("promote_model", model) == "auto" else False,
                run_id=action.action_id,
            )
        return Done(
            result={
                "summary": f"A training of {model} was begun.",
                "run_id": run.id,
                "href": f"/training/{run.id}",
            },
            helps=True,
        )

    # -- Telling, looking, writing down ---------------------------------------------------

    def _alert(self, action: AgentAction) -> Done:
        given = action.parameters
        key = given.get("group_key") or f"system:agent:action:{action.action_id}"
        if not key.startswith("system:agent:"):
            # What the watch raises by itself: it has told people, and keeps the numbers up to date.
            found = next((one for one in self._db.alerts.open() if one.group_key == key), None)
            if found is not None:
                summary = "The alert is open, and people know of it."
                return Done(
                    result={"summary": summary, "alert_id": found.alert_id, "raised": False},
                    alert_id=found.alert_id,
                )
        alert, raised = self._means.alerting.see(
            key,
            alert_type="camera" if ":camera:" in key else "agent",
            severity=given.get("severity", "warning"),
            title=given.get("title") or f"{action.model or 'Andon'}: a person is needed",
            message=given.get("message") or action.reason,
            model=action.model,
            model_version=action.model_version,
            evidence={**action.evidence, "href": f"/actions/{action.action_id}"},
        )
        summary = "People were told." if raised else "The alert is open, and people know of it."
        return Done(
            result={"summary": summary, "alert_id": alert.alert_id, "raised": raised},
            alert_id=alert.alert_id,
        )

    def _collect(self, action: AgentAction) -> Done:
        from andon.agent import bundle  # noqa: PLC0415 - seldom needed

        made = bundle.collect(self._means, action)
        return Done(
            result={
                "summary": f"The diagnostics are in {made.name} ({made.bytes:,} bytes).",
                "files": [made.shown(action.action_id)],
            }
        )

    def _validate(self, action: AgentAction) -> Done:
        version = self._about(action)
        found = self._means.validate(version)
        said = found.get("summary")
        return Done(
            result={
                "summary": said
                or f"The data of v{version.version} of {version.model} were checked.",
                "validation": msgspec.to_builtins(found, enc_hook=str),
            }
        )

    def _report(self, action: AgentAction) -> Done:
        from andon.agent import report  # noqa: PLC0415 - comes with Jinja, 3 MB

        made = report.write(self._means, action, self._about(action))
        return Done(
            result={
                "summary": made.summary,
                "files": [file.shown(action.action_id) for file in made.files],
                "drift_report": made.drift_report,
            }
        )

    def _about(self, action: AgentAction) -> ModelVersion:
        """The version that an action is about; without one, what serves.

        Raises:
            NotFound: There is none.
        """
        model = _model(action)
        if action.model_version is not None:
            return self._db.models.get(model, action.model_version)
        active = self._db.models.active(model)
        if active is None:
            raise NotFound(
                f"Model {model} has no active version.", hint="Name a version, or deploy one."
            )
        return self._db.models.get(model, active.version)


def is_final(error: Exception) -> bool:
    """Whether trying again would not help: what is wrong is wrong with the wish itself."""
    return isinstance(error, AndonError) and not isinstance(error, Unavailable)


def _actor(action: AgentAction) -> str:
    agreed = [one.by for one in action.reviews if one.decision == "approve"]
    if not agreed:
        return ACTOR
    return f"{ACTOR}, approved by {', '.join(agreed)}"[:_MOST_ACTOR]


def _model(action: AgentAction) -> str:
    if action.model is None:
        raise Conflict(
            f"The action {action.action_id} names no model.", hint="Ask for it with a model."
        )
    return action.model


def _version(action: AgentAction) -> int:
    if action.model_version is None:
        raise Conflict(
            f"The action {action.action_id} names no version.", hint="Ask for it with a version."
        )
    return action.model_version


def _number(target: Target, model: str) -> int:
    if target.version is None:
        why = " ".join(f"v{one.version}: {one.why}" for one in target.passed[:5])
        raise Conflict(
            f"Model {model} has no healthy version to go back to. {why}".strip(),
            hint="Deploy another version, or activate one by its number.",
        )
    return target.version.version
