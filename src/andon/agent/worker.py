"""Does approved actions and writes down how they ended, whatever happens in between.

An action that was claimed is "running". If its process dies it stays so, and whoever watches next
takes it up again. If the database does not take how it ended, that is kept in memory until it does.
"""

import threading
from datetime import datetime, timedelta
from time import monotonic as steady
from typing import Any

import structlog
from sqlalchemy import Connection

from andon.agent import follow_up
from andon.agent.approvals import Approvals
from andon.agent.executor import Done, Executor, is_final
from andon.agent.means import Means
from andon.errors import AndonError, NotFound
from andon.store.clock import now
from andon.store.records import AgentAction

log = structlog.get_logger("andon.agent")

ATTEMPTS = 3
"""Times an action is begun before it has failed."""

RETRY = timedelta(seconds=20)
"""An action that runs and that nobody does is taken up again after so long."""

# They take seconds: a version that crashes must not wait for them.
_SLOW = frozenset({"collect_diagnostics", "validate_data", "generate_report"})
_STOP_WAIT = 20.0
_MARGIN = timedelta(minutes=1)


class Worker:
    """Does actions.

    Args:
        means: What it works with.
        approvals: Tells what came of them.
        background: Whether what takes seconds runs on a thread of its own.
    """

    def __init__(self, means: Means, approvals: Approvals, *, background: bool) -> None:
        self._means = means
        self._db = means.db
        self._executor = Executor(means)
        self._approvals = approvals
        self._background = background
        self._slow = threading.Lock()
        self._state = threading.Lock()
        self._here: set[str] = set()
        self._unwritten: dict[str, dict[str, Any]] = {}
        # By action, when this process began it last, by a clock that nobody sets.
        self._begun: dict[str, float] = {}
        self._threads: list[threading.Thread] = []
        self._fresh = True

    def work(self, moment: datetime) -> None:
        """Take up what was left, do everything that is approved, and follow up what is due.

        Raises:
            AndonError: The database takes nothing; nothing is lost, the next call goes on.
        """
        self._write_what_waits()
        self.recover(moment)
        while (action := self._db.actions.claim(at=moment)) is not None:
            self._begin(action)
        policy, _ = self._means.policy.current()
        longest = max(policy.follow_up_after, follow_up.AGAIN) + _MARGIN
        for action in self._db.actions.due_follow_ups(moment, longest):
            found, again = follow_up.look(self._db, action, self._means.signals(), moment)
            self._db.actions.set_follow_up(action.action_id, found, again)
            log.info(f"Followed up: {found['summary']}", action=action.action_id)

    def at_once(self, action: AgentAction | None) -> None:
        """Do one action now, where it is approved and nobody else has begun it."""
        if action is None or action.status != "approved":
            return
        claimed = self._db.actions.claim(action.action_id)
        if claimed is not None:
            self._begin(claimed)

    def recover(self, moment: datetime) -> None:
        """Take up actions that run and that nobody does: their process died, or they failed."""
        for action in self._db.actions.unfinished():
            with self._state:
                known = action.action_id in self._here or action.action_id in self._unwritten
            if known or self._early(action, moment):
                continue
            if action.attempts >= ATTEMPTS and not self._was_done(action):
                why = f" {action.error}" if action.error else ""
                self._fail(action, f"It was begun {action.attempts} times and never ended.{why}")
                continue
            taken = self._db.actions.again(action.action_id, action.attempts, moment)
            if taken is not None:
                log.warning(f"Taken up again: {action.action_type}", action=action.action_id)
                self._begin(taken)
        self._fresh = False

    def stop(self) -> None:
        """Wait for what runs on threads; what is not over then is taken up by the next start."""
        with self._state:
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join(_STOP_WAIT)

    # -- Inside ------------------------------------------------------------------

    def _early(self, action: AgentAction, moment: datetime) -> bool:
        """Whether whoever began it may still be at it, or has failed at it a moment ago."""
        begun = self._begun.get(action.action_id)
        if begun is not None:
            return steady() - begun < RETRY.total_seconds()
        since = moment - (action.started_at or action.created_at)
        # A clock that was set back must not keep it waiting for ever.
        return timedelta(0) <= since < RETRY and not self._fresh

    def _begin(self, action: AgentAction) -> None:
        with self._state:
            self._here.add(action.action_id)
            self._begun[action.action_id] = steady()
        if not self._background or action.dry_run or action.action_type not in _SLOW:
            self._execute(action)
            return
        thread = threading.Thread(
            target=self._execute_slowly, args=(action,), name="andon-agent-action", daemon=True
        )
        with self._state:
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
        thread.start()

    def _execute_slowly(self, action: AgentAction) -> None:
        with self._slow:
            try:
                self._execute(action)
            # Nobody waits for this thread; the action stays running and is taken up again.
            except Exception:
                log.exception("An action could not be written down", action=action.action_id)

    def _execute(self, action: AgentAction) -> None:
        try:
            try:
                done = self._executor.do(action)
            # Whatever it is, it belongs on the action, and others must go on.
            except Exception as error:
                if not isinstance(error, AndonError):
                    log.exception(f"{action.action_type} failed", action=action.action_id)
                self._failed(action, error)
            else:
                self._finish(action, "succeeded", done)
        finally:
            with self._state:
                self._here.discard(action.action_id)

    def _failed(self, action: AgentAction, error: Exception) -> None:
        text = str(error) if isinstance(error, AndonError) else f"{type(error).__name__}: {error}"
        if is_final(error) or action.attempts >= ATTEMPTS:
            self._fail(action, text)
            return
        log.warning(f"{action.action_type} is tried again: {text}", action=action.action_id)
        self._db.actions.note_error(action.action_id, text)

    def _fail(self, action: AgentAction, text: str) -> None:
        self._finish(action, "failed", Done(result={}), error=text)

    def _alarm(self, action: AgentAction) -> None:
        """An action failed: people must know, for nobody else does it."""
        self._means.alerting.see(
            f"system:agent:action:{action.model}:{action.action_type}",
            alert_type="agent",
            severity="critical" if action.action_type == "rollback_model" else "warning",
            title=f"{action.action_type.replace('_', ' ')} failed"
            + (f" ({action.model})" if action.model else ""),
            message=action.error,
            model=action.model,
            model_version=action.model_version,
            evidence={"signals": [], "href": f"/actions/{action.action_id}"},
        )

    def _finish(self, action: AgentAction, status: str, done: Done, error: str = "") -> None:
        policy, _ = self._means.policy.current()
        moment = now()
        later = done.helps and status == "succeeded"
        values = {
            "status": status,
            "result": done.result or None,
            "error": error,
            "deployment_event_id": done.event_id,
            "follow_up_at": moment + policy.follow_up_after if later else None,
            "alert_id": done.alert_id,
            "at": moment,
            "attempts": action.attempts,
        }
        with self._state:
            self._unwritten[action.action_id] = values
        self._write_one(action.action_id)

    def _write_what_waits(self) -> None:
        with self._state:
            waiting = list(self._unwritten)
        for action_id in waiting:
            self._write_one(action_id)

    def _write_one(self, action_id: str) -> None:
        """Write down how an action ended; it is kept in memory until the database takes it."""
        with self._state:
            values = self._unwritten.get(action_id)
        if values is None:
            return
        told: list[AgentAction] = []

        def tell(connection: Connection, ended: AgentAction) -> None:
            # Once more where the transaction before was lost.
            told[:] = [ended]
            if _is_told(ended):
                self._approvals.done_with(connection, ended)

        self._db.actions.finish(action_id, **values, tell=tell)
        with self._state:
            self._unwritten.pop(action_id, None)
            self._begun.pop(action_id, None)
        # Where another process took it up meanwhile, that one says how it ended.
        for ended in told:
            if _is_told(ended):
                self._approvals.was_done(ended)
            if ended.status == "failed":
                self._alarm(ended)
            elif not ended.dry_run:
                key = f"system:agent:action:{ended.model}:{ended.action_type}"
                self._means.alerting.quiet(key, "It was done.", looks=1)

    def _was_done(self, action: AgentAction) -> bool:
        """Whether what an action does has happened, and only its end was not written down."""
        if self._db.actions.event_of(action.action_id) is not None:
            return True
        if action.action_type != "retrain_model":
            return False
        try:
            self._db.training.get(action.action_id)
        except NotFound:
            return False
        return True


def _is_told(ended: AgentAction) -> bool:
    """Whether people are told of its end; an alert is one already."""
    return not ended.dry_run and ended.action_type != "send_alert"
