"""What every test gets: no network beyond this machine, no settings of this machine.

Warnings are errors (`[tool.pytest.ini_options]`). A test that needs a real server asks
`tests.support.policy` what to do where there is none.
"""

import gc
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import hypothesis
import pytest
from sqlalchemy import Connection

from andon.settings import Settings
from andon.store import schema
from andon.store.connections import Connections

_LOCAL = {"127.0.0.1", "::1", "localhost", "testserver", "", None}


# Every run draws other examples: fewer of them keep the suite short, and many runs see many.
hypothesis.settings.register_profile("andon", max_examples=50)
hypothesis.settings.load_profile("andon")


def _settings_names() -> set[str]:
    """Every environment variable the settings read, in upper case."""
    names = set()
    for field, info in Settings.model_fields.items():
        names.add(f"ANDON_{field.upper()}")
        choices = getattr(info.validation_alias, "choices", [])
        names.update(str(choice).upper() for choice in choices)
    return names


def pytest_collection_finish() -> None:
    """What the modules and the tests are stays to the end: nobody searches it for garbage.

    Looking through six thousand tests again and again took a fifth of the processor's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What a library leaves to the garbage collector warns where that was allowed, not later."""
    allowed = item.get_closest_marker("filterwarnings")
    if allowed and not (nextitem and nextitem.get_closest_marker("filterwarnings")):
        gc.collect()


@pytest.fixture(autouse=True, scope="session")
def a_clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of the developer's shell reaches a test, and no test reaches ~/.andon."""
    patch = pytest.MonkeyPatch()
    names = _settings_names()
    for name in list(os.environ):
        if name.upper() in names:
            patch.delenv(name)
    patch.setenv("ANDON_HOME", str(tmp_path_factory.mktemp("andon-home")))
    patch.setenv("NO_COLOR", "1")
    patch.setenv("COLUMNS", "120")
    # Where MLflow is installed it would be started with every training. Its own tests turn it on.
    patch.setenv("ANDON_MLFLOW_TRACKING_URI", "off")
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def migrated_at_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new SQLite file gets what the migrations left in another one.

    They run once here, and for real in `tests/store/test_schema.py` and in every process that
    a test starts; running them for each of a thousand databases would take a minute.
    """
    path = tmp_path_factory.mktemp("migrated") / "andon.db"
    Connections(path).close()
    with closing(sqlite3.connect(path)) as made:
        script = [line for line in made.iterdump() if line not in {"BEGIN TRANSACTION;", "COMMIT;"}]
    migrate = schema.upgrade

    def upgrade(connection: Connection) -> None:
        found = connection.exec_driver_sql
        if connection.dialect.name != "sqlite" or found("SELECT 1 FROM sqlite_master").first():
            migrate(connection)
            return
        for line in script:
            found(line)

    patch = pytest.MonkeyPatch()
    patch.setattr(schema, "upgrade", upgrade)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def only_this_machine() -> Iterator[None]:
    """A connection or look-up that would leave this machine fails at once, with its address."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in _LOCAL:
            raise ConnectionRefusedError(f"A test tried to reach {address[0]}:{address[1]}.")
        return connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in _LOCAL:
            raise socket.gaierror(f"A test tried to look up {name}.")
        return look_up(host, *args, **kwargs)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield
    patch.undo()
