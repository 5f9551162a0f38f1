"""The Approvals page: what waits for a person, and what was decided."""

from urllib.parse import urlencode

from andon.errors import NotFound
from andon.platform import Platform
from andon.store.records import AgentAction
from andon.web.dashboard import acting_reading, reading, state
from andon.web.dashboard.acting_contexts import ApprovalsPage, Pager
from andon.web.dashboard.acting_words import KINDS
from andon.web.dashboard.contexts import Shell

PAGE = 20
# What nobody was asked about is not listed here: so many are looked at for one page.
LOOK_AT_MOST = 400
_RISKS = {"high": 0, "medium": 1, "low": 2}
_STEP = 100


def page(platform: Platform, *, before: str = "") -> ApprovalsPage:
    """The context of the Approvals page.

    Args:
        platform: What everything is read from.
        before: Cursor of the page of decided actions; empty: the newest.
    """
    pending = sorted(platform.db.actions.pending(), key=_urgency)
    cards = [acting_reading.action(one) for one in pending]
    over = [one for one in cards if one.told == "Expired"]
    try:
        decided, following = _decided(platform, before)
    except NotFound:
        # A cursor that is not known any more: from the beginning.
        before = ""
        decided, following = _decided(platform, before)
    # What has just expired is told below until the agent has written it down.
    shown = [*([] if before else over), *(acting_reading.action(one) for one in decided)]
    return ApprovalsPage(
        shell=shell(platform, "approvals", "Approvals"),
        waiting=tuple(one for one in cards if one.told != "Expired"),
        decided=tuple(shown),
        pager=Pager(
            older="/approvals?" + urlencode({"before": following}) + "#decided"
            if following
            else "",
            newer="/approvals#decided" if before else "",
        ),
        watching=acting_reading.watching(platform),
        alone=alone(platform),
    )


def shell(platform: Platform, page: str, title: str, model: str = "") -> Shell:
    """The frame of a page that is about all models: its lamp is of the one that is worst off.

    Args:
        platform: What everything is read from.
        page: Which page it is.
        title: Title of it.
        model: The one model that this page is about, if it is.
    """
    model = model or reading.worst_model(platform)
    return reading.shell(
        platform,
        page=page,
        title=title,
        model=model,
        lamp=state.judge(state.look(platform, model)),
        names=[],
    )


def _urgency(action: AgentAction) -> tuple[int, int, float, str]:
    """What is critical comes first, then what weighs most, then what expires first."""
    signals = acting_reading.signals_of(action.evidence)
    grave = min(
        (
            acting_reading.GRAVITY.get(str(one.get("severity")), 2)
            for one in signals
            if one.get("state") == "bad"
        ),
        default=2,
    )
    expires = action.expires_at.timestamp() if action.expires_at else float("inf")
    return grave, _RISKS.get(action.risk_level, 0), expires, action.action_id


def _decided(platform: Platform, before: str) -> tuple[list[AgentAction], str]:
    """Actions that people were asked about and that do not wait any more, newest first."""
    found: list[AgentAction] = []
    cursor: str | None = before or None
    looked = 0
    while len(found) < PAGE and looked < LOOK_AT_MOST:
        batch, following = platform.db.actions.page(before=cursor, limit=_STEP)
        for place, one in enumerate(batch):
            looked += 1
            cursor = one.action_id
            if one.status != "pending" and one.requires_approval:
                found.append(one)
                if len(found) == PAGE:
                    more = following is not None or place + 1 < len(batch)
                    return found, cursor if more else ""
        if following is None:
            return found, ""
    return found, cursor or ""


# Whether these need a person is said for each model.
_OF_MODEL = ("rollback_model", "promote_model", "retrain_model")


def alone(platform: Platform) -> tuple[str, ...]:
    """What the agent does without asking, in a few words each."""
    if acting_reading.agent_mode(platform) != "on":
        return ()
    policy, _ = platform.policy.current()
    found = [
        words
        for kind, words in KINDS.items()
        if kind not in _OF_MODEL and policy.approvals(kind, None) == 0
    ]
    for kind in _OF_MODEL:
        names = [name for name in platform.db.models.names() if policy.approvals(kind, name) == 0]
        if names:
            found.append(f"{KINDS[kind]} {' and '.join(names)}")
    return tuple(found)
