"""The store's databases, fresh and real, for the tests of leases too."""

from tests.store.conftest import (  # noqa: F401 - pytest finds fixtures by their name here
    migrated_file,
    migrated_schema,
    postgres_db,
    postgres_server,
    postgres_url,
    sqlite_db,
    sqlite_path,
)
