"""The database as the doctor may see it: opened read-only, never migrated, never repaired."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    Connection,
    case,
    create_engine,
    func,
    inspect,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from andon.errors import DatabaseDamaged, Unavailable
from andon.store import schema
from andon.store.clock import moment, now
from andon.store.retention import PREDICTIONS
from andon.store.space import Space, space
from andon.store.tables import (
    ModelVersionRow,
    PredictionRow,
    factory_events,
    factory_totals,
    rejected_messages,
    retention,
    training_runs,
)
from andon.store.training_runs import newest_of_each

if TYPE_CHECKING:
    from andon.settings import Settings

_HOUR = 3_600_000_000
_SUMS = ("working", "idle", "absent", "units", "events")


class StoredFile(msgspec.Struct, frozen=True):
    """What the database says of one version's file."""

    model: str
    version: int
    format: str
    file_hash: str
    file_size: int
    is_active: bool
    damaged: str


class Kept(msgspec.Struct, frozen=True):
    """What the database holds of the past.

    Attributes:
        first: When the oldest prediction was given; None without any.
        since: From when on predictions without a label are there; None: all of them.
    """

    space: Space
    first: datetime | None
    since: datetime | None


class Reader:
    """Questions of the doctor to one open database."""

    def __init__(self, connection: Connection, where: str) -> None:
        self._connection = connection
        self._where = where

    def newest_trainings(self) -> list[tuple[str, str, str, str]]:
        """Model, id, status and error of the newest finished training of each model."""
        if not inspect(self._connection).has_table("training_runs"):
            return []
        newest = newest_of_each(training_runs.c.finished_at.is_not(None))
        found = self._connection.execute(newest)
        return [(one[0], one[1], one[2], one[3]) for one in found]

    def integrity(self) -> str:
        """What SQLite finds wrong with its file; empty when it is sound, or on PostgreSQL."""
        if self._connection.dialect.name != "sqlite":
            return ""
        found = self._connection.execute(text("PRAGMA quick_check(3)")).scalars().all()
        return "" if list(found) == ["ok"] else "; ".join(str(line) for line in found)

    def is_newest(self) -> bool:
        """Whether the schema is the one this version of Andon works with.

        Raises:
            DatabaseDamaged: The tables are another program's.
            ConfigurationError: A newer Andon made them.
        """
        return schema.is_newest(self._connection, self._where)

    def versions(self) -> list[StoredFile]:
        """Every version that is not deleted; none before the first migration."""
        if not inspect(self._connection).has_table("model_versions"):
            return []
        row = ModelVersionRow
        found = self._connection.execute(
            select(
                row.model_name,
                row.version,
                row.format,
                row.file_hash,
                row.file_size,
                row.is_active,
                row.damaged,
            )
            .where(row.deleted_at.is_(None))
            .order_by(row.model_name, row.version)
        )
        return [StoredFile(*values) for values in found]

    def newest_prediction(self) -> datetime | None:
        """When the newest answer was logged."""
        if not inspect(self._connection).has_table("predictions"):
            return None
        newest: Any = self._connection.execute(select(func.max(PredictionRow.created_at))).scalar()
        return newest if isinstance(newest, datetime) else None

    def kept(self) -> Kept | None:
        """How large it is and since when; None before the first migration."""
        known = inspect(self._connection)
        if not known.has_table("predictions"):
            return None
        before = None
        if known.has_table("retention"):
            before = self._connection.scalar(
                select(retention.c.before).where(retention.c.name == PREDICTIONS)
            )
        return Kept(
            space(self._connection),
            self._connection.scalar(select(func.min(PredictionRow.created_at))),
            moment(before) if before else None,
        )

    def has_floor(self) -> bool:
        """Whether the tables of the floor are there yet."""
        return inspect(self._connection).has_table("factory_totals")

    def rejected_lately(self) -> tuple[int, str, str] | None:
        """How many MQTT messages were kept aside within a day; topic and reason of the newest."""
        row = rejected_messages.c
        found = self._connection.execute(
            select(func.count().over(), row.topic, row.reason)
            .where(row.received_at > now() - timedelta(days=1))
            .order_by(row.id.desc())
            .limit(1)
        ).first()
        return None if found is None else (found[0], found[1], found[2])

    def floor_sums_that_differ(self) -> list[str]:
        """What of the day before the newest factory event is not the sum of its events."""
        events, totals = factory_events.c, factory_totals.c
        newest = self._connection.scalar(
            select(func.max(events.timestamp)).where(events.retracted.is_(None))
        )
        if newest is None:
            return []
        end = newest - newest % _HOUR + _HOUR
        start = end - 24 * _HOUR
        kept = [func.coalesce(func.sum(totals[name]), 0) for name in _SUMS]
        lasts = case((events.until < end, events.until), else_=end) - case(
            (events.timestamp > start, events.timestamp), else_=start
        )
        inside = events.timestamp >= start
        right = [func.sum(case((events.event_type == name, lasts), else_=0)) for name in _SUMS[:3]]
        right += [
            func.sum(case((inside, events["count"]), else_=0)),
            func.sum(case((inside, 1), else_=0)),
        ]
        # One statement: events may arrive meanwhile.
        found: Any = self._connection.execute(
            union_all(
                select(literal(0).label("place"), *kept).where(
                    totals.width == 3600, totals.start >= start, totals.start < end
                ),
                select(literal(1), *right).where(
                    events.retracted.is_(None),
                    # No state lasts longer than a day: the setting has that limit.
                    events.timestamp >= start - 24 * _HOUR,
                    events.timestamp < end,
                    inside | (events.until > start),
                ),
            )
        ).all()
        (_, *stored), (_, *counted) = sorted(found, key=lambda row: row[0])
        return [
            f"{name} is {was} instead of {should}"
            for name, was, should in zip(_SUMS, stored, counted, strict=True)
            if int(was) != int(should or 0)
        ]


@contextmanager
def reading(settings: "Settings") -> Iterator[Reader]:
    """The database of these settings, read-only.

    Raises:
        DatabaseDamaged: The SQLite file is not a database or cannot be read.
        Unavailable: The PostgreSQL server cannot be reached.
    """
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite" and url.database:
        engine = create_engine(f"sqlite:///file:{url.database}?mode=ro&uri=true")
    else:
        engine = create_engine(url, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            yield Reader(connection, shown(settings))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        if engine.dialect.name == "sqlite":
            raise DatabaseDamaged(
                f"{url.database} cannot be read as Andon's database: {reason}.",
                hint="Keep the file; move it aside or restore a backup. Andon never overwrites it.",
            ) from error
        raise Unavailable(
            f"The database {shown(settings)} cannot be reached: {reason}.",
            hint="Check ANDON_DATABASE_URL, that the server runs, and the password.",
        ) from error
    finally:
        engine.dispose()


def shown(settings: "Settings") -> str:
    """The database's address for people, without its password."""
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)
