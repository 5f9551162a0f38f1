"""The Alerts page: what is open, the gravest first, and what was."""

from urllib.parse import urlencode

from andon.errors import NotFound
from andon.platform import Platform
from andon.store.records import Alert
from andon.web.dashboard import acting_reading
from andon.web.dashboard.acting_contexts import AlertGroup, AlertsPage, Pager, Sieve
from andon.web.dashboard.activity import models_chooser
from andon.web.dashboard.approvals import shell
from andon.web.dashboard.contexts import Chooser

PAGE = 30


def page(
    platform: Platform, *, severity: str = "", model: str = "", before: str = ""
) -> AlertsPage:
    """The context of the Alerts page.

    Args:
        platform: What everything is read from.
        severity: Only resolved alerts of this severity; empty: all.
        model: Only resolved alerts about this model; empty: all.
        before: Cursor; empty: the newest. One that is not known any more counts as empty.
    """
    db = platform.db
    severity = severity if severity in acting_reading.SEVERITIES else ""
    wanted = {"status": "resolved", "severity": severity or None, "model": model or None}
    try:
        past, following = db.alerts.page(**wanted, before=before or None, limit=PAGE)
    except NotFound:
        before = ""
        past, following = db.alerts.page(**wanted, limit=PAGE)
    opened = db.alerts.open()
    query = {key: value for key, value in (("severity", severity), ("model", model)) if value}
    first = "/alerts?" + urlencode(query) if query else "/alerts"
    return AlertsPage(
        shell=shell(platform, "alerts", "Alerts"),
        groups=groups(opened),
        open=len(opened),
        past=tuple(acting_reading.alert(one) for one in past),
        sieve=Sieve(
            path="/alerts",
            choosers=(
                Chooser(
                    name="severity",
                    label="Severity",
                    everything="Every severity",
                    options=tuple(acting_reading.SEVERITIES.items()),
                    chosen=severity,
                ),
                models_chooser(platform, model),
            ),
            reset="/alerts" if query else "",
        ),
        pager=Pager(
            older="/alerts?" + urlencode({**query, "before": following}) + "#past"
            if following
            else "",
            newer=f"{first}#past" if before else "",
        ),
        watching=acting_reading.watching(platform),
    )


def groups(opened: list[Alert]) -> tuple[AlertGroup, ...]:
    """Open alerts by model, the gravest group first; what is about no model comes as one group."""
    together: dict[str, list[Alert]] = {}
    for one in opened:
        together.setdefault(one.model or "", []).append(one)
    for found in together.values():
        found.sort(key=_gravity)
    ordered = sorted(together.items(), key=lambda item: (_gravity(item[1][0]), item[0]))
    return tuple(
        AlertGroup(
            key=f"about-{place}",
            title=name or "Events and Andon itself",
            alerts=tuple(acting_reading.alert(one) for one in found),
        )
        for place, (name, found) in enumerate(ordered)
    )


def _gravity(alert: Alert) -> tuple[int, bool, float]:
    """Critical before warning, what nobody looks after first, the newest first."""
    return (
        acting_reading.GRAVITY.get(alert.severity, 3),
        alert.status == "acknowledged",
        -alert.created_at.timestamp(),
    )
