"""Alembic's environment and the migrations; needed by `b3lb.db.migrate` only."""
