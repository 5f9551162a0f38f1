"""The queue of what waits for people: who may agree, what they are told, what expires."""

from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from andon.errors import InvalidRequest
from andon.notify.notifier import Notifier
from andon.store.database import Database
from andon.store.records import AgentAction

log = structlog.get_logger("andon.agent")

LONGEST_NAME = 64
LONGEST_COMMENT = 2_000


class Approvals:
    """Takes what people say, and asks them.

    Args:
        db: Holds the actions.
        notifier: Tells people.
    """

    def __init__(self, db: Database, notifier: Notifier) -> None:
        self._db = db
        self._notifier = notifier

    def approve(self, action_id: str, by: str, comment: str, at: datetime) -> AgentAction:
        """Agree to an action; as `AgentActions.review`.

        Raises:
            InvalidRequest: The name or the comment cannot be used.
            NotFound: There is no such action.
            Conflict: It does not wait any more, has expired, or this person has agreed already.
        """
        return self._review(action_id, by, "approve", comment, at)

    def reject(self, action_id: str, by: str, comment: str, at: datetime) -> AgentAction:
        """Refuse an action for good; as `approve`."""
        return self._review(action_id, by, "reject", comment, at)

    def ask(self, action: AgentAction) -> None:
        """Tell people that an action waits for them."""
        self._notifier.tell("approval_needed", _asking(action))

    def ask_with(self, connection: Connection, action: AgentAction) -> None:
        """Have people told that an action waits for them, if its transaction is committed."""
        self._notifier.tell_with(connection, "approval_needed", _asking(action))

    def asked(self, action: AgentAction) -> None:
        """That transaction was committed."""
        self._notifier.told_with("approval_needed", _asking(action))

    def expire(self, moment: datetime) -> list[AgentAction]:
        """End what nobody agreed to in time, and tell it."""
        expired = self._db.actions.expire_due(moment)
        for action in expired:
            log.warning(f"{_what(action)} has expired: nobody approved it", action=action.action_id)
            self.done(action)
        return expired

    def done(self, action: AgentAction) -> None:
        """Tell what came of an action."""
        self._notifier.tell("action_done", _ended(action))

    def done_with(self, connection: Connection, action: AgentAction) -> None:
        """Have it told if the transaction that ends the action is committed."""
        self._notifier.tell_with(connection, "action_done", _ended(action))

    def was_done(self, action: AgentAction) -> None:
        """That transaction was committed."""
        self._notifier.told_with("action_done", _ended(action))

    def _review(
        self, action_id: str, by: str, decision: str, comment: str, at: datetime
    ) -> AgentAction:
        name = clean_name(by)
        text = comment.strip()
        if len(text) > LONGEST_COMMENT or "\x00" in text:
            raise _invalid("comment", f"must have at most {LONGEST_COMMENT} characters")
        action = self._db.actions.review(action_id, name, decision, text, at)
        log.info(f"{_what(action)}: {decision} by {name}", action=action_id, status=action.status)
        return action


def clean_name(by: str) -> str:
    """Who says something, with single blanks.

    Raises:
        InvalidRequest: It is empty, too long or cannot be printed.
    """
    name = " ".join(by.split())
    if not name or len(name) > LONGEST_NAME:
        raise _invalid("by", f"must be a name of 1 to {LONGEST_NAME} characters")
    if not name.isprintable():
        raise _invalid("by", "must not hold characters that cannot be printed")
    return name


def about(action: AgentAction) -> dict[str, Any]:
    """What every notification of an action says."""
    return {
        "action_id": action.action_id,
        "action_type": action.action_type,
        "risk_level": action.risk_level,
        "model": action.model,
        "version": action.model_version,
        "reason": action.reason,
    }


def _asking(action: AgentAction) -> dict[str, Any]:
    people = (
        "a person"
        if action.approvals_needed == 1
        else f"{action.approvals_needed} different people"
    )
    until = "" if action.expires_at is None else f", until {action.expires_at:%Y-%m-%d %H:%M} UTC"
    return {
        **about(action),
        "severity": "critical" if action.risk_level == "high" else "warning",
        "title": f"{_what(action)} waits for {people}",
        "message": f"{action.reason} It waits for {people}{until}.",
        "expires_at": None if action.expires_at is None else action.expires_at.isoformat(),
        "href": "/approvals",
    }


def _ended(action: AgentAction) -> dict[str, Any]:
    summary = str((action.execution_result or {}).get("summary") or action.error)
    return {
        **about(action),
        "status": action.status,
        "severity": "info" if action.status == "succeeded" else "warning",
        "title": f"{_what(action)}: {action.status}",
        "message": f"{summary} {action.reason}".strip(),
        "href": f"/actions/{action.action_id}",
    }


def _what(action: AgentAction) -> str:
    words = action.action_type.replace("_", " ").capitalize()
    return words if action.model is None else f"{words} ({action.model})"


def _invalid(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(
        f"The request is not valid: {field} {detail}.",
        errors=[{"field": field, "detail": detail}],
    )
