"""Task runs that are enqueued and released, and how much of each queue's rate is spent."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring schema version 5 to version 6; programs of older versions go on working."""
    _extend_task_runs()
    _create_release_rates()


def _extend_task_runs() -> None:
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("enqueued", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=True, comment="0 to 9; absent: the queue's"),
        sa.Column("tenant", sa.Text(), nullable=True, comment="whose share of the queue the run is"),
        sa.Column("not_before", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("released_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("in_flight", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("job_uid", sa.Text(), nullable=True, comment="of the attempt's Job, once it is known to exist"),
    )
    for column in columns:
        op.add_column("task_runs", column)
    op.create_check_constraint(op.f("task_runs_priority_check"), "task_runs", "priority between 0 and 9")
    op.create_check_constraint(op.f("task_runs_in_flight_check"), "task_runs", "enqueued or not in_flight")
    op.create_index(
        "task_runs_enqueued_idx",
        "task_runs",
        ["namespace", "queue"],
        postgresql_where=sa.text("enqueued and (finished_at is null or in_flight)"),
    )


def _create_release_rates() -> None:
    op.create_table(
        "release_rates",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("spent_until", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "queue", name=op.f("release_rates_pkey")),
    )
