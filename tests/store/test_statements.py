"""The same SQL on both databases, with many rows in few statements."""

import pytest
from sqlalchemy import Connection

from andon.store.database import Database
from andon.store.statements import Statements

_ADD = (
    "INSERT INTO factory_totals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (width, start, worker_id, workstation_id) "
    "DO UPDATE SET units = factory_totals.units + excluded.units"
)


def _units(connection: Connection) -> list[tuple[int, int]]:
    sql = "SELECT start % ?, units FROM factory_totals WHERE width = ? ORDER BY start"
    return [tuple(row) for row in Statements(connection).rows(sql, (1000, 3600))]


@pytest.mark.parametrize("count", [0, 1, 3, 49, 50, 1234])
def test_every_row_is_inserted_once_in_order(db: Database, count: int):
    """However many there are; on a conflict the rest of the statement counts."""
    rows = [(3600, start, "W1", "S1", 0, 0, 0, start, 1) for start in range(count)]
    with db.write() as connection:
        statements = Statements(connection)
        statements.many(_ADD, rows)
        statements.many(_ADD, rows[:1])
        found = _units(connection)
    assert found == [(start % 1000, start) for start in range(count)]


def test_other_statements_run_for_every_row(db: Database):
    """An UPDATE, for instance."""
    rows = [(3600, start, "W1", "S1", 0, 0, 0, 0, 1) for start in range(5)]
    with db.write() as connection:
        statements = Statements(connection)
        statements.many(_ADD, rows)
        changes = [(start * 2, start) for start in range(5)]
        statements.many("UPDATE factory_totals SET units = ? WHERE start = ?", changes)
        assert _units(connection) == [(start, start * 2) for start in range(5)]
        assert statements.run("DELETE FROM factory_totals WHERE start > ?", (2,)) == 2
        assert statements.first("SELECT start FROM factory_totals WHERE start > ?", (5,)) is None
        assert tuple(statements.first("SELECT max(start) FROM factory_totals")) == (2,)


def test_few_statements_are_enough_for_many_rows(sqlite_db: Database):
    """With each one other threads may take Python's lock."""
    rows = [(3600, start, "W1", "S1", 0, 0, 0, 0, 1) for start in range(500)]
    seen: list[str] = []
    with sqlite_db.write() as connection:
        bare = connection.connection.driver_connection
        assert bare is not None
        bare.set_trace_callback(seen.append)
        Statements(connection).many(_ADD, rows)
        bare.set_trace_callback(None)
    assert len(seen) == 1
