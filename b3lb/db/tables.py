"""The tables: configuration is written by the operator only, runtime rows by the jobs.

Configuration rows are keyed by (namespace, name); the uid of the custom resource is an attribute, so a deleted and
re-created object finds its row again. A deleted object's row keeps its ``deleted_at`` for 30 days at least.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

SCHEMA_VERSION = 4
"""The schema that this program was written for."""

OLDEST_PROGRAM = 1
"""The oldest program, by its SCHEMA_VERSION, that still works on this schema."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _timestamp(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[Any]:
    """Return a column of a point in time, UTC, by the database's clock when ``now``."""
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable, server_default=default)


def _integer(name: str, default: int | None = None, *, nullable: bool = False) -> sa.Column[int]:
    text = None if default is None else sa.text(str(default))
    return sa.Column(name, sa.Integer, nullable=nullable, server_default=text)


def _identity() -> list[sa.Column[Any]]:
    """Return the columns that every configuration table begins with."""
    return [
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        _timestamp("deleted_at", nullable=True),
    ]


def _block() -> list[sa.Column[Any]]:
    """Return the columns that say why an object cannot be used; both null while it can."""
    return [
        sa.Column("blocked_reason", sa.Text, nullable=True, comment="a condition's reason, e.g. SecretNotFound"),
        sa.Column("blocked_message", sa.Text, nullable=True),
    ]


schema_version = sa.Table(
    "schema_version",
    metadata,
    sa.Column("singleton", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("oldest_program", sa.Integer, nullable=False),
    sa.CheckConstraint("singleton", name="one_row"),
)

clusters = sa.Table(
    "clusters",
    metadata,
    *_identity(),
    _integer("attendee_factor", 1),
    _integer("meeting_factor", 30),
    _integer("cpu_terms", 6),
    _integer("cpu_maximum", 5000),
    sa.Column("checksum_algorithm", sa.Text, nullable=False, server_default="sha256"),
    _integer("timeout_seconds", 5),
    _integer("unhealthy_after", 3),
    _integer("healthy_after", 2),
    _integer("guard_share_percent", 50),
    _integer("guard_minimum_nodes", 3),
    _integer("guard_maximum_seconds", 600),
    sa.Column("ca_certificates", sa.Text, nullable=True, comment="PEM, public; absent: the system's"),
    _integer("lost_meetings_seconds", 86400),
    *_block(),
    sa.UniqueConstraint("namespace", "name"),
    sa.CheckConstraint("checksum_algorithm in ('sha1', 'sha256', 'sha384', 'sha512')", name="checksum_algorithm"),
    sa.CheckConstraint("timeout_seconds between 1 and 30", name="timeout_seconds"),
    sa.CheckConstraint("unhealthy_after >= 1 and healthy_after >= 1", name="thresholds"),
    sa.CheckConstraint(
        "attendee_factor >= 0 and meeting_factor >= 0 and cpu_terms >= 1 and cpu_maximum >= 0", name="load_factors"
    ),
    sa.CheckConstraint(
        "guard_share_percent between 1 and 100 and guard_minimum_nodes >= 1 and guard_maximum_seconds >= 0",
        name="guard",
    ),
    sa.CheckConstraint("lost_meetings_seconds >= 0", name="lost_meetings_seconds"),
)

nodes = sa.Table(
    "nodes",
    metadata,
    *_identity(),
    sa.Column(
        "revision",
        sa.BigInteger,
        nullable=False,
        server_default=sa.text("1"),
        comment="grows whenever something that a poll depends on changes",
    ),
    _timestamp("created_at"),
    sa.Column("cluster_id", sa.BigInteger, sa.ForeignKey("clusters.id"), nullable=True),
    sa.Column("api_url", sa.Text, nullable=False),
    sa.Column("load_url", sa.Text, nullable=False),
    sa.Column("secret_ciphertext", sa.LargeBinary, nullable=True),
    sa.Column("secret_key_id", sa.Text, nullable=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=True),
    sa.Column("state", sa.Text, nullable=False, server_default="Active"),
    _integer("weight_percent", 100),
    _integer("max_meetings", nullable=True),
    _integer("max_attendees", nullable=True),
    sa.Column("blocked_reason", sa.Text, nullable=True, comment="why the node cannot be polled, e.g. SecretNotFound"),
    sa.Column("blocked_message", sa.Text, nullable=True),
    sa.UniqueConstraint("namespace", "name"),
    sa.CheckConstraint("state in ('Active', 'Cordoned', 'Draining', 'Disabled')", name="state"),
    sa.CheckConstraint("weight_percent between 1 and 1000", name="weight_percent"),
    sa.CheckConstraint("max_meetings >= 0 and max_attendees >= 0", name="limits"),
    sa.CheckConstraint(
        "blocked_reason is not null or (cluster_id is not null and secret_ciphertext is not null)", name="pollable"
    ),
    sa.CheckConstraint("num_nulls(secret_ciphertext, secret_key_id, secret_hash) in (0, 3)", name="secret"),
)

queues = sa.Table(
    "queues",
    metadata,
    *_identity(),
    sa.Column("tasks", postgresql.ARRAY(sa.Text), nullable=False),
    _integer("tick_seconds", nullable=True),
    _integer("max_in_flight", 100),
    sa.Column("suspend", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("namespace", "name"),
    sa.CheckConstraint("tick_seconds >= 1", name="tick_seconds"),
    sa.CheckConstraint("max_in_flight >= 1", name="max_in_flight"),
)

tenants = sa.Table(
    "tenants",
    metadata,
    *_identity(),
    _timestamp("created_at"),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("cluster_names", postgresql.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    _integer("meeting_limit", nullable=True),
    _integer("attendee_limit", nullable=True),
    *_block(),
    sa.UniqueConstraint("namespace", "name"),
    sa.CheckConstraint("blocked_reason is not null or slug ~ '^[A-Z]{2,10}$'", name="slug"),
    sa.CheckConstraint("meeting_limit >= 1 and attendee_limit >= 1", name="limits"),
    sa.Index("tenants_slug_idx", "slug"),
)

secrets = sa.Table(
    "secrets",
    metadata,
    *_identity(),
    _timestamp("created_at"),
    sa.Column("tenant_id", sa.BigInteger, sa.ForeignKey("tenants.id"), nullable=True),
    _integer("sub_id"),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("secret_ciphertext", sa.LargeBinary, nullable=True),
    sa.Column("secret_key_id", sa.Text, nullable=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=True),
    _integer("meeting_limit", nullable=True),
    _integer("attendee_limit", nullable=True),
    sa.Column("record_profile_names", postgresql.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    *_block(),
    sa.UniqueConstraint("namespace", "name"),
    sa.CheckConstraint("sub_id between 0 and 999", name="sub_id"),
    sa.CheckConstraint("meeting_limit >= 1 and attendee_limit >= 1", name="limits"),
    sa.CheckConstraint("num_nulls(secret_ciphertext, secret_key_id, secret_hash) in (0, 3)", name="secret"),
    sa.CheckConstraint(
        "blocked_reason is not null or (tenant_id is not null and secret_ciphertext is not null)", name="usable"
    ),
    sa.Index("secrets_tenant_id_idx", "tenant_id"),
)

record_profiles = sa.Table(
    "record_profiles",
    metadata,
    *_identity(),
    sa.Column("is_default", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("spec", postgresql.JSONB, nullable=False, comment="the BBBRecordProfile's spec, complete with defaults"),
    *_block(),
    sa.UniqueConstraint("namespace", "name"),
)

cluster_states = sa.Table(
    "cluster_states",
    metadata,
    sa.Column("cluster_id", sa.BigInteger, sa.ForeignKey("clusters.id"), primary_key=True),
    _timestamp("mass_failure_since", nullable=True),
    sa.Column("mass_failure_exhausted", sa.Boolean, nullable=False, server_default=sa.false()),
    _integer("failed", 0),
    _integer("polled", 0),
)

node_states = sa.Table(
    "node_states",
    metadata,
    sa.Column("node_id", sa.BigInteger, sa.ForeignKey("nodes.id"), primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("ready", sa.Boolean, nullable=False),
    sa.Column("proven", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    _integer("failures", 0),
    _integer("successes", 0),
    _timestamp("next_poll_at", nullable=True),
    _timestamp("ready_changed_at"),
    _integer("meetings", 0),
    _integer("attendees", 0),
    _integer("cpu", nullable=True),
    sa.Column("load_reason", sa.Text, nullable=False),
    sa.Column("load_message", sa.Text, nullable=False),
    _integer("load_missed", 0),
    sa.Column("load", sa.Double, nullable=False),
    _timestamp("written_at", now=True),
    _timestamp("seen_at", nullable=True),
    sa.CheckConstraint("cpu between 0 and 10000", name="cpu"),
    sa.CheckConstraint("meetings >= 0 and attendees >= 0", name="counts"),
)

meetings = sa.Table(
    "meetings",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("node_id", sa.BigInteger, sa.ForeignKey("nodes.id"), nullable=False),
    sa.Column("internal_id", sa.Text, nullable=False, comment="unique on its node, also over time"),
    sa.Column("meeting_id", sa.Text, nullable=False, comment="as the node knows it, with prefix"),
    sa.Column("secret_id", sa.BigInteger, sa.ForeignKey("secrets.id"), nullable=True),
    sa.Column("parent_internal_id", sa.Text, nullable=True, comment="of a breakout room"),
    sa.Column("state", sa.Text, nullable=False),
    _timestamp("created_at"),
    _timestamp("first_seen_at"),
    _timestamp("last_seen_at", nullable=True),
    _timestamp("lost_at", nullable=True),
    _timestamp("ended_at", nullable=True),
    _integer("attendees", 0),
    _integer("listeners", 0),
    _integer("voices", 0),
    _integer("videos", 0),
    _integer("moderators", 0),
    sa.Column("origin", sa.Text, nullable=False, server_default=""),
    sa.Column("origin_server", sa.Text, nullable=False, server_default=""),
    sa.Column("digest", sa.LargeBinary, nullable=False, comment="of the element as the node printed it"),
    sa.Column("element", sa.LargeBinary, nullable=True, comment="as the front end serves it, zlib"),
    sa.Column("user_hashes", sa.LargeBinary, nullable=False, server_default=sa.text("''::bytea")),
    sa.Column("attendees_joined", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("counted_meetings", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("counted_attendees", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("counted_milliseconds", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.UniqueConstraint("node_id", "internal_id"),
    sa.CheckConstraint("state in ('open', 'lost', 'ended')", name="state"),
    sa.CheckConstraint("(state = 'ended') = (ended_at is not null)", name="ended_at"),
    sa.CheckConstraint("(state = 'lost') = (lost_at is not null)", name="lost_at"),
    sa.CheckConstraint("least(attendees, listeners, voices, videos, moderators) >= 0", name="counts"),
    sa.Index("meetings_present_idx", "node_id", postgresql_where=sa.text("ended_at is null")),
    sa.Index("meetings_secret_idx", "secret_id", postgresql_where=sa.text("ended_at is null")),
)

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("secret_id", sa.BigInteger, sa.ForeignKey("secrets.id"), primary_key=True),
    sa.Column("attendees_joined", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("meetings", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("duration_count", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("duration_milliseconds", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("attendee_limit_hits", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("meeting_limit_hits", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)

secret_states = sa.Table(
    "secret_states",
    metadata,
    sa.Column("secret_id", sa.BigInteger, sa.ForeignKey("secrets.id"), primary_key=True),
    sa.Column("list_version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    sa.Column("list_digest", sa.LargeBinary, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default="", comment="why the list is empty, e.g. Disabled"),
    _integer("meetings", 0),
    _integer("attendees", 0),
    _integer("listeners", 0),
    _integer("voices", 0),
    _integer("videos", 0),
    _integer("moderators", 0),
    _timestamp("written_at", now=True),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    _timestamp("expires_at"),
)

heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("task", sa.Text, primary_key=True),
    _timestamp("tick_at"),
    _timestamp("started_at"),
    _timestamp("finished_at"),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("summary", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'")),
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
    _integer("attempts", 1),
    _integer("ticks", 0),
    sa.Column("last_tick_seconds", sa.Double, nullable=True),
    sa.Column("longest_tick_seconds", sa.Double, nullable=True),
    _timestamp("created_at", now=True),
    _timestamp("started_at", nullable=True),
    _timestamp("finished_at", nullable=True),
    sa.Column("enqueued", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("priority", sa.Integer, nullable=True, comment="0 to 9; absent: the queue's"),
    sa.Column("tenant", sa.Text, nullable=True, comment="whose share of the queue the run is"),
    _timestamp("not_before", nullable=True),
    _timestamp("released_at", nullable=True),
    sa.Column("in_flight", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("job_uid", sa.Text, nullable=True, comment="of the attempt's Job, once it is known to exist"),
    sa.CheckConstraint(
        "state in ('PENDING', 'STARTED', 'SUCCESS', 'FAILURE', 'RETRY', 'REVOKED')",
        name="state",
    ),
    sa.CheckConstraint("octet_length(arguments::text) <= 65536", name="arguments_size"),
    sa.CheckConstraint("octet_length(result::text) <= 65536", name="result_size"),
    sa.Index("task_runs_history_idx", "namespace", "task", "created_at"),
    sa.CheckConstraint("priority between 0 and 9", name="priority"),
    sa.CheckConstraint("enqueued or not in_flight", name="in_flight"),
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
    _timestamp("spent_until"),
)
