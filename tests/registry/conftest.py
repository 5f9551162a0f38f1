"""A registry on a fresh database and folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from andon.registry.intake import Received
from andon.registry.registry import ModelRegistry
from andon.store.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """An open database on a fresh SQLite file."""
    opened = Database(tmp_path / "andon.db")
    yield opened
    opened.close()


@pytest.fixture
def registry(db: Database, tmp_path: Path) -> ModelRegistry:
    """A registry whose folder is not there yet."""
    return ModelRegistry(db, tmp_path / "models")


@pytest.fixture
def receive(registry: ModelRegistry) -> Callable[[bytes], Received]:
    """Receives a file with the given content."""

    def receive_content(content: bytes) -> Received:
        with registry.receive() as incoming:
            incoming.write(content)
            return incoming.finish()

    return receive_content
