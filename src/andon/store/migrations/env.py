"""Alembic's entry: runs the migrations on the connection `store/schema.py` hands over.

The caller holds the transaction and the lock; a migration either happens whole or not.
"""

from alembic import context

from andon.store import schema, tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    version_table=schema.VERSION_TABLE,
    # SQLite alters a table by building it anew.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
