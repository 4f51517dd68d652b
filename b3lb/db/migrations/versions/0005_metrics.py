"""Counters that outlive the rows they count: task runs by state, and durations of ticks and polls by bucket."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ENTERED = """
    INSERT INTO task_totals (namespace, queue, task, state, runs)
    SELECT entered.namespace, entered.queue, entered.task, entered.state, count(*) FROM entered {}
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (namespace, queue, task, state) DO UPDATE SET runs = task_totals.runs + excluded.runs;
"""
_FUNCTION = f"""
CREATE FUNCTION count_task_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    {_ENTERED.format("")}
  ELSE
    {_ENTERED.format("JOIN before ON before.id = entered.id AND before.state <> entered.state")}
  END IF;
  RETURN NULL;
END
$$
"""


def upgrade() -> None:
    """Bring schema version 4 to version 5; programs of older versions go on working, and their runs count, too."""
    for counts in ("runtime_counts", "poll_counts"):
        op.add_column(
            "heartbeats",
            sa.Column(counts, postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        )
    for seconds in ("runtime_seconds", "poll_seconds"):
        op.add_column("heartbeats", sa.Column(seconds, sa.Double(), server_default=sa.text("0"), nullable=False))
    op.create_table(
        "task_totals",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "queue", "task", "state", name=op.f("task_totals_pkey")),
    )
    op.execute(
        "INSERT INTO task_totals SELECT namespace, queue, task, state, count(*) FROM task_runs GROUP BY 1, 2, 3, 4"
    )
    op.execute(_FUNCTION)
    op.execute(
        "CREATE TRIGGER task_runs_count_inserted AFTER INSERT ON task_runs"
        " REFERENCING NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION count_task_runs()"
    )
    op.execute(
        "CREATE TRIGGER task_runs_count_updated AFTER UPDATE ON task_runs"
        " REFERENCING OLD TABLE AS before NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION count_task_runs()"
    )
