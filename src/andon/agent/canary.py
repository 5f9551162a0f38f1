"""What follows from the judgement of a canary: it is stopped, promoted, or people are asked."""

from datetime import datetime, timedelta
from typing import Any

import structlog

from andon.agent.approvals import Approvals
from andon.agent.guards import Guards
from andon.agent.means import Means
from andon.agent.policy import Policy
from andon.errors import Conflict
from andon.store.records import AgentAction, Rollout

log = structlog.get_logger("andon.agent")


class Canaries:
    """Writes down what is to be done about rollouts.

    Args:
        means: What it works with.
        approvals: Asks people.
    """

    def __init__(self, means: Means, approvals: Approvals) -> None:
        self._means = means
        self._db = means.db
        self._approvals = approvals

    def revert(
        self, rollout: Rollout, why: str, evidence: dict[str, Any], policy: Policy, moment: datetime
    ) -> AgentAction | None:
        """Stop a canary: nobody needs to agree, for what serves stays as it is.

        Args:
            rollout: It runs.
            why: For people.
            evidence: Of the judgement or the trip.
            policy: Whether it is a dry run.
            moment: Now.

        Returns:
            The action, to be done; None where it was done already or is written down.
        """
        if policy.dry_run and self._written(rollout, "rollback_model", moment):
            return None
        action = self._of_rollout(
            rollout, "rollback_model", why, evidence, policy, moment,
            approvals=0, risk="low", to=rollout.baseline, before=rollout.candidate,
        )  # fmt: skip
        if action is None:
            # A rollback of the active version is open; stopping the canary must not wait for it.
            log.warning(f"The canary is stopped without an action of its own: {why}")
            if not policy.dry_run:
                self._means.traffic.stop(rollout.model, "reverted", why)
        return action

    def offer(
        self, rollout: Rollout, why: str, evidence: dict[str, Any], policy: Policy, moment: datetime
    ) -> AgentAction | None:
        """Propose a canary that is judged better, or let it serve; as `revert`."""
        guards = Guards(self._db, policy, moment)
        mode = policy.mode("promote_model", rollout.model)
        blocked = (
            guards.open("promote_model", rollout.model)
            or self._written(rollout, "promote_model", moment)
            or guards.cooling("promote_model", rollout.model)
            or guards.over_budget("promote_model")
        )
        if blocked:
            return None
        if mode == "manual":
            self._means.alerting.see(
                f"system:agent:action:canary:{rollout.id}",
                alert_type="agent",
                severity="info",
                title=f"{rollout.model}: the canary v{rollout.candidate} is better",
                message=f"{why} The policy leaves it to a person to let it serve.",
                model=rollout.model,
                model_version=rollout.candidate,
                evidence={"signals": [], "href": "/activity"},
            )
            return None
        approvals = policy.approvals("promote_model", rollout.model)
        action = self._of_rollout(
            rollout, "promote_model", why, evidence, policy, moment, approvals=approvals,
            risk=policy.action("promote_model").risk, to=rollout.candidate,
            before=rollout.baseline,
        )  # fmt: skip
        if action is not None and action.status == "pending":
            self._approvals.asked(action)
        return action

    def _of_rollout(
        self,
        rollout: Rollout,
        kind: str,
        why: str,
        evidence: dict[str, Any],
        policy: Policy,
        moment: datetime,
        *,
        approvals: int,
        risk: str,
        to: int,
        before: int,
    ) -> AgentAction | None:
        try:
            return self._db.actions.propose(
                action_type=kind,
                risk_level=risk,
                reason=why,
                model=rollout.model,
                model_version=rollout.candidate,
                parameters={"rollout_id": rollout.id, "from_version": before, "to_version": to},
                evidence={"signals": [], "judgement": evidence},
                approvals_needed=approvals,
                dry_run=policy.dry_run,
                expires_at=moment + policy.approval_expires,
                at=moment,
                tell=self._approvals.ask_with,
            )
        except Conflict:
            return None

    def _written(self, rollout: Rollout, kind: str, moment: datetime) -> bool:
        """Whether it was decided in the last day: people said no, or it is a dry run."""
        past = self._db.actions.recent(rollout.model, kind, moment - timedelta(hours=24))
        return any(one.parameters.get("rollout_id") == rollout.id for one in past)
