"""From signals to alerts, and from alerts to notifications.

The signals of one look are grouped by what they are about. A group with a bad signal is an alert;
one without a bad signal and with a good one is quiet; one that only says "unknown" is neither.

An alert and the notification of it are one transaction: a crash between them loses neither.

Who sends pictures names the cameras, so there may be as many as somebody cares to make up: beyond
`MOST_OF_A_KIND` open alerts about cameras of one model, or about feeds, the rest share one.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec
from sqlalchemy import Connection

from andon.monitoring.signals import Issue, Signal, State
from andon.notify.notifier import Notifier
from andon.store.alerts import ANDON, SEVERITIES, Alerts, key_of
from andon.store.database import Database
from andon.store.records import Alert

QUIET_LOOKS = 2
"""Looks in a row at which a cause must be gone."""

MOST_OF_A_KIND = 25
"""Open alerts about cameras of one model, and about feeds; what comes on top shares one alert."""

_TITLES = {
    Issue.DATA_DRIFT: "the data have moved",
    Issue.PERFORMANCE: "worse than it should be",
    Issue.ANOMALY: "answers out of the ordinary",
    Issue.LOW_CONFIDENCE: "less sure than usual",
    Issue.DATA_QUALITY: "faults in the data",
}
_GONE = "The cause was gone: "
_FEED, _FEEDS = "feed:", "feeds"
_CAMERA, _CAMERAS = ":camera:", ":cameras"
_MOST_SIGNALS = 20
_MOST_TEXT = 4000
# That a candidate is well says nothing of what serves.
_OF_CANDIDATES = "canary_"
# What a picture can be blamed for: with a sick camera these say nothing of the model.
_SEEN = frozenset({Issue.DATA_DRIFT, Issue.ANOMALY, Issue.LOW_CONFIDENCE})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one look changed.

    Attributes:
        raised: Alerts that are new, or have become worse.
        resolved: Alerts whose cause was gone.
    """

    raised: list[Alert]
    resolved: list[Alert]


class Alerting:
    """Raises and resolves alerts, and has people told.

    Args:
        db: Holds the alerts.
        notifier: Tells.
        observe: Called with every alert that was raised.
    """

    def __init__(
        self,
        db: Database,
        notifier: Notifier,
        *,
        observe: Callable[[Alert], object] | None = None,
    ) -> None:
        self._alerts = Alerts(db)
        self._notifier = notifier
        self._observe = observe or (lambda _alert: None)

    def look(self, signals: Iterable[Signal]) -> Seen:
        """Take one look's signals.

        Raises:
            AndonError: The database took none or not all of it; the groups before the first that
                failed are done, and all are taken again with the next look.
        """
        seen = Seen(raised=[], resolved=[])
        awaited = self._alerts.awaited_keys()
        there: set[str] = set()
        for key, group in grouped(signals).items():
            bad = [one for one in group if one.state is State.BAD]
            if bad:
                of_many = _of_many(key, bad[0].model)
                # What they share was noted just now: ten thousand of them are no more work.
                if key in awaited or of_many is None or of_many[1] not in there:
                    there.add(self._see(key, bad, seen))
                continue
            good = [
                one.summary
                for one in group
                if one.state is State.OK and not one.name.startswith(_OF_CANDIDATES)
            ]
            if good and key in awaited:
                self._quiet(key, _GONE + " ".join(good)[:_MOST_TEXT], seen)
        for key in sorted(awaited - there):
            if key == _FEEDS or (key.endswith(_CAMERAS) and _CAMERA not in key):
                self._quiet(key, _GONE + "every one has an alert of its own again.", seen)
        return seen

    def see(
        self,
        group_key: str,
        *,
        alert_type: str,
        severity: str,
        title: str,
        message: str,
        model: str | None = None,
        model_version: int | None = None,
        evidence: dict[str, Any] | None = None,
        anew: bool = False,
    ) -> tuple[Alert, bool]:
        """As `Alerts.see`, and tell it where it is new or has become worse; whether that is so.

        A further camera or feed, where many have an alert already, is noted in one they share.

        Raises:
            AndonError: The database does not take it.
        """
        before = {one.group_key: one.severity for one in self._alerts.open(model)}
        shared = _shared(group_key, before, model, message)
        if shared is not None:
            group_key, title, message = shared
        said: list[dict[str, Any]] = []

        def keep(connection: Connection, alert: Alert) -> None:
            was = before.get(alert.group_key)
            said[:] = [told(alert) | ({} if was is None else {"was": was})]
            self._notifier.tell_with(connection, "alert", said[0])

        alert, raised = self._alerts.see(
            group_key,
            alert_type=alert_type,
            severity=severity,
            title=title,
            message=message,
            model=model,
            model_version=model_version,
            evidence=evidence,
            anew=anew,
            tell=keep,
        )
        if raised:
            self._observe(alert)
        for data in said:
            self._notifier.told_with("alert", data)
        return alert, bool(said)

    def quiet(self, group_key: str, notes: str, *, looks: int = QUIET_LOOKS) -> Alert | None:
        """As `Alerts.quiet`, and tell it where that resolved the alert.

        Raises:
            AndonError: The database does not take it.
        """
        alert = self._alerts.quiet(group_key, looks, notes, tell=self._keep("alert_resolved"))
        if alert is not None:
            self._notifier.told_with("alert_resolved", told(alert))
        return alert

    def system(self, name: str, problem: str, *, title: str, severity: str = "warning") -> None:
        """Note how a part of Andon itself is.

        Args:
            name: Of the part.
            problem: What is wrong, full sentences; empty: nothing.
            title: A few words.
            severity: What it is worth while something is wrong.

        Raises:
            AndonError: The database does not take it.
        """
        key = f"system:{name}"
        if not problem:
            self.quiet(key, "It works again.")
            return
        self.see(
            key,
            alert_type="system",
            severity=severity,
            title=title,
            message=problem,
            evidence={"signals": [], "href": "/alerts"},
        )

    def resolve(self, alert_id: str, by: str, notes: str = "") -> Alert:
        """Resolve by hand, and tell it.

        Raises:
            NotFound: There is no such alert.
            Conflict: It is resolved already.
        """
        alert = self._alerts.resolve(alert_id, by, notes, tell=self._keep("alert_resolved"))
        self._notifier.told_with("alert_resolved", told(alert))
        return alert

    def forget_models(self, serving: Collection[str]) -> list[Alert]:
        """Count a quiet look for alerts about models that serve nothing any more.

        Args:
            serving: Models that have an active version.

        Raises:
            AndonError: The database does not take it.
        """
        gone = []
        for alert in self._alerts.open():
            # What is about Andon itself, or about an action, ends in its own way.
            about = alert.model is not None and alert.alert_type in {*Issue, "camera"}
            if about and alert.model not in serving:
                done = self.quiet(alert.group_key, f"No version of {alert.model} serves any more.")
                gone += [done] if done is not None else []
        return gone

    def _see(self, key: str, bad: list[Signal], seen: Seen) -> str:
        """Raise it or note it; the key of the alert that says so."""
        worst = max(bad, key=lambda one: SEVERITIES.index(one.severity))
        bad = sorted(bad, key=lambda one: -SEVERITIES.index(one.severity))
        alert, fresh = self.see(
            key,
            alert_type=_type(worst),
            severity=worst.severity,
            title=_title(worst),
            message="\n".join(dict.fromkeys(one.summary for one in bad))[:_MOST_TEXT],
            model=worst.model or None,
            model_version=worst.version,
            evidence={
                "signals": [msgspec.to_builtins(one) for one in bad[:_MOST_SIGNALS]],
                "href": _href(worst),
            },
        )
        if fresh:
            seen.raised.append(alert)
        return alert.group_key

    def _quiet(self, key: str, notes: str, seen: Seen) -> None:
        alert = self.quiet(key, notes)
        if alert is not None:
            seen.resolved.append(alert)

    def _keep(self, event: str) -> Any:
        def keep(connection: Connection, alert: Alert) -> None:
            self._notifier.tell_with(connection, event, told(alert))

        return keep


def grouped(signals: Iterable[Signal]) -> dict[str, list[Signal]]:
    """Signals by the key of the alert they belong to.

    Where a camera of a model is sick, its pictures explain drift, odd answers and low confidence:
    such bad signals raise no alert about the model then (the alert about the camera says it), and
    the good ones clear none.
    """
    found = list(signals)
    blurred = {one.model for one in found if one.name == "camera" and one.state is State.BAD}
    groups: dict[str, list[Signal]] = {}
    for one in found:
        if one.model in blurred and one.name != "camera" and one.issue in _SEEN:
            continue
        groups.setdefault(group_key(one), []).append(one)
    return groups


def group_key(signal: Signal) -> str:
    """Which alert a signal belongs to."""
    if signal.name == "camera":
        return f"{signal.model}:camera:{signal.subject}"
    if not signal.model:
        return f"feed:{signal.subject}"
    return f"{signal.model}:{signal.issue}"


def _of_many(group_key: str, model: str | None) -> tuple[str, str, str] | None:
    """How keys of a kind begin, the key that they share, and what they are; None: only one is."""
    if group_key.startswith(_FEED):
        return _FEED, _FEEDS, "feeds"
    if model and group_key.startswith(f"{model}{_CAMERA}"):
        return f"{model}{_CAMERA}", f"{model}{_CAMERAS}", f"cameras of {model}"
    return None


def _shared(
    group_key: str, opened: Collection[str], model: str | None, message: str
) -> tuple[str, str, str] | None:
    """Key, title and message of the alert that a camera or feed shares; None: it has its own."""
    kind = _of_many(group_key, model)
    if kind is None or key_of(group_key) in opened:
        return None
    begins, key, what = kind
    if sum(one.startswith(begins) for one in opened) < MOST_OF_A_KIND:
        return None
    said = (
        f"{MOST_OF_A_KIND} alerts about {what} are open, and there are more: are these names made "
        f"up? The newest of the others: {message}"
    )
    return key, f"More {what} than have an alert of their own", said[:_MOST_TEXT]


def told(alert: Alert) -> dict[str, Any]:
    """What is told of an alert."""
    data: dict[str, Any] = {
        "alert_id": alert.alert_id,
        "alert_type": alert.alert_type,
        "severity": alert.severity,
        "title": alert.title,
        "message": alert.message,
        "model": alert.model,
        "version": alert.model_version,
        "since": alert.created_at,
        "href": alert.evidence.get("href", "/alerts"),
    }
    if alert.status == "resolved":
        # Good news is not as loud as bad news.
        data |= {
            "severity": "info",
            "message": alert.resolution_notes or "It is over.",
            "resolved_by": alert.resolved_by,
            "automatically": alert.resolved_by == ANDON,
        }
    plain: dict[str, Any] = msgspec.to_builtins(data)
    return plain


def _type(signal: Signal) -> str:
    return "camera" if signal.name == "camera" else str(signal.issue)


def _title(signal: Signal) -> str:
    if signal.name == "camera":
        return f"{signal.model}: camera {signal.subject or 'without a name'} is sick"
    if not signal.model:
        what = signal.subject or "Events"
        return f"{what}: nothing comes" if signal.name == "stale_feed" else f"{what}: faulty data"
    return f"{signal.model}: {_TITLES[signal.issue]}"


def _href(signal: Signal) -> str:
    """The page with the evidence."""
    if signal.report_id:
        return f"/drift/reports/{signal.report_id}"
    if not signal.model:
        return "/alerts"
    page = "/drift" if signal.issue is Issue.DATA_DRIFT else "/performance"
    return f"{page}?{urlencode({'model': signal.model})}"
