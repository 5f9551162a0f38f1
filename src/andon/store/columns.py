"""What the tables are made of: JSON and UTC times on both databases, and named constraints."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Dialect, MetaData, String, TypeDecorator


class Json(TypeDecorator[Any]):
    """JSON: `jsonb` on PostgreSQL, text on SQLite.

    Python's None is SQL's NULL: a JSON 'null' would be a third kind of nothing.
    """

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column type of this database."""
        if dialect.name == "postgresql":
            # The dialect takes 3 MB, which a box with SQLite need not pay.
            from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415

            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))


class Timestamp(TypeDecorator[datetime]):
    """UTC time: `timestamptz` on PostgreSQL, ISO 8601 text with `Z` on SQLite.

    Text keeps raw SQL readable (`sqlite3 andon.db`) and sorts by time.
    """

    impl = String(32)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """The column type of this database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(32))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive times: a guess about the zone would be wrong silently."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored; give it a UTC offset")
        if dialect.name == "postgresql":
            return value
        return iso(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> datetime | None:
        """Always an aware UTC `datetime`."""
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return value.astimezone(UTC) if isinstance(value, datetime) else None


def iso(value: datetime) -> str:
    """ISO 8601 in UTC with microseconds and `Z`: fixed width, so text order is time order."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


# Every constraint has a name, so that migrations can address it.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def must(name: str, kind: Any, *more: Any, **options: Any) -> Column[Any]:
    """A column that always has a value."""
    return Column(name, kind, *more, nullable=False, **options)


def may(name: str, kind: Any, *more: Any) -> Column[Any]:
    """A column that may be empty."""
    return Column(name, kind, *more, nullable=True)
