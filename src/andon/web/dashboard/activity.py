"""The Agent activity page: everything it did, and what came of it."""

from urllib.parse import urlencode

from andon.agent.guards import Guards
from andon.errors import NotFound
from andon.platform import Platform
from andon.store.clock import now
from andon.web.dashboard import acting_reading
from andon.web.dashboard.acting_contexts import ActivityPage, Pager, Sieve
from andon.web.dashboard.acting_words import KINDS, STATUS
from andon.web.dashboard.approvals import shell
from andon.web.dashboard.contexts import Chooser

PAGE = 30
# What the page offers to ask for: what needs nothing said but the model.
ASKABLE = (
    "collect_diagnostics",
    "validate_data",
    "generate_report",
    "retrain_model",
    "rollback_model",
)


def page(
    platform: Platform, *, status: str = "", kind: str = "", model: str = "", before: str = ""
) -> ActivityPage:
    """The context of the Agent activity page.

    Args:
        platform: What everything is read from.
        status: Only actions of this status; empty: all.
        kind: Only actions of this type; empty: all.
        model: Only actions about this model; empty: all.
        before: Cursor; empty: the newest. One that is not known any more counts as empty.
    """
    db = platform.db
    status = status if status in STATUS else ""
    kind = kind if kind in KINDS else ""
    wanted = {"status": status or None, "action_type": kind or None, "model": model or None}
    try:
        found, following = db.actions.page(**wanted, before=before or None, limit=PAGE)
    except NotFound:
        before = ""
        found, following = db.actions.page(**wanted, limit=PAGE)
    query = {key: value for key, value in _query(status, kind, model).items() if value}
    used, budget = _budget(platform)
    return ActivityPage(
        shell=shell(platform, "activity", "Agent activity"),
        sieve=Sieve(
            path="/activity",
            choosers=(
                Chooser(
                    name="status",
                    label="Status",
                    everything="Every status",
                    options=tuple((key, words) for key, (words, _) in STATUS.items()),
                    chosen=status,
                ),
                Chooser(
                    name="type",
                    label="Type",
                    everything="Every type",
                    options=tuple(KINDS.items()),
                    chosen=kind,
                ),
                models_chooser(platform, model),
            ),
            reset="/activity" if query else "",
        ),
        actions=tuple(acting_reading.action(one) for one in found),
        pager=Pager(
            older="/activity?" + urlencode({**query, "before": following}) if following else "",
            newer="/activity?" + urlencode(query)
            if before and query
            else "/activity"
            if before
            else "",
        ),
        watching=acting_reading.watching(platform),
        used=used,
        budget=budget,
        waiting=len(db.actions.pending()),
        askable=tuple((one, KINDS[one]) for one in ASKABLE),
        models=tuple(db.models.names()),
    )


def models_chooser(platform: Platform, model: str) -> Chooser:
    """The filter by model."""
    names = platform.db.models.names()
    if model and model not in names:
        names = [*names, model]
    return Chooser(
        name="model",
        label="Model",
        everything="Every model",
        options=tuple((name, name) for name in names),
        chosen=model,
    )


def _query(status: str, kind: str, model: str) -> dict[str, str]:
    return {"status": status, "type": kind, "model": model}


def _budget(platform: Platform) -> tuple[int, int]:
    """Actions that count towards today's budget, and how many the agent may do."""
    policy, _ = platform.policy.current()
    return Guards(platform.db, policy, now()).used(), policy.actions_per_day
