"""A database of the release before watching is brought up to date, and nothing is lost."""

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from andon.store import schema
from andon.store.database import Database

_BEFORE = "2026_11_21_0800"
_MOMENT = "2026-11-20T12:00:00.000000+00:00"


def old_database(url: str) -> None:
    """One of the release before, with a version that serves, answers and history."""
    engine = create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(schema.MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, _BEFORE)
    engine.dispose()


def fill(db_url: str) -> dict[str, int]:
    """Rows in the tables that are altered, with whatever columns must be given; how many."""
    engine = create_engine(db_url)
    with engine.begin() as connection:
        from sqlalchemy import MetaData

        known = MetaData()
        known.reflect(connection)
        values = {
            "registered_models": [{"name": "pcb"}],
            "model_versions": [
                {"id": 1, "model_name": "pcb", "version": 1, "is_active": True,
                 "status": "production", "filename": "m.onnx", "file_hash": "ab" * 32},
                {"id": 2, "model_name": "pcb", "version": 2, "is_active": False,
                 "status": "archived", "filename": "n.onnx", "file_hash": "cd" * 32},
            ],
            "predictions": [
                {"id": f"01a1fdf2-ca0d-7fb3-8144-178a0b14b{number:03d}", "model_id": 1,
                 "status": "success", "role": "active", "source": "api"}
                for number in range(50)
            ],
            "deployment_events": [
                {"model_name": "pcb", "model_version": 1, "event_type": "ACTIVATE"}
            ],
        }  # fmt: skip
        for name, rows in values.items():
            table = known.tables[name]
            for row in rows:
                connection.execute(table.insert().values({**_needed(table), **row}))
    engine.dispose()
    return {name: len(rows) for name, rows in values.items()}


def _needed(table) -> dict[str, object]:
    """Something for every column that must be given and has no default."""
    found: dict[str, object] = {}
    for column in table.columns:
        if column.nullable or column.server_default is not None or column.name == "id":
            continue
        kind = str(column.type).upper()
        if column.name.endswith(("_at", "timestamp")):
            found[column.name] = _MOMENT
        elif "INT" in kind or "FLOAT" in kind or "DOUBLE" in kind or "REAL" in kind:
            found[column.name] = 0
        elif "BOOL" in kind:
            found[column.name] = False
        elif "JSON" in kind:
            found[column.name] = {}
        else:
            found[column.name] = ""
    return found


def checked(url: str, counts: dict[str, int]) -> None:
    """Open it with this release; everything is there, and the new tables work."""
    db = Database(url)
    try:
        with db.read() as connection:
            for name, count in counts.items():
                query = text(f"SELECT count(*) FROM {name}")
                assert connection.scalar(query) == count
        active = db.models.active("pcb")
        assert active is not None
        assert (active.version, active.threshold) == (1, None)
        rows = db.windows.newest(active.id, 100, columns=("camera", "camera_state", "image_stats"))
        assert len(rows) == counts["predictions"]
        assert {row.camera for row in rows} == {None}
        assert db.events.page(model="pcb")[0][0].action_id is None
        db.alerts.see("pcb:x", alert_type="system", severity="warning", title="t", message="m")
        db.watch_state.put("newest", {})
    finally:
        db.close()


def test_an_sqlite_file_of_the_release_before(tmp_path: Path):
    """Upgraded when it is opened, and opened again."""
    path = tmp_path / "andon.db"
    old_database(f"sqlite:///{path}")
    counts = fill(f"sqlite:///{path}")
    checked(str(path), counts)
    bare = sqlite3.connect(path)
    assert bare.execute("PRAGMA foreign_key_check").fetchall() == []
    bare.close()
    Database(path).close()


def test_a_postgresql_schema_of_the_release_before(empty_schema: str):
    """The same."""
    old_database(empty_schema)
    checked(empty_schema, fill(empty_schema))
