"""The tables: configuration is written by the operator only, runtime rows by the jobs.

Configuration rows are keyed by (namespace, name); the uid of the custom resource is an attribute, so a deleted and
re-created object finds its row again. A deleted object's row keeps its ``deleted_at`` for 30 days at least.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.columns import block, count, identity, integer, timestamp
from b3lb.db.metadata import metadata
from b3lb.db.record_tables import (
    audit,
    callbacks,
    deletion_totals,
    installation,
    record_sets,
    records,
    render_totals,
)
from b3lb.db.run_tables import heartbeats, leases, release_rates, task_runs, task_totals

__all__ = [
    "OLDEST_PROGRAM",
    "SCHEMA_VERSION",
    "accounting",
    "audit",
    "callbacks",
    "cluster_states",
    "clusters",
    "counters",
    "deletion_totals",
    "heartbeats",
    "installation",
    "leases",
    "meetings",
    "metadata",
    "node_states",
    "nodes",
    "queues",
    "record_profiles",
    "record_sets",
    "records",
    "release_rates",
    "render_totals",
    "schema_version",
    "secret_states",
    "secrets",
    "task_runs",
    "task_totals",
    "tenant_metrics",
    "tenant_stats",
    "tenants",
]

SCHEMA_VERSION = 8
"""The schema that this program was written for."""

OLDEST_PROGRAM = 1
"""The oldest program, by its SCHEMA_VERSION, that still works on this schema."""

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
    *identity(),
    integer("attendee_factor", 1),
    integer("meeting_factor", 30),
    integer("cpu_terms", 6),
    integer("cpu_maximum", 5000),
    sa.Column("checksum_algorithm", sa.Text, nullable=False, server_default="sha256"),
    integer("timeout_seconds", 5),
    integer("unhealthy_after", 3),
    integer("healthy_after", 2),
    integer("guard_share_percent", 50),
    integer("guard_minimum_nodes", 3),
    integer("guard_maximum_seconds", 600),
    sa.Column("ca_certificates", sa.Text, nullable=True, comment="PEM, public; absent: the system's"),
    integer("lost_meetings_seconds", 86400),
    *block(),
    sa.Column("secret_ciphertext", sa.LargeBinary, nullable=True, comment="of the upload secret"),
    sa.Column("secret_key_id", sa.Text, nullable=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=True),
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
    sa.CheckConstraint("num_nulls(secret_ciphertext, secret_key_id, secret_hash) in (0, 3)", name="secret"),
)

nodes = sa.Table(
    "nodes",
    metadata,
    *identity(),
    sa.Column(
        "revision",
        sa.BigInteger,
        nullable=False,
        server_default=sa.text("1"),
        comment="grows whenever something that a poll depends on changes",
    ),
    timestamp("created_at"),
    sa.Column("cluster_id", sa.BigInteger, sa.ForeignKey("clusters.id"), nullable=True),
    sa.Column("api_url", sa.Text, nullable=False),
    sa.Column("load_url", sa.Text, nullable=False),
    sa.Column("secret_ciphertext", sa.LargeBinary, nullable=True),
    sa.Column("secret_key_id", sa.Text, nullable=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=True),
    sa.Column("state", sa.Text, nullable=False, server_default="Active"),
    integer("weight_percent", 100),
    integer("max_meetings", nullable=True),
    integer("max_attendees", nullable=True),
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
    *identity(),
    sa.Column("tasks", postgresql.ARRAY(sa.Text), nullable=False),
    integer("tick_seconds", nullable=True),
    integer("max_in_flight", 100),
    sa.Column("suspend", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("namespace", "name"),
    sa.CheckConstraint("tick_seconds >= 1", name="tick_seconds"),
    sa.CheckConstraint("max_in_flight >= 1", name="max_in_flight"),
)

tenants = sa.Table(
    "tenants",
    metadata,
    *identity(),
    timestamp("created_at"),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("cluster_names", postgresql.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    integer("meeting_limit", nullable=True),
    integer("attendee_limit", nullable=True),
    sa.Column(
        "time_zone", sa.Text, nullable=False, server_default="Etc/UTC", comment="of the months that are accounted"
    ),
    *block(),
    integer("hold_days", 0, comment="how long recordings are kept; 0: for ever"),
    sa.UniqueConstraint("namespace", "name"),
    # PostgreSQL raises an error for a name that it does not know, and no month could be told.
    sa.CheckConstraint("timezone(time_zone, timestamptz 'epoch') is not null", name="time_zone"),
    sa.CheckConstraint("blocked_reason is not null or slug ~ '^[A-Z]{2,10}$'", name="slug"),
    sa.CheckConstraint("meeting_limit >= 1 and attendee_limit >= 1", name="limits"),
    sa.CheckConstraint("hold_days >= 0", name="hold_days"),
    sa.Index("tenants_slug_idx", "slug"),
)

secrets = sa.Table(
    "secrets",
    metadata,
    *identity(),
    timestamp("created_at"),
    sa.Column("tenant_id", sa.BigInteger, sa.ForeignKey("tenants.id"), nullable=True),
    integer("sub_id"),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("secret_ciphertext", sa.LargeBinary, nullable=True),
    sa.Column("secret_key_id", sa.Text, nullable=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=True),
    integer("meeting_limit", nullable=True),
    integer("attendee_limit", nullable=True),
    sa.Column("record_profile_names", postgresql.ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    *block(),
    integer("hold_days", 0, comment="how long recordings are kept; 0: for ever"),
    sa.UniqueConstraint("namespace", "name"),
    sa.CheckConstraint("sub_id between 0 and 999", name="sub_id"),
    sa.CheckConstraint("hold_days >= 0", name="hold_days"),
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
    *identity(),
    sa.Column("is_default", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("spec", postgresql.JSONB, nullable=False, comment="the BBBRecordProfile's spec, complete with defaults"),
    *block(),
    sa.UniqueConstraint("namespace", "name"),
)

cluster_states = sa.Table(
    "cluster_states",
    metadata,
    sa.Column("cluster_id", sa.BigInteger, sa.ForeignKey("clusters.id"), primary_key=True),
    timestamp("mass_failure_since", nullable=True),
    sa.Column("mass_failure_exhausted", sa.Boolean, nullable=False, server_default=sa.false()),
    integer("failed", 0),
    integer("polled", 0),
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
    integer("failures", 0),
    integer("successes", 0),
    timestamp("next_poll_at", nullable=True),
    timestamp("ready_changed_at"),
    integer("meetings", 0),
    integer("attendees", 0),
    integer("cpu", nullable=True),
    sa.Column("load_reason", sa.Text, nullable=False),
    sa.Column("load_message", sa.Text, nullable=False),
    integer("load_missed", 0),
    sa.Column("load", sa.Double, nullable=False),
    timestamp("written_at", now=True),
    timestamp("seen_at", nullable=True),
    sa.Column("duplicate_of", sa.BigInteger, nullable=True, comment="older node that is the same server"),
    sa.Column("duplicate_of_revision", sa.BigInteger, nullable=True),
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
    timestamp("created_at"),
    timestamp("first_seen_at"),
    timestamp("last_seen_at", nullable=True),
    timestamp("lost_at", nullable=True),
    timestamp("ended_at", nullable=True),
    integer("attendees", 0),
    integer("listeners", 0),
    integer("voices", 0),
    integer("videos", 0),
    integer("moderators", 0),
    sa.Column("origin", sa.Text, nullable=False, server_default=""),
    sa.Column("origin_server", sa.Text, nullable=False, server_default=""),
    sa.Column("digest", sa.LargeBinary, nullable=False, comment="of the element as the node printed it"),
    sa.Column("element", sa.LargeBinary, nullable=True, comment="as the front end serves it, zlib"),
    sa.Column("user_hashes", sa.LargeBinary, nullable=False, server_default=sa.text("''::bytea")),
    count("attendees_joined"),
    sa.Column("counted_meetings", sa.Integer, nullable=False, server_default=sa.text("0")),
    count("counted_attendees"),
    count("counted_milliseconds"),
    count("participant_milliseconds", comment="attendees times time, up to attendees_since"),
    sa.Column(
        "attendees_since",
        sa.TIMESTAMP(timezone=True),
        nullable=True,
        comment="from when on the attendees are not in the sum yet; null while no time counts",
    ),
    count("counted_participant_milliseconds"),
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
    count("attendees_joined"),
    count("meetings"),
    count("duration_count"),
    count("duration_milliseconds"),
    count("attendee_limit_hits"),
    count("meeting_limit_hits"),
    count("participant_milliseconds"),
)

secret_states = sa.Table(
    "secret_states",
    metadata,
    sa.Column("secret_id", sa.BigInteger, sa.ForeignKey("secrets.id"), primary_key=True),
    sa.Column("list_version", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    sa.Column("list_digest", sa.LargeBinary, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default="", comment="why the list is empty, e.g. Disabled"),
    integer("meetings", 0),
    integer("attendees", 0),
    integer("listeners", 0),
    integer("voices", 0),
    integer("videos", 0),
    integer("moderators", 0),
    timestamp("written_at", now=True),
)

tenant_stats = sa.Table(
    "tenant_stats",
    metadata,
    sa.Column("tenant_id", sa.BigInteger, sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("secret_id", sa.BigInteger, sa.ForeignKey("secrets.id"), primary_key=True),
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("origin_server", sa.Text, primary_key=True),
    integer("meetings", 0),
    integer("attendees", 0),
    integer("listeners", 0),
    integer("voices", 0),
    integer("videos", 0),
    integer("moderators", 0),
    timestamp("last_updated", now=True),
    sa.CheckConstraint("least(meetings, attendees, listeners, voices, videos, moderators) >= 0", name="counts"),
    sa.Index("tenant_stats_tenant_id_idx", "tenant_id"),
)

tenant_metrics = sa.Table(
    "tenant_metrics",
    metadata,
    sa.Column("tenant_id", sa.BigInteger, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("text", sa.Text, nullable=False, comment="in Prometheus' text format"),
    timestamp("written_at", now=True),
)

accounting = sa.Table(
    "accounting",
    metadata,
    sa.Column("tenant_id", sa.BigInteger, sa.ForeignKey("tenants.id"), primary_key=True),
    sa.Column("month", sa.Date, primary_key=True, comment="its first day, by the tenant's time zone"),
    timestamp("started_at"),
    timestamp("closed_at", nullable=True),
    count("participant_base", comment="the tenant's sum when the month began"),
    count("meeting_base", comment="the tenant's sum when the month began"),
    count("participant_milliseconds"),
    count("meeting_milliseconds"),
    integer("peak_attendees", 0),
    integer("peak_meetings", 0),
    sa.Column("recording_bytes", sa.BigInteger, nullable=True, comment="null: not measured"),
    timestamp("written_at", now=True),
    sa.CheckConstraint("month = date_trunc('month', month)", name="month"),
    sa.CheckConstraint("peak_attendees >= 0 and peak_meetings >= 0 and recording_bytes >= 0", name="counts"),
    sa.Index("accounting_open_idx", "tenant_id", unique=True, postgresql_where=sa.text("closed_at is null")),
)
