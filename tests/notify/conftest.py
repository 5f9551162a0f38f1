"""The store's databases, and a receiver of webhooks, for the tests of telling people."""

from collections.abc import Iterator

import pytest
from tests.store.conftest import (  # noqa: F401 - pytest finds fixtures by their name here
    db,
    migrated_file,
    migrated_schema,
    postgres_db,
    postgres_server,
    postgres_url,
    sqlite_db,
    sqlite_path,
)
from tests.support.hooks import Hooks


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    """A receiver that takes everything, until it is told otherwise."""
    found = Hooks()
    yield found
    found.stop()
