"""Does something at the times of a cron expression, each due time once, late rather than never.

What was last due stands in the database: a time that passed while no server ran is made up for
once at the next start, of several servers one goes on, and a clock that jumps back makes nothing
happen twice.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from cronsim import CronSim, CronSimError

from andon.errors import ConfigurationError
from andon.store.clock import now
from andon.store.database import Database
from andon.store.schedules import ScheduleState

log = structlog.get_logger("andon.jobs")

# Somebody looks every few seconds; what is later than this was due while nobody did.
_LATE = timedelta(minutes=3)

_SECOND = timedelta(seconds=1)
# A clock is set back by this much now and then; by more, it was wrong before.
_SET_BACK = timedelta(hours=1)
_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")


class Schedule:
    """One thing to do again and again.

    Args:
        db: Knows what was last due.
        name: Of the schedule, there.
        cron: Minute, hour, day of month, month, day of week; UTC. Empty: never.
        work: Called with the due time, perhaps twice with the same after a crash: it must make
            nothing happen twice. What it raises is told by whoever called `tick`; the next
            tick tries again.
        setting: Where the expression stands, for people.
    """

    def __init__(
        self,
        db: Database,
        name: str,
        cron: str,
        work: Callable[[datetime], object],
        *,
        setting: str,
    ) -> None:
        self._db = db
        self.name = name
        self.cron = " ".join(cron.split())
        self._work = work
        self._setting = setting

    def check(self) -> None:
        """Refuse an expression that cannot be used, before anything depends on it.

        Raises:
            ConfigurationError: It cannot be read, or no time ever fits it.
        """
        check(self.cron, self._setting)

    def next_due(self) -> datetime | None:
        """The next time, or None where there is none."""
        return next(CronSim(self.cron, now())) if self.cron else None

    def state(self) -> ScheduleState | None:
        """What was last due; None before the first tick."""
        return self._db.schedules.get(self.name)

    def tick(self) -> bool:
        """Act on the newest due time, if it was not acted on; whether this call did.

        Raises:
            AndonError: The database cannot be asked, or `work` could not be done.
        """
        if not self.cron:
            return False
        present = now()
        state = self._db.schedules.get(self.name)
        if state is None:
            self._db.schedules.set_up(self.name, self.cron, present)
            return False
        if state.cron != self.cron or state.last_due_at > present + _SET_BACK:
            # Times of another expression, or of a clock that was wrong, are not made up for.
            self._db.schedules.advance(state, self.cron, present)
            return False
        # The one before the second that comes: that is the present one, and none to come.
        due = next(CronSim(self.cron, present.replace(microsecond=0) + _SECOND, reverse=True))
        if due <= state.last_due_at:
            return False
        if present - due > _LATE:
            log.warning(f"The schedule {self.name} was due at {due:%Y-%m-%d %H:%M} UTC; done now")
        # First the work, which may be done twice, then the note: a crash between loses nothing.
        self._work(due)
        return self._db.schedules.advance(state, self.cron, due)


def check(cron: str, setting: str) -> None:
    """Refuse an expression that no time fits; an empty one means never.

    Args:
        cron: The expression.
        setting: Where it stands, for people.

    Raises:
        ConfigurationError: It cannot be read, or no time ever fits it; the field is named.
    """
    parts = cron.split()
    if not parts:
        return
    try:
        if len(parts) != len(_FIELDS):
            raise CronSimError(f"it has {len(parts)} fields instead of {len(_FIELDS)}")
        next(CronSim(cron, now()))
    except CronSimError as error:
        what = str(error)
        field = what.removeprefix("Bad ")
        if field in _FIELDS:
            what = f"the {field}, {parts[_FIELDS.index(field)]!r}, is none"
        raise ConfigurationError(
            f"{setting} is not a cron expression: {what}.",
            hint="Write minute, hour, day of month, month and day of week: 0 2 * * 0 is every "
            "Sunday at 02:00 UTC.",
        ) from error
    except StopIteration:
        raise ConfigurationError(
            f"{setting}: no time ever fits {cron!r}.",
            hint="Look at its day of month and its month; 0 2 * * 0 is every Sunday at 02:00 UTC.",
        ) from None
