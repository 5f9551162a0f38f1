"""What keeps the agent from doing too much: budget, cool-downs, and patience."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from andon.agent.diagnosis import Finding
from andon.agent.policy import Policy
from andon.agent.rollback import Target
from andon.store.agent_actions import OPEN
from andon.store.database import Database
from andon.store.records import AgentAction

DAY = timedelta(hours=24)

REJECTED = timedelta(hours=24)
"""What a person rejected is not proposed again for so long."""

AGAIN = timedelta(hours=1)
"""A finding about which nothing could be done is decided anew after so long."""

_UNDONE = frozenset({"rejected", "expired"})


class Guards:
    """Looks back at what was done, as of one moment.

    Args:
        db: Holds the actions.
        policy: Cool-downs and budget.
        moment: Now.
    """

    def __init__(self, db: Database, policy: Policy, moment: datetime) -> None:
        self._db = db
        self._policy = policy
        self._moment = moment

    def used(self) -> int:
        """Actions of the agent in the last 24 hours that count."""
        return sum(
            one.source == "agent"
            and one.action_type != "send_alert"
            and one.dry_run == self._policy.dry_run
            and one.status not in _UNDONE
            for one in self._recent(None, None, DAY)
        )

    def over_budget(self, kind: str) -> str:
        """Why one more action is too many; empty where it is not.

        A quarter of the budget is kept for rollbacks: reports must not use up what takes a bad
        version off the line.
        """
        if kind == "send_alert":
            return ""
        budget = self._policy.actions_per_day
        kept = 0 if kind == "rollback_model" else -(-budget // 4)
        if self.used() < budget - kept:
            return ""
        return f"The budget of {budget} actions in 24 hours is used up."

    def cooling(self, kind: str, model: str | None, target: Target | None = None) -> str:
        """Why it is too early for another action of a kind; empty where it is not.

        For a rollback the time counts since the last one, whoever did it, unless another version
        was activated since: that one has not been gone back to yet.
        """
        cooldown = self._policy.action(kind).cooldown
        if kind == "rollback_model":
            return self._after_rollback(cooldown, model, target)
        for one in self._past(kind, model, cooldown + self._policy.approval_expires):
            if one.status in _UNDONE:
                continue
            done = one.executed_at or one.created_at
            if abs(self._moment - done) < cooldown:
                return (
                    f"The last {kind.replace('_', ' ')} was at {done:%Y-%m-%d %H:%M} UTC, and the "
                    f"policy wants {_words(cooldown)} between two."
                )
        return ""

    def rejected(self, kind: str, model: str | None, version: int | None) -> bool:
        """Whether a person has just refused the same."""
        return any(
            one.status == "rejected" and one.model_version == version
            for one in self._past(kind, model, REJECTED)
        )

    def open(self, kind: str, model: str | None) -> bool:
        """Whether an action of this kind is not over yet."""
        return any(
            one.action_type == kind and one.model == model for one in self._db.actions.open(model)
        )

    def decided(self, finding: Finding) -> bool:
        """Whether a finding has its decision already, and what came of it is awaited.

        It is decided anew when the follow-up says that it did not help (or that it had, and the
        trouble is back), when it has become critical, and after an hour where nothing follows.
        """
        past = [
            one
            for one in self._past(None, finding.model or None, DAY)
            if one.issue_type == str(finding.issue)
            and one.model == (finding.model or None)
            and one.model_version == finding.version
            and (one.evidence.get("finding") or {}).get("subject", "") == finding.subject
        ]
        if not past:
            return False
        if any(one.status in OPEN for one in past):
            return True
        known = {(one.evidence.get("finding") or {}).get("severity") for one in past}
        if finding.severity == "critical" and "critical" not in known:
            return False
        newest = max(one.created_at for one in past)
        batch = [one for one in past if one.created_at == newest]
        followed = [one for one in batch if one.follow_up_at or one.follow_up]
        if any(_awaited(one) for one in followed):
            return True
        if followed and self._moment >= newest:
            return False
        return abs(self._moment - newest) < AGAIN

    def told(self, group_key: str, severity: str) -> bool:
        """Whether people were told the same in the last 24 hours, as gravely."""
        return any(
            one.parameters.get("group_key") == group_key
            and one.parameters.get("severity") == severity
            for one in self._past("send_alert", None, DAY)
        )

    def _after_rollback(self, cooldown: timedelta, model: str | None, target: Target | None) -> str:
        since = target.since if target is not None else None
        if model is None or since is None:
            return ""
        events, _ = self._db.events.page(model=model, event_type="ROLLBACK", limit=1)
        # Compared as they are written: a clock that was set back must not mix up their order.
        if not events or events[0].timestamp != since or abs(self._moment - since) >= cooldown:
            return ""
        return (
            f"{model} was rolled back at {since:%Y-%m-%d %H:%M} UTC, and the policy wants "
            f"{_words(cooldown)} between two."
        )

    def _recent(self, model: str | None, kind: str | None, span: timedelta) -> list[AgentAction]:
        """Actions of a span of time.

        Where the clock was set back, some lie ahead: those that lie further ahead than the span
        count no more than those that lie further behind, or one hour with a wrong year would
        hold the agent back for that year.
        """
        found = self._db.actions.recent(model, kind, self._moment - span)
        return [one for one in found if one.created_at - self._moment <= span]

    def _past(self, kind: str | None, model: str | None, span: timedelta) -> Sequence[AgentAction]:
        return [
            one
            for one in self._recent(model, kind, span)
            if one.source == "agent"
            and one.dry_run == self._policy.dry_run
            and (model is not None or kind == "send_alert" or one.model is None)
        ]


def _awaited(action: AgentAction) -> bool:
    """Whether it will still be said if it helped."""
    return action.follow_up_at is not None


def _words(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes >= 120:
        return f"{minutes / 60:g} hours"
    return f"{minutes} minutes" if minutes != 1 else "1 minute"
