"""The ground: nodes and their health, queues, leases and task runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table of schema version 1."""
    _create_schema_version()
    _create_clusters()
    _create_nodes()
    _create_queues()
    _create_cluster_states()
    _create_node_states()
    _create_leases()
    _create_heartbeats()
    _create_task_runs()


def _create_schema_version() -> None:
    op.create_table(
        "schema_version",
        sa.Column("singleton", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("oldest_program", sa.Integer(), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("schema_version_one_row_check")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("schema_version_pkey")),
    )


def _create_clusters() -> None:
    op.create_table(
        "clusters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attendee_factor", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("meeting_factor", sa.Integer(), server_default=sa.text("30"), nullable=False),
        sa.Column("cpu_terms", sa.Integer(), server_default=sa.text("6"), nullable=False),
        sa.Column("cpu_maximum", sa.Integer(), server_default=sa.text("5000"), nullable=False),
        sa.Column("checksum_algorithm", sa.Text(), server_default="sha256", nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), server_default=sa.text("5"), nullable=False),
        sa.Column("unhealthy_after", sa.Integer(), server_default=sa.text("3"), nullable=False),
        sa.Column("healthy_after", sa.Integer(), server_default=sa.text("2"), nullable=False),
        sa.Column("guard_share_percent", sa.Integer(), server_default=sa.text("50"), nullable=False),
        sa.Column("guard_minimum_nodes", sa.Integer(), server_default=sa.text("3"), nullable=False),
        sa.Column("guard_maximum_seconds", sa.Integer(), server_default=sa.text("600"), nullable=False),
        sa.Column("ca_certificates", sa.Text(), nullable=True, comment="PEM, public; absent: the system's"),
        sa.CheckConstraint(
            "checksum_algorithm in ('sha1', 'sha256', 'sha384', 'sha512')",
            name=op.f("clusters_checksum_algorithm_check"),
        ),
        sa.CheckConstraint(
            "attendee_factor >= 0 and meeting_factor >= 0 and cpu_terms >= 1 and cpu_maximum >= 0",
            name=op.f("clusters_load_factors_check"),
        ),
        sa.CheckConstraint(
            "guard_share_percent between 1 and 100 and guard_minimum_nodes >= 1 and guard_maximum_seconds >= 0",
            name=op.f("clusters_guard_check"),
        ),
        sa.CheckConstraint("timeout_seconds between 1 and 30", name=op.f("clusters_timeout_seconds_check")),
        sa.CheckConstraint("unhealthy_after >= 1 and healthy_after >= 1", name=op.f("clusters_thresholds_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("clusters_pkey")),
        sa.UniqueConstraint("namespace", "name", name=op.f("clusters_namespace_name_key")),
    )


def _create_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "revision",
            sa.BigInteger(),
            server_default=sa.text("1"),
            nullable=False,
            comment="grows whenever something that a poll depends on changes",
        ),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("cluster_id", sa.BigInteger(), nullable=True),
        sa.Column("api_url", sa.Text(), nullable=False),
        sa.Column("load_url", sa.Text(), nullable=False),
        sa.Column("secret_ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("secret_key_id", sa.Text(), nullable=True),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), server_default="Active", nullable=False),
        sa.Column("weight_percent", sa.Integer(), server_default=sa.text("100"), nullable=False),
        sa.Column("max_meetings", sa.Integer(), nullable=True),
        sa.Column("max_attendees", sa.Integer(), nullable=True),
        sa.Column(
            "blocked_reason", sa.Text(), nullable=True, comment="why the node cannot be polled, e.g. SecretNotFound"
        ),
        sa.Column("blocked_message", sa.Text(), nullable=True),
        sa.CheckConstraint("state in ('Active', 'Cordoned', 'Draining', 'Disabled')", name=op.f("nodes_state_check")),
        sa.CheckConstraint(
            "blocked_reason is not null or (cluster_id is not null and secret_ciphertext is not null)",
            name=op.f("nodes_pollable_check"),
        ),
        sa.CheckConstraint("max_meetings >= 0 and max_attendees >= 0", name=op.f("nodes_limits_check")),
        sa.CheckConstraint(
            "num_nulls(secret_ciphertext, secret_key_id, secret_hash) in (0, 3)", name=op.f("nodes_secret_check")
        ),
        sa.CheckConstraint("weight_percent between 1 and 1000", name=op.f("nodes_weight_percent_check")),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("nodes_cluster_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("nodes_pkey")),
        sa.UniqueConstraint("namespace", "name", name=op.f("nodes_namespace_name_key")),
    )


def _create_queues() -> None:
    op.create_table(
        "queues",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("tasks", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("tick_seconds", sa.Integer(), nullable=True),
        sa.Column("max_in_flight", sa.Integer(), server_default=sa.text("100"), nullable=False),
        sa.Column("suspend", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint("max_in_flight >= 1", name=op.f("queues_max_in_flight_check")),
        sa.CheckConstraint("tick_seconds >= 1", name=op.f("queues_tick_seconds_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("queues_pkey")),
        sa.UniqueConstraint("namespace", "name", name=op.f("queues_namespace_name_key")),
    )


def _create_cluster_states() -> None:
    op.create_table(
        "cluster_states",
        sa.Column("cluster_id", sa.BigInteger(), nullable=False),
        sa.Column("mass_failure_since", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("mass_failure_exhausted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("polled", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("cluster_states_cluster_id_fkey")),
        sa.PrimaryKeyConstraint("cluster_id", name=op.f("cluster_states_pkey")),
    )


def _create_node_states() -> None:
    op.create_table(
        "node_states",
        sa.Column("node_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("proven", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("successes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_poll_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ready_changed_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("meetings", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attendees", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cpu", sa.Integer(), nullable=True),
        sa.Column("load_reason", sa.Text(), nullable=False),
        sa.Column("load_message", sa.Text(), nullable=False),
        sa.Column("load_missed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("load", sa.Double(), nullable=False),
        sa.Column("written_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("cpu between 0 and 10000", name=op.f("node_states_cpu_check")),
        sa.CheckConstraint("meetings >= 0 and attendees >= 0", name=op.f("node_states_counts_check")),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("node_states_node_id_fkey")),
        sa.PrimaryKeyConstraint("node_id", name=op.f("node_states_pkey")),
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("leases_pkey")),
    )


def _create_heartbeats() -> None:
    op.create_table(
        "heartbeats",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("tick_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("summary", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "task", name=op.f("heartbeats_pkey")),
    )


def _create_task_runs() -> None:
    op.create_table(
        "task_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("pod", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("arguments", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("ticks", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_tick_seconds", sa.Double(), nullable=True),
        sa.Column("longest_tick_seconds", sa.Double(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('PENDING', 'STARTED', 'SUCCESS', 'FAILURE', 'RETRY', 'REVOKED')",
            name=op.f("task_runs_state_check"),
        ),
        sa.CheckConstraint("octet_length(arguments::text) <= 65536", name=op.f("task_runs_arguments_size_check")),
        sa.CheckConstraint("octet_length(result::text) <= 65536", name=op.f("task_runs_result_size_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("task_runs_pkey")),
    )
    op.create_index("task_runs_history_idx", "task_runs", ["namespace", "task", "created_at"])
