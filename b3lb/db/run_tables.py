"""The tables of the work that is done: leases, heartbeats, task runs and what is counted of them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.columns import integer, timestamp
from b3lb.db.metadata import metadata

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    timestamp("expires_at"),
)

heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("task", sa.Text, primary_key=True),
    timestamp("tick_at"),
    timestamp("started_at"),
    timestamp("finished_at"),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("summary", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("runtime_counts", postgresql.ARRAY(sa.BigInteger), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("poll_counts", postgresql.ARRAY(sa.BigInteger), nullable=False, server_default=sa.text("'{}'")),
    sa.Column("runtime_seconds", sa.Double, nullable=False, server_default=sa.text("0")),
    sa.Column("poll_seconds", sa.Double, nullable=False, server_default=sa.text("0")),
)

task_runs = sa.Table(
    "task_runs",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("pod", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("arguments", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("result", postgresql.JSONB, nullable=True),
    sa.Column("error", sa.Text, nullable=True),
    sa.Column("traceback", sa.Text, nullable=True),
    integer("attempts", 1),
    integer("ticks", 0),
    sa.Column("last_tick_seconds", sa.Double, nullable=True),
    sa.Column("longest_tick_seconds", sa.Double, nullable=True),
    timestamp("created_at", now=True),
    timestamp("started_at", nullable=True),
    timestamp("finished_at", nullable=True),
    sa.Column("enqueued", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("priority", sa.Integer, nullable=True, comment="0 to 9; absent: the queue's"),
    sa.Column("tenant", sa.Text, nullable=True, comment="whose share of the queue the run is"),
    timestamp("not_before", nullable=True),
    timestamp("released_at", nullable=True),
    sa.Column("in_flight", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("job_uid", sa.Text, nullable=True, comment="of the attempt's Job, once it is known to exist"),
    sa.Column("workflow", sa.Text, nullable=True, comment="of steps: chain, group or chunks"),
    integer("steps", nullable=True, comment="of a workflow: how many it has"),
    sa.Column("parent", sa.Uuid, nullable=True, comment="the workflow that the run is a step of"),
    integer("place", nullable=True, comment="among the steps, from 0"),
    sa.Column("receives", sa.Text, nullable=True, comment="argument that gets the result of the step before"),
    sa.Column("job_name", sa.Text, nullable=True, comment="of the Job, where other runs share it"),
    sa.Column("progress_percent", sa.Double, nullable=True),
    sa.Column("progress_message", sa.Text, nullable=True),
    sa.CheckConstraint(
        "state in ('PENDING', 'STARTED', 'SUCCESS', 'FAILURE', 'RETRY', 'REVOKED')",
        name="state",
    ),
    sa.CheckConstraint("octet_length(arguments::text) <= 65536", name="arguments_size"),
    sa.CheckConstraint("octet_length(result::text) <= 65536", name="result_size"),
    sa.Index("task_runs_history_idx", "namespace", "task", "created_at"),
    sa.CheckConstraint("priority between 0 and 9", name="priority"),
    sa.CheckConstraint("enqueued or not in_flight", name="in_flight"),
    sa.CheckConstraint("workflow in ('chain', 'group', 'chunks')", name="workflow"),
    sa.CheckConstraint("(parent is null) = (place is null)", name="place"),
    sa.Index("task_runs_steps_idx", "parent", "place", unique=True, postgresql_where=sa.text("parent is not null")),
    sa.Index(
        "task_runs_workflows_idx",
        "namespace",
        postgresql_where=sa.text("workflow is not null and finished_at is null"),
    ),
    sa.Index(
        "task_runs_enqueued_idx",
        "namespace",
        "queue",
        postgresql_where=sa.text("enqueued and (finished_at is null or in_flight)"),
    ),
)

release_rates = sa.Table(
    "release_rates",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("queue", sa.Text, primary_key=True),
    timestamp("spent_until"),
)

# A trigger of task_runs counts here: whoever writes a run's state, it is counted, and outlives the run's row.
task_totals = sa.Table(
    "task_totals",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("queue", sa.Text, primary_key=True),
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("runs", sa.BigInteger, nullable=False),
)
