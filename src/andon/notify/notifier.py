"""Tells people: at once into the log, and over every other channel from the outbox.

What is to be told is a row before anybody tries to tell it. It is tried again after 5 s, 10 s, …
15 min, and given up after a day. Each channel has a thread of its own and its own order, so that a
target that hangs delays nothing but itself.

Several servers may share one database: whoever takes the oldest entry of a channel tells it. One
that dies while it does is replaced after a minute or so, and what it was telling is told again:
receivers know repeats by the id.
"""

import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from andon.errors import AndonError, ConfigurationError
from andon.notify.channels import Channel, LogChannel, NotDelivered, WebhookChannel
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database
from andon.store.outbox import LONGEST_WAIT, Notification, Outbox

log = structlog.get_logger("andon.notify")

FIRST_WAIT = timedelta(seconds=5)
"""The pause after the first failure; each is twice the one before, up to a quarter of an hour."""

GIVEN_UP_AFTER = timedelta(hours=24)
"""What could not be told for so long is given up: nobody wants yesterday's alert in the night."""

KEPT = timedelta(days=30)
"""What was told is kept for so long, to be looked up."""

Observer = Callable[[str, str], object]
"""Told the channel and the outcome ("sent", "failed", "given_up") of every try."""

_POLL = 1.0
_LEAST_TRIES = 3
_STOP_WAIT = 5.0
_PRUNE_EVERY = 3600.0
_SET_ASIDE = 200


class Notifier:
    """Tells events, durably.

    Args:
        db: Holds the outbox.
        settings: Which channels there are.
        observe: Counts tries.

    Raises:
        ConfigurationError: The webhook's address cannot be used.
    """

    def __init__(
        self, db: Database, settings: Settings, *, observe: Observer | None = None
    ) -> None:
        self._outbox = Outbox(db)
        self._log = LogChannel()
        self._observe = observe or (lambda _channel, _outcome: None)
        self.channels: dict[str, Channel] = {}
        url = settings.webhook_url.get_secret_value()
        if url:
            self.add(WebhookChannel(url, settings.webhook_timeout))
        self._wake = threading.Condition()
        self._told = 0
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._problems: dict[str, str] = {}
        # What the database did not take; kept here until it does.
        self._aside: deque[tuple[str, str, dict[str, Any]]] = deque(maxlen=_SET_ASIDE)
        self._bringing = threading.Lock()

    def add(self, channel: Channel) -> None:
        """Tell over one channel more; before `start`."""
        self.channels[channel.name] = channel

    @property
    def problem(self) -> str:
        """What is wrong with the channels now; empty while everything is told."""
        return " ".join(text for _, text in sorted(self._problems.items()) if text)

    def start(self) -> None:
        """Begin to deliver; without a channel besides the log there is nothing to do."""
        self._stopping.clear()
        self._threads = [
            threading.Thread(
                target=self._run, args=(name,), name=f"andon-notify-{name}", daemon=True
            )
            for name in self.channels
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what is not told yet is told after the next start."""
        self._stopping.set()
        self._rouse()
        for thread in self._threads:
            thread.join(_STOP_WAIT)
        self._threads = []

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Tell an event; on return it is in the log, and on disk for every other channel.

        Never raises: what is told has happened already. While the database takes nothing, it is
        kept in memory.

        Args:
            event: "alert", "alert_resolved", "approval_needed", "action_done", "rollback", "drill".
            data: As JSON. `severity`, `title`, `message` are what the log shows.
        """
        self._log.say(event, data)
        for name in self.channels:
            try:
                self._outbox.add(None, name, event, data)
            except AndonError as error:
                self._aside.append((name, event, data))
                log.warning(f"A notification waits in memory until the database takes it: {error}")
        self._rouse()

    def tell_with(self, connection: Connection, event: str, data: dict[str, Any]) -> None:
        """Tell an event if the transaction it belongs to is committed.

        Raises:
            AndonError: The database did not take it; the transaction is lost with it.
        """
        for name in self.channels:
            self._outbox.add(connection, name, event, data)

    def told_with(self, event: str, data: dict[str, Any]) -> None:
        """The transaction of `tell_with` was committed: say it in the log, deliver the rest."""
        self._log.say(event, data)
        self._rouse()

    def deliver_once(self, channel: str | None = None) -> int:
        """Deliver what is due, the oldest of each channel; how many were told.

        Args:
            channel: Of this one only; None: of each.

        Raises:
            AndonError: The database cannot be asked.
        """
        self._bring_back()
        names = list(self.channels) if channel is None else [channel]
        done = 0
        for name in names:
            one = self.channels[name]
            hold = one.seconds * 2 + 30.0
            for notification in self._outbox.due(1, channels=[name], hold=hold):
                done += self._deliver(one, notification)
        return done

    def prune(self) -> int:
        """Forget what was told long ago; how many there were."""
        return self._outbox.prune(now() - KEPT)

    def _deliver(self, channel: Channel, notification: Notification) -> bool:
        try:
            channel.deliver(notification)
        except NotDelivered as error:
            self._failed(channel.name, notification, str(error), final=error.final)
            return False
        # One bad entry must not end the channel's thread.
        except Exception as error:
            log.exception(f"The channel {channel.name} failed")
            self._failed(channel.name, notification, type(error).__name__, final=False)
            return False
        self._outbox.sent(notification.id)
        self._observe(channel.name, "sent")
        if self._problems.pop(channel.name, ""):
            log.info(f"{channel.name.capitalize()} works again")
        return True

    def _failed(self, channel: str, notification: Notification, why: str, *, final: bool) -> None:
        old = now() - notification.created_at >= GIVEN_UP_AFTER
        if final or (old and notification.attempts >= _LEAST_TRIES):
            self._outbox.failed(notification.id, why, None)
            self._observe(channel, "given_up")
            reason = "the receiver refuses it" if final else "it could not be told for a day"
            log.error(
                f"{channel.capitalize()}: {notification.event} of "
                f"{notification.created_at:%Y-%m-%d %H:%M} UTC is given up, {reason}: {why}"
            )
            if final:
                return
        else:
            pause = FIRST_WAIT * 2 ** min(notification.attempts - 1, 16)
            self._outbox.failed(notification.id, why, now() + min(pause, LONGEST_WAIT))
            self._observe(channel, "failed")
        text = f"{channel.capitalize()} failed: {why}."
        if self._problems.get(channel) != text:
            # A dead target stays dead for hours: said once, not with every try.
            self._problems[channel] = text
            log.warning(text.rstrip("."))

    def _bring_back(self) -> None:
        """Put what the database did not take into it, now that it may."""
        with self._bringing:
            while self._aside:
                name, event, data = self._aside[0]
                self._outbox.add(None, name, event, data)
                self._aside.popleft()

    def _run(self, channel: str) -> None:
        complaint = ""
        told, pruned = -1, 0.0
        while not self._stopping.is_set():
            with self._wake:
                if told == self._told:
                    self._wake.wait(_POLL)
                told = self._told
            if self._stopping.is_set():
                return
            try:
                while self.deliver_once(channel) and not self._stopping.is_set():
                    pass
                pruned += _POLL
                if pruned >= _PRUNE_EVERY:
                    pruned = 0.0
                    self.prune()
            except AndonError as error:
                # A full disk stays full for hours: said once, not every second.
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning(f"Notifications wait: {error}")
            # A thread that dies silently would leave everybody untold.
            except Exception:
                log.exception("Notifications wait")
            else:
                complaint = ""

    def _rouse(self) -> None:
        with self._wake:
            self._told += 1
            self._wake.notify_all()


def usable(settings: Settings) -> str:
    """What is wrong with the channels that the settings name; empty: nothing."""
    url = settings.webhook_url.get_secret_value()
    if not url:
        return ""
    try:
        WebhookChannel(url, settings.webhook_timeout)
    except ConfigurationError as error:
        return str(error)
    return ""
