"""Alembic's entry: runs the migrations on the connection, and in the transaction, of `b3lb.db.migrate`."""

from __future__ import annotations

from alembic import context

from b3lb.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=False
)
context.run_migrations()
