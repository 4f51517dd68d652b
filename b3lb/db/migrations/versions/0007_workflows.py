"""Runs that are steps of a workflow, runs that share a Job, and how far a run has come."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring schema version 6 to version 7; programs of older versions go on working and see no steps that wait."""
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("workflow", sa.Text(), nullable=True, comment="of steps: chain, group or chunks"),
        sa.Column("steps", sa.Integer(), nullable=True, comment="of a workflow: how many it has"),
        sa.Column("parent", sa.Uuid(), nullable=True, comment="the workflow that the run is a step of"),
        sa.Column("place", sa.Integer(), nullable=True, comment="among the steps, from 0"),
        sa.Column("receives", sa.Text(), nullable=True, comment="argument that gets the result of the step before"),
        sa.Column("job_name", sa.Text(), nullable=True, comment="of the Job, where other runs share it"),
        sa.Column("progress_percent", sa.Double(), nullable=True),
        sa.Column("progress_message", sa.Text(), nullable=True),
    )
    for column in columns:
        op.add_column("task_runs", column)
    op.create_check_constraint(
        op.f("task_runs_workflow_check"), "task_runs", "workflow in ('chain', 'group', 'chunks')"
    )
    op.create_check_constraint(op.f("task_runs_place_check"), "task_runs", "(parent is null) = (place is null)")
    op.create_index(
        "task_runs_steps_idx",
        "task_runs",
        ["parent", "place"],
        unique=True,
        postgresql_where=sa.text("parent is not null"),
    )
    op.create_index(
        "task_runs_workflows_idx",
        "task_runs",
        ["namespace"],
        postgresql_where=sa.text("workflow is not null and finished_at is null"),
    )
