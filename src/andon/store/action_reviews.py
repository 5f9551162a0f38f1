"""Whose word about an action counts: not of one person twice, and not after its time."""

import unicodedata
from datetime import datetime
from typing import Any

from andon.errors import Conflict

_DONE = {"approve": "approved", "reject": "rejected"}
_WAYS_ON = {
    "rejected": "If it is needed after all, ask for it anew: `andon agent ask`.",
    "succeeded": "It is done; see its result.",
}


def refuse_review(row: Any, by: str, decision: str, moment: datetime) -> None:
    """Say why a word comes too late, or twice.

    Args:
        row: The action, locked.
        by: Who.
        decision: "approve" or "reject".
        moment: When.

    Raises:
        Conflict: It does.
    """
    what = f"The action {row.action_id}"
    said = [one for one in row.reviews if _same(one["by"], by)]
    if row.status == "expired" or (row.status == "pending" and _over(row, moment)):
        raise Conflict(
            f"{what} has expired: nobody approved it before {row.expires_at:%Y-%m-%d %H:%M} UTC.",
            hint="If it is still needed, ask for it anew: `andon agent ask`.",
        )
    if row.status != "pending":
        if said and said[-1]["decision"] == decision:
            raise Conflict(f"{what} was {_DONE[decision]} by {said[-1]['by']} already.")
        raise Conflict(
            f"{what} does not wait for approval: it is {row.status}.",
            hint=_WAYS_ON.get(row.status, ""),
        )
    if said and decision == "approve":
        raise Conflict(
            f"{said[-1]['by']} has approved the action {row.action_id} already, and it needs "
            f"{row.approvals_needed} different people.",
            hint="Let somebody else approve it.",
        )


def _over(row: Any, moment: datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= moment


def _same(one: str, other: str) -> bool:
    """Whether two names are one person's."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    # Full-width letters and the like are the same letters.
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()
