"""Real databases for the store's tests: a fresh SQLite file, and a real PostgreSQL server.

PostgreSQL is found at `ANDON_TEST_POSTGRES_URL`, else at the usual local socket; each run uses
a schema of its own. Without a server its tests are skipped, and fail where CI promises one.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from tests.support.policy import absent

from andon.store.database import Database
from andon.store.tables import metadata

_EMPTY = "; ".join(
    [
        "SET LOCAL synchronous_commit = off",
        *(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)),
    ]
)
_LOCAL = "postgresql+psycopg://root@/test?host=/var/run/postgresql"


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the newest schema, to be copied: migrating takes a moment."""
    path = tmp_path_factory.mktemp("migrated") / "andon.db"
    Database(path).close()
    return path


@pytest.fixture
def sqlite_path(migrated_file: Path, tmp_path: Path) -> Path:
    """A fresh SQLite file with the newest schema."""
    return Path(shutil.copy(migrated_file, tmp_path / "andon.db"))


@pytest.fixture
def sqlite_db(sqlite_path: Path) -> Iterator[Database]:
    """An open database on a fresh SQLite file."""
    db = Database(sqlite_path)
    yield db
    db.close()


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The URL of a PostgreSQL server that answers."""
    url = os.environ.get("ANDON_TEST_POSTGRES_URL", _LOCAL)
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except Exception as error:
        absent(f"no PostgreSQL server at {url} ({str(error).splitlines()[0]})")
    finally:
        engine.dispose()
    return url


@pytest.fixture(scope="session")
def migrated_schema(postgres_server: str) -> Iterator[str]:
    """The URL of a PostgreSQL schema of this run, brought to the newest version."""
    yield from _schema(postgres_server, migrate=True)


@pytest.fixture
def empty_schema(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL schema."""
    yield from _schema(postgres_server, migrate=False)


@pytest.fixture
def postgres_url(migrated_schema: str) -> str:
    """The URL of a PostgreSQL schema with empty tables."""
    # Bare, in one message: SQLAlchemy would ask ten things before the first. TRUNCATE would make
    # new files for every table and index, and flush them.
    plain = make_url(migrated_schema).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False)) as connection:
        connection.execute(_EMPTY)
    return migrated_schema


@pytest.fixture
def postgres_db(postgres_url: str) -> Iterator[Database]:
    """An open database on a PostgreSQL server, with empty tables."""
    db = Database(postgres_url)
    yield db
    db.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def db(request: pytest.FixtureRequest) -> Database:
    """An open, empty database: every test that uses it runs on SQLite and on PostgreSQL."""
    found: Database = request.getfixturevalue(f"{request.param}_db")
    return found


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def where(request: pytest.FixtureRequest) -> str:
    """Path or URL of an empty database, for tests that open it more than once."""
    name = "sqlite_path" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


def _schema(server: str, *, migrate: bool) -> Iterator[str]:
    name = f"andon_test_{uuid4().hex[:12]}"
    url = make_url(server).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    inside = url.update_query_dict({"options": f"-csearch_path={name}"})
    inside_url = inside.render_as_string(hide_password=False)
    if migrate:
        Database(inside_url).close()
    yield inside_url
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own, so that a disk can really be full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
