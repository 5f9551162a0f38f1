"""The agent: decides about findings, asks people where the policy wants it, and does the rest.

One process at a time calls `handle` and `tick` (whoever holds the lease). Everything that is
decided is a row before it is done, so a process that is killed leaves nothing half known: the
next one finishes what was begun and begins nothing twice.
"""

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog

from andon.agent import asking, decision, thresholds
from andon.agent.approvals import Approvals
from andon.agent.canary import Canaries
from andon.agent.decision import Situation, Wish
from andon.agent.diagnosis import Finding
from andon.agent.guards import Guards
from andon.agent.means import Means
from andon.agent.policy import Policy
from andon.agent.rollback import Target, find_target
from andon.agent.worker import Worker
from andon.errors import Conflict, Unavailable
from andon.monitoring.signals import Issue, Signal, State
from andon.store.clock import now
from andon.store.records import AgentAction, Rollout

log = structlog.get_logger("andon.agent")


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the agent stands.

    Attributes:
        mode: "on", "dry-run" or "off".
        problem: What is wrong with the policy file; empty: nothing.
        policy_path: The file in force; empty: the built-in policy.
        pending: Actions that wait for people.
        running: Actions that are being done, or were left and will be.
        used: Actions of the last 24 hours that count.
        budget: So many are allowed.
        counts: Actions ever, by status.
    """

    mode: str
    problem: str
    policy_path: str
    pending: int
    running: int
    used: int
    budget: int
    counts: dict[str, int]


class Agent:
    """Decides, asks and acts.

    Args:
        means: What it works with.
        background: Whether what takes seconds runs on a thread of its own.
    """

    def __init__(self, means: Means, *, background: bool = True) -> None:
        self._means = means
        self._db = means.db
        self._approvals = Approvals(means.db, means.notifier)
        self._worker = Worker(means, self._approvals, background=background)
        self._canaries = Canaries(means, self._approvals)
        self._ticking = threading.Lock()
        self._deciding = threading.Lock()
        self._state = threading.Lock()
        self._trips: list[tuple[str, int, Any]] = []

    # -- Deciding -----------------------------------------------------------------------

    def handle(self, findings: Sequence[Finding], moment: datetime) -> list[AgentAction]:
        """Decide about what one look has found; what was written down by it.

        Called after every look, also with nothing: what the agent raised an alert about may be
        over.

        Raises:
            AndonError: The database takes nothing; the next look decides.
        """
        policy, _ = self._means.policy.current()
        if not policy.enabled:
            return []
        with self._deciding:
            self._clear(findings)
            made = []
            for finding in findings:
                made += self._decide(finding, findings, policy, moment)
            return made

    def trip(self, model: str, version: int, trip: Any, moment: datetime | None = None) -> None:
        """Act at once on a version that crashes or hangs.

        A candidate gets no more requests. The active version is gone back from, where the policy
        lets that run by itself; else it waits for people. A database that takes nothing now is
        tried again with every `tick`.

        Args:
            model: Registered model.
            version: Its number.
            trip: `serving.tripwire.Trip`.
            moment: Now.
        """
        try:
            self._trip(model, version, trip, moment or now())
        except Unavailable as error:
            with self._state:
                if len(self._trips) < 100:
                    self._trips.append((model, version, trip))
            log.warning(f"The agent cannot act yet: {error}", model=model)

    def handle_judgement(
        self, rollout: Rollout, judgement: Any, moment: datetime | None = None
    ) -> AgentAction | None:
        """Act on the judgement of a canary: worse is stopped at once, better asks or goes on.

        Args:
            rollout: It runs.
            judgement: `monitoring.judging.Judgement`, or its plain values.
            moment: Now.

        Returns:
            What was written down; None where nothing is to be done.
        """
        policy, _ = self._means.policy.current()
        plain = msgspec.to_builtins(judgement, enc_hook=str)
        if not policy.enabled or rollout.status != "running" or rollout.mode != "canary":
            return None
        moment = moment or now()
        why = " ".join(str(one) for one in plain.get("reasons", []))
        with self._deciding:
            if plain.get("verdict") == "worse":
                return self._canaries.revert(
                    rollout, f"The canary is worse. {why}", plain, policy, moment
                )
            if plain.get("verdict") == "better":
                return self._canaries.offer(
                    rollout, f"The canary is better. {why}", plain, policy, moment
                )
        return None

    def propose(
        self,
        kind: str,
        *,
        by: str,
        model: str | None = None,
        version: int | None = None,
        parameters: dict[str, Any] | None = None,
        reason: str = "",
        moment: datetime | None = None,
    ) -> AgentAction:
        """Ask for an action by hand. Who asks agrees: where one person is enough it is approved.

        Args:
            kind: One of the eight.
            by: Who asks.
            model: Registered model; None: the default one.
            version: None: the active one.
            parameters: What exactly; see docs/agent.md.
            reason: Why.
            moment: Now.

        Raises:
            InvalidRequest: There is no such action, or a parameter is missing or out of range.
            NotFound: There is no such model or version.
            Conflict: It cannot be done now, or the same is open already.
        """
        moment = moment or now()
        policy, _ = self._means.policy.current()
        asked = asking.prepare(
            self._means, policy, kind, by=by, model=model, version=version,
            parameters=parameters or {}, reason=reason, moment=moment,
        )  # fmt: skip
        action = self._db.actions.propose(**asked, at=moment)
        log.info(
            f"{action.action_type} was asked for by {asked['parameters']['asked_by']}",
            action=action.action_id,
        )
        if action.status != "pending":
            return action
        action = self._approvals.approve(action.action_id, by, "Asked for it.", moment)
        if action.status == "pending":
            self._approvals.ask(action)
        return action

    def undo(self, action_id: str, by: str, comment: str = "") -> AgentAction:
        """Take a moved threshold back, as an action of its own.

        Raises:
            NotFound: There is no such action.
            Conflict: It cannot be taken back: it is of another kind, did not happen, or the
                threshold was changed since.
        """
        moment = now()
        policy, _ = self._means.policy.current()
        asked = asking.prepare_undo(self._means, policy, action_id, by=by, comment=comment,
                                    moment=moment)  # fmt: skip
        action = self._db.actions.propose(**asked, at=moment)
        if action.status == "pending":
            action = self._approvals.approve(action.action_id, by, comment, moment)
        return action

    def approve(self, action_id: str, by: str, comment: str = "") -> AgentAction:
        """Agree to an action; it is done within a second or two.

        Raises:
            InvalidRequest: The name cannot be used.
            NotFound: There is no such action.
            Conflict: It does not wait any more, has expired, or this person has agreed already.
        """
        return self._approvals.approve(action_id, by, comment, now())

    def reject(self, action_id: str, by: str, comment: str = "") -> AgentAction:
        """Refuse an action for good; as `approve`."""
        return self._approvals.reject(action_id, by, comment, now())

    # -- Doing --------------------------------------------------------------------------

    def tick(self, moment: datetime) -> None:
        """Do what is due: expire, take up what was left, do what is approved, follow up.

        Cheap where nothing is due. Another call that is under way makes this one return at once.

        Raises:
            AndonError: The database takes nothing; nothing is lost, the next call goes on.
        """
        if not self._ticking.acquire(blocking=False):
            return
        try:
            self._again_trips(moment)
            self._approvals.expire(moment)
            self._worker.work(moment)
        finally:
            self._ticking.release()

    def status(self) -> AgentStatus:
        """How the agent stands.

        Raises:
            AndonError: The database cannot be asked.
        """
        policy, problem = self._means.policy.current()
        counts = self._db.actions.counts()
        mode = "off" if not policy.enabled else "dry-run" if policy.dry_run else "on"
        return AgentStatus(
            mode=mode,
            problem=problem,
            policy_path=policy.path,
            pending=counts.get("pending", 0),
            running=counts.get("running", 0) + counts.get("approved", 0),
            used=Guards(self._db, policy, now()).used(),
            budget=policy.actions_per_day,
            counts=counts,
        )

    def stop(self) -> None:
        """Wait for what runs on threads; what is not over then is taken up by the next start."""
        self._worker.stop()

    # -- Inside: deciding ---------------------------------------------------------------

    def _decide(
        self, finding: Finding, findings: Sequence[Finding], policy: Policy, moment: datetime
    ) -> list[AgentAction]:
        guards = Guards(self._db, policy, moment)
        if guards.decided(finding):
            return []
        situation = self._situation(finding, findings, policy, moment)
        if not _serves(finding, situation.target):
            return []
        made = []
        for wish in decision.decide(finding, situation):
            action = self._want(finding, wish, situation, policy, guards)
            made += [] if action is None else [action]
        return made

    def _situation(
        self, finding: Finding, findings: Sequence[Finding], policy: Policy, moment: datetime
    ) -> Situation:
        if not finding.model or finding.camera:
            return Situation(moment=moment)
        why_not = self._means.why_not_retrain(finding.model)
        target = find_target(self._db, finding.model, moment=moment)
        step = None
        if finding.issue is Issue.LOW_CONFIDENCE and target.active is not None:
            step = thresholds.better_step(
                self._db, target.active, policy.model(finding.model), self._means.settings
            )
        also = {one.issue for one in findings if one.model == finding.model and one is not finding}
        return Situation(
            moment=moment,
            target=target,
            can_retrain=not why_not,
            why_not_retrain=why_not,
            step=step,
            also=frozenset(also),
        )

    def _want(
        self,
        finding: Finding,
        wish: Wish,
        known: Situation,
        policy: Policy,
        guards: Guards,
    ) -> AgentAction | None:
        """Write one wish down as the policy has it; None where it must not be, or is, already."""
        model = finding.model or None
        if guards.open(wish.kind, model) or guards.rejected(wish.kind, model, finding.version):
            return None
        why = ""
        if policy.mode(wish.kind, model) == "manual":
            why = "The policy leaves it to a person."
        why = why or guards.cooling(wish.kind, model, known.target)
        why = why or guards.over_budget(wish.kind)
        if why:
            if wish.kind not in {"rollback_model", "retrain_model"}:
                return None
            wish = decision.recommend(finding, wish, why)
            if guards.open("send_alert", model):
                return None
        if wish.kind == "send_alert":
            given = wish.parameters
            if guards.told(given["group_key"], given["severity"]):
                return None
        return self._write(finding, wish, policy, known.moment)

    def _write(
        self, finding: Finding, wish: Wish, policy: Policy, moment: datetime
    ) -> AgentAction | None:
        model = finding.model or None
        approvals = policy.approvals(wish.kind, model)
        if wish.ask:
            approvals = max(1, policy.action(wish.kind).approvals, approvals)
        version = finding.version
        if model is not None and version is None:
            active = self._db.models.active(model)
            version = None if active is None else active.version
        parameters = dict(wish.parameters)
        if wish.kind == "adjust_threshold" and model is not None and version is not None:
            parameters["from_set"] = self._db.models.get(model, version).threshold
        try:
            action = self._db.actions.propose(
                action_type=wish.kind,
                risk_level=policy.action(wish.kind).risk,
                reason=wish.reason,
                model=model,
                model_version=version,
                issue_type=str(finding.issue),
                parameters=parameters,
                evidence=finding.evidence(),
                alert_id=self._alert_of(finding),
                approvals_needed=approvals,
                dry_run=policy.dry_run,
                expires_at=moment + policy.approval_expires,
                at=moment,
                tell=self._approvals.ask_with,
            )
        except Conflict:
            # Somebody asked for the same by hand a moment ago.
            return None
        log.info(f"Decided: {action.action_type}", action=action.action_id, status=action.status)
        if action.status == "pending":
            self._approvals.asked(action)
        return action

    def _alert_of(self, finding: Finding) -> str | None:
        alerts = self._db.alerts.open(finding.model or None)
        return next((one.alert_id for one in alerts if one.group_key == finding.group_key), None)

    def _clear(self, findings: Sequence[Finding]) -> None:
        """Count a quiet look for the agent's own alerts whose trouble is gone."""
        there = {decision.alert_key(one) for one in findings}
        for alert in self._db.alerts.open():
            own = alert.alert_type == "agent" and alert.group_key.startswith("system:agent:")
            about = not alert.group_key.startswith("system:agent:action:")
            if own and about and alert.group_key not in there:
                self._means.alerting.quiet(alert.group_key, "The trouble it was about is gone.")

    def _trip(self, model: str, version: int, trip: Any, moment: datetime) -> None:
        policy, _ = self._means.policy.current()
        if not policy.enabled:
            return
        finding = _of_trip(model, version, trip)
        rollout = self._db.rollouts.running(model)
        with self._deciding:
            if rollout is not None and rollout.candidate == version:
                action = self._canaries.revert(
                    rollout, finding.summary, {"trip": msgspec.to_builtins(trip)}, policy, moment
                )
                self._worker.at_once(action)
                return
            active = self._db.models.active(model)
            if active is None or active.version != version:
                return
            guards = Guards(self._db, policy, moment)
            if guards.open("rollback_model", model):
                # It waits for people, or for its turn.
                return
            target = find_target(self._db, model, moment=moment)
            if not _serves(finding, target):
                return
            action = self._leave(finding, target, policy, guards, moment)
        self._worker.at_once(action)

    def _leave(
        self,
        finding: Finding,
        target: Target,
        policy: Policy,
        guards: Guards,
        moment: datetime,
    ) -> AgentAction | None:
        """What is to be done about an active version that crashes or hangs."""
        known = Situation(moment=moment, target=target)
        if target.version is None:
            for wish in decision.decide(finding, known):
                self._want(finding, wish, known, policy, guards)
            return None
        wish = decision.roll_back(finding, target, "It cannot go on.")
        if policy.mode("rollback_model", finding.model) == "manual":
            why = "The policy leaves it to a person."
        else:
            why = guards.over_budget("rollback_model")
        cooling = guards.cooling("rollback_model", finding.model, target)
        if cooling:
            # No going back and forth by itself; a person may want it all the same.
            wish = msgspec.structs.replace(wish, ask=True, reason=f"{cooling} {wish.reason}")
        if why:
            self._want(finding, decision.recommend(finding, wish, why), known, policy, guards)
            return None
        action = self._write(finding, wish, policy, moment)
        if action is not None and action.status == "pending":
            told = decision.recommend(finding, wish, f"It waits for approval. {target.hold}")
            self._want(finding, told, known, policy, guards)
        return action

    def _again_trips(self, moment: datetime) -> None:
        with self._state:
            waiting, self._trips = self._trips, []
        for model, version, trip in waiting:
            self.trip(model, version, trip, moment)


def _serves(finding: Finding, target: Target | None) -> bool:
    """Whether what was found is still true of the version that serves."""
    if target is None or target.active is None or finding.version is None:
        return True
    return target.active.version == finding.version


def _of_trip(model: str, version: int, trip: Any) -> Finding:
    """A trip as a finding, with the numbers it rests on."""
    count = int(getattr(trip, "count", 0) or 0)
    of = int(getattr(trip, "of", 0) or 0)
    signal = Signal(
        name="error_rate",
        issue=Issue.PERFORMANCE,
        state=State.BAD,
        summary=trip.summary,
        model=model,
        version=version,
        severity="critical",
        value=count / of if of else None,
        count=of,
        since=trip.since,
        evidence={"trip": trip.kind},
    )
    return Finding(
        issue=Issue.PERFORMANCE,
        model=model,
        version=version,
        severity="critical",
        signals=(signal,),
        summary=trip.summary,
        since=trip.since,
    )
