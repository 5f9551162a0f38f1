"""Which feed of events has fallen silent.

A feed is a camera of the floor (where its events name one, else the worker it watches), a device
that sends eye telemetry, or a camera whose pictures are sent to a model. One that has reported
regularly and then sends nothing for ten times its usual gap is stale. When everything falls
silent at once that is a planned stop, or the network, and is told as one thing.

What is remembered between looks is only what the log holds: after a restart it is read again.
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Table, select

from andon.monitoring.signals import Issue, Signal, State
from andon.settings import Settings
from andon.store import clock
from andon.store.database import Database
from andon.store.tables import drowsiness_events, factory_events
from andon.store.windows import Windows, time_of

QUIET_SECONDS = 600.0
"""No feed is stale before it was silent for so long."""

TIMES_THE_GAP = 10.0
"""Multiple of the usual gap; usual is what nine of ten gaps are not longer than."""

REPORTS_NEEDED = 20
"""Events before a feed counts as regular."""

HEARD_SECONDS = 1200.0
"""Time over which they must have come: a burst by hand is no rhythm."""

_KEPT = 64
_READ = 5_000
_MICROS = 1_000_000
# Feeds that fell silent within so long of each other fell silent at once, seconds.
_AT_ONCE = 600.0
_FEWEST_AT_ONCE = 2
# One that has been silent for a week was taken down.
_FORGOTTEN = 7 * 86_400.0
# What people and files send has no rhythm.
_BY_HAND = frozenset({"batch", "cli", "demo", "dashboard", "job", "python", "compare", "replay"})
_ABSENT = "absent"
# Names come from outside and without end; those that were silent longest are forgotten.
_MOST_FEEDS = 5_000


class Feed(msgspec.Struct):
    """One feed: when its newest events came, seconds since 1970, oldest first, and the first."""

    times: "deque[float]"
    site: str
    ended: bool = False
    first: float = 0.0

    @property
    def regular(self) -> bool:
        """Whether it has a rhythm that is known."""
        heard = self.times[-1] - self.first
        return len(self.times) >= REPORTS_NEEDED and heard >= HEARD_SECONDS and not self.ended

    @property
    def gap(self) -> float:
        """Its usual gap, seconds."""
        return float(np.percentile(np.diff(np.array(self.times)), 90))

    @property
    def patience(self) -> float:
        """How long it may be silent, seconds."""
        return max(QUIET_SECONDS, TIMES_THE_GAP * self.gap)


class FeedDetector:
    """Says which feeds are stale.

    Args:
        db: The logs.
        settings: For the name of the site.
    """

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._windows = Windows(db)
        self._site = settings.site
        self._feeds: dict[str, Feed] = {}
        self._seen = {"factory": 0, "telemetry": 0}
        self._picture = ""

    def look_feeds(self, moment: datetime) -> list[Signal]:
        """One signal, named "stale_feed", for each feed that is regular; one for a whole stop.

        Args:
            moment: Now, UTC.
        """
        self._read()
        self._forget()
        present = moment.timestamp()
        regular = {
            name: feed
            for name, feed in sorted(self._feeds.items())
            if feed.regular and present - feed.times[-1] < _FORGOTTEN
        }
        silent = {
            name: feed for name, feed in regular.items() if present - feed.times[-1] > feed.patience
        }
        stopped = self._stop(regular, silent)
        if stopped is not None:
            return [stopped]
        return [_signal(name, feed, present, bad=name in silent) for name, feed in regular.items()]

    def _stop(self, regular: dict[str, Feed], silent: dict[str, Feed]) -> Signal | None:
        """One signal for a site whose feeds all fell silent at once."""
        if len(silent) < _FEWEST_AT_ONCE or len(silent) < len(regular):
            return None
        last = [feed.times[-1] for feed in silent.values()]
        if max(last) - min(last) > _AT_ONCE:
            return None
        since = _time(max(last))
        return Signal(
            name="stale_feed",
            issue=Issue.DATA_QUALITY,
            state=State.BAD,
            summary=f"All {len(silent)} feeds of site {self._site} have sent nothing since "
            f"{since:%Y-%m-%d %H:%M} UTC: a planned stop, or the network.",
            severity="info",
            subject=f"site {self._site}",
            count=len(silent),
            since=since,
            evidence={"feeds": sorted(silent)},
        )

    def _read(self) -> None:
        """What came since the last look."""
        for row in self._new("factory", factory_events, "camera_id", "worker_id", "event_type"):
            name = f"camera {row.camera_id}" if row.camera_id else f"worker {row.worker_id}"
            # A worker who left sends nothing more, and should not.
            ended = not row.camera_id and row.event_type == _ABSENT
            self._add(name, row.received / _MICROS, row.site_id, ended=ended)
        for row in self._new("telemetry", drowsiness_events, "device_id", "driver_id"):
            if row.device_id or row.driver_id:
                name = f"device {row.device_id}" if row.device_id else f"driver {row.driver_id}"
                self._add(name, row.received / _MICROS, row.site_id)
        pictures = self._windows.cameras(self._picture, _READ)
        for row in reversed(pictures):
            moment = time_of(row.id)
            if row.camera and row.source not in _BY_HAND and moment is not None:
                self._add(f"pictures of {row.camera}", moment.timestamp(), self._site)
        if pictures:
            self._picture = pictures[0].id

    def _forget(self) -> None:
        """Keep no more than can be looked at."""
        if len(self._feeds) <= _MOST_FEEDS:
            return
        newest = sorted(self._feeds.items(), key=lambda item: -item[1].times[-1])
        self._feeds = dict(newest[:_MOST_FEEDS])

    def _new(self, kind: str, table: Table, *columns: str) -> Iterable[Any]:
        """The rows of a log that came since the last look, oldest first."""
        query = (
            select(
                table.c.id,
                table.c.received,
                table.c.site_id,
                table.c.source,
                *(table.c[name] for name in columns),
            )
            .where(table.c.id > self._seen[kind])
            .order_by(table.c.id.desc())
            .limit(_READ)
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        if rows:
            self._seen[kind] = rows[0].id
        return [row for row in reversed(rows) if row.source not in _BY_HAND]

    def _add(self, name: str, moment: float, site: str, *, ended: bool = False) -> None:
        feed = self._feeds.get(name)
        if feed is None:
            feed = self._feeds[name] = Feed(deque(maxlen=_KEPT), site, first=moment)
        feed.ended = ended
        # A clock that was set back gives no negative gaps.
        feed.times.append(max(moment, feed.times[-1]) if feed.times else moment)


def _signal(name: str, feed: Feed, present: float, *, bad: bool) -> Signal:
    last = _time(feed.times[-1])
    quiet = max(0.0, present - feed.times[-1])
    usual = f"it usually sends at least every {_span(feed.gap)}"
    return Signal(
        name="stale_feed",
        issue=Issue.DATA_QUALITY,
        state=State.BAD if bad else State.OK,
        summary=f"The feed {name} has sent nothing for {_span(quiet)}, since "
        f"{last:%Y-%m-%d %H:%M} UTC; {usual}."
        if bad
        else f"The feed {name} last sent something {_span(quiet)} ago; {usual}.",
        subject=name,
        value=quiet,
        threshold=feed.patience,
        baseline=feed.gap,
        count=len(feed.times),
        needed=REPORTS_NEEDED,
        since=last,
    )


def _time(seconds: float) -> datetime:
    return clock.moment(int(seconds * _MICROS))


def _span(seconds: float) -> str:
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
