"""Watching and acting: the policy file, who watches, the webhook, what waits to be told."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, inspect, select

from andon.cli.checkup import rows
from andon.cli.checkup.finding import Finding, fail, ok, warn
from andon.errors import AndonError, ConfigurationError
from andon.store.clock import now
from andon.store.tables import alerts, leases, notifications, schedules

if TYPE_CHECKING:
    from andon.settings import Settings

# Nobody has looked for so many intervals, and at least for so long: nobody watches.
_INTERVALS = 3
_UNWATCHED = timedelta(seconds=90)
# A server that is alone on its database writes it down so often (`agent.watch.NOTED_EVERY`).
_NOTED_EVERY = timedelta(minutes=10)
_BACKLOG = timedelta(minutes=30)
_MOST_SHOWN = 300


def examine(settings: "Settings") -> Iterator[Finding]:
    """All checks of watching and acting."""
    yield from _policy(settings)
    yield from _webhook(settings)
    if not settings.database_url and not (settings.home / "andon.db").exists():
        return
    try:
        with rows.reading(settings) as database:
            connection = database._connection  # noqa: SLF001 - the doctor's own reader
            if not inspect(connection).has_table(leases.name):
                return
            found = [
                *_looks(settings, connection),
                *_waiting(connection),
                *_alerts(connection),
            ]
    except AndonError:
        # Said elsewhere.
        return
    yield from found


def _policy(settings: "Settings") -> Iterator[Finding]:
    """Whether the policy file says something that can be held to."""
    # Comes with NumPy.
    from andon.agent import policy  # noqa: PLC0415

    path = settings.policy
    if not path.exists():
        if settings.policy_file is not None:
            yield fail(
                "policy",
                f"The policy file {path} is not there; nothing that changes something runs by "
                "itself.",
                "Write one: andon agent policy --write",
            )
        else:
            yield ok("policy", "The built-in policy holds (andon agent policy shows it).")
        return
    try:
        policy.load(path, settings)
    except ConfigurationError as error:
        yield fail(
            "policy",
            f"{error.detail} Nothing that changes something runs by itself.",
            error.hint or "Mend it; andon agent policy shows what holds.",
        )
    else:
        yield ok("policy", f"The policy file {path} can be used.")


def _webhook(settings: "Settings") -> Iterator[Finding]:
    """Whether a connection to the webhook is possible; nothing is sent."""
    url = settings.webhook_url.get_secret_value()
    if not url:
        return
    from andon.notify.channels import WebhookChannel  # noqa: PLC0415 - only where one is set

    try:
        channel = WebhookChannel(url, settings.webhook_timeout)
    except ConfigurationError as error:
        yield fail("webhook", f"{error.detail} The server will not start.", error.hint)
        return
    trouble = channel.probe()
    if trouble:
        yield warn(
            "webhook",
            f"Notifications wait, for up to a day: {trouble}.",
            "Check ANDON_WEBHOOK_URL, and that its server runs and can be reached from here.",
        )
    else:
        yield ok("webhook", f"{channel.where} can be reached.")


def _looks(settings: "Settings", connection: Connection) -> Iterator[Finding]:
    """Who watches, and when the models were last looked at."""
    if not settings.monitor:
        yield warn(
            "watching",
            "ANDON_MONITOR is off: models answer, and nobody looks at the numbers.",
            "Unset it, unless another server on this database watches.",
        )
        return
    last = connection.scalar(select(schedules.c.last_due_at).where(schedules.c.name == "watch"))
    holder = connection.scalar(
        select(leases.c.holder).where(leases.c.name == "watch", leases.c.until > now())
    )
    if not isinstance(last, datetime):
        yield ok("watching", "The models were never looked at: no server has run yet.")
        return
    when = f"{last:%Y-%m-%d %H:%M:%S} UTC"
    who = f"{holder} watches; the" if holder else "The"
    longest = max(_UNWATCHED, timedelta(seconds=_INTERVALS * settings.monitor_interval))
    if connection.dialect.name == "sqlite":
        longest += _NOTED_EVERY
    if now() - last <= longest:
        yield ok("watching", f"{who} models were last looked at {when}.")
    elif holder:
        yield warn(
            "watching",
            f"{holder} holds the lease, and has not looked at the models since {when}.",
            "Its log tells why. When it is stopped, another server takes over.",
        )
    else:
        yield ok("watching", f"No server runs; the models were last looked at {when}.")


def _waiting(connection: Connection) -> Iterator[Finding]:
    """What is not told yet, and what was given up."""
    row = notifications.c
    waiting, oldest = connection.execute(
        select(func.count(), func.min(row.created_at)).where(row.status == "waiting")
    ).one()
    if waiting and isinstance(oldest, datetime) and now() - oldest > _BACKLOG:
        error = connection.scalar(
            select(row.error)
            .where(row.status == "waiting", row.error != "")
            .order_by(row.id)
            .limit(1)
        )
        why = f" The last try: {str(error)[:_MOST_SHOWN]}." if error else ""
        yield warn(
            "notifications",
            f"{_many(waiting, 'notification')} not told yet, the oldest since "
            f"{oldest:%Y-%m-%d %H:%M} UTC.{why}",
            "They are told when a server runs and the webhook answers.",
        )
    given_up: Any = connection.scalar(
        select(func.count()).where(
            row.status == "given_up", row.created_at > now() - timedelta(days=7)
        )
    )
    if given_up:
        yield warn(
            "notifications",
            f"{_many(given_up, 'notification')} given up within the last week.",
            "Look at the webhook's server; the alerts themselves are at /alerts.",
        )


def _alerts(connection: Connection) -> Iterator[Finding]:
    """Critical alerts that are open."""
    row = alerts.c
    found = connection.execute(
        select(row.title, row.alert_id)
        .where(row.status != "resolved", row.severity == "critical")
        .order_by(row.id.desc())
    ).all()
    if found:
        title, alert_id = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        yield warn(
            "alerts",
            f"A critical alert is open: {title}{more}.",
            f"andon alerts show {alert_id[-8:]}",
        )


def _many(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count} {noun}s are"
