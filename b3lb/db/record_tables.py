"""The tables of recordings: record sets, their videos, callbacks, deletions, and whose storage it is.

Rows of recordings go by steps that can be repeated, never by a cascade: first the objects, then the rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.columns import count, integer, timestamp
from b3lb.db.metadata import metadata

_SHA256 = "^[0-9a-f]{64}$"

WATCHED = (
    "state in ('UPLOADED', 'RENDERING') or object_uid is not null "
    "or (not dismissed and (legal_hold or state = 'FAILED'))"
)
"""Which record sets the operator looks at: those in work, and those that have or should have a BBBRecording."""

installation = sa.Table(
    "installation",
    metadata,
    sa.Column("singleton", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column(
        "id",
        sa.Uuid,
        nullable=False,
        server_default=sa.text("gen_random_uuid()"),
        comment="the storage carries the same; else nothing may be swept from it",
    ),
    sa.CheckConstraint("singleton", name="one_row"),
)

record_sets = sa.Table(
    "record_sets",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("gen_random_uuid()")),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("record_id", sa.Text, nullable=False, comment="BBB's internal meeting ID"),
    sa.Column("meeting_id", sa.Text, nullable=False, comment="as the node knows it, with prefix"),
    sa.Column("meeting_name", sa.Text, nullable=False, server_default=""),
    sa.Column("secret_id", sa.BigInteger, sa.ForeignKey("secrets.id"), nullable=True),
    sa.Column("tenant_slug", sa.Text, nullable=True, comment="by the meeting ID's prefix; null: of no tenant"),
    integer("sub_id", nullable=True),
    sa.Column("cluster_name", sa.Text, nullable=True, comment="whose upload secret was shown"),
    sa.Column("node_name", sa.Text, nullable=True, comment="that the meeting was on, where that is known"),
    sa.Column("state", sa.Text, nullable=False, server_default="UPLOADED"),
    timestamp("uploaded_at", now=True),
    timestamp("rendering_at", nullable=True),
    timestamp("rendered_at", nullable=True),
    timestamp("failed_at", nullable=True),
    timestamp("deleting_at", nullable=True),
    sa.Column("reason", sa.Text, nullable=True, comment="why it failed or is deleted, e.g. NoProfile"),
    sa.Column("message", sa.Text, nullable=True),
    sa.Column("archive_key", sa.Text, nullable=True, comment="of the object; null where there is no archive"),
    count("archive_bytes"),
    count("video_bytes", comment="of its videos; a trigger of records counts them"),
    sa.Column("archive_sha256", sa.Text, nullable=True, comment="hexadecimal"),
    timestamp("started_at", nullable=True),
    timestamp("ended_at"),
    sa.Column("duration_milliseconds", sa.BigInteger, nullable=True, comment="of the recorded part"),
    integer("participants", nullable=True),
    sa.Column(
        "metadata",
        postgresql.JSONB,
        nullable=False,
        server_default=sa.text("'{}'"),
        comment="the meeting's own, texts by name in lower case",
    ),
    sa.Column("install_id", sa.Uuid, nullable=False, comment="of the installation that took the upload"),
    sa.Column("legal_hold", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("legal_hold_reason", sa.Text, nullable=True),
    sa.Column("priority", sa.Integer, nullable=True, comment="0 to 9; absent: the queue's"),
    sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
    count("retry", comment="spec.retry of its BBBRecording as it was last followed"),
    sa.Column("object_uid", sa.Text, nullable=True, comment="of its BBBRecording, once that is known to exist"),
    sa.Column(
        "dismissed",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="its BBBRecording was deleted: another one is made only when there is something to do again",
    ),
    sa.UniqueConstraint("namespace", "record_id"),
    sa.CheckConstraint("state in ('UPLOADED', 'RENDERING', 'RENDERED', 'FAILED', 'DELETING')", name="state"),
    sa.CheckConstraint("state <> 'RENDERING' or rendering_at is not null", name="rendering_at"),
    sa.CheckConstraint("state <> 'RENDERED' or rendered_at is not null", name="rendered_at"),
    sa.CheckConstraint("state <> 'FAILED' or (failed_at is not null and reason is not null)", name="failed_at"),
    sa.CheckConstraint("state <> 'DELETING' or deleting_at is not null", name="deleting_at"),
    sa.CheckConstraint("(tenant_slug is null) = (sub_id is null)", name="tenant"),
    sa.CheckConstraint("sub_id between 0 and 999", name="sub_id"),
    sa.CheckConstraint(f"archive_sha256 ~ '{_SHA256}'", name="archive_sha256"),
    sa.CheckConstraint("least(archive_bytes, video_bytes, duration_milliseconds, participants) >= 0", name="counts"),
    sa.CheckConstraint("octet_length(metadata::text) <= 65536", name="metadata_size"),
    sa.CheckConstraint("priority between 0 and 9", name="priority"),
    sa.Index("record_sets_state_idx", "namespace", "state", "uploaded_at"),
    sa.Index(
        "record_sets_tenant_idx",
        *("namespace", "tenant_slug", "ended_at"),
        postgresql_include=["archive_bytes", "video_bytes"],
    ),
    sa.Index("record_sets_secret_id_idx", "secret_id"),
    sa.Index("record_sets_watched_idx", "namespace", "uploaded_at", postgresql_where=sa.text(WATCHED)),
)

records = sa.Table(
    "records",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("gen_random_uuid()")),
    sa.Column("record_set_id", sa.Uuid, sa.ForeignKey("record_sets.id"), nullable=False),
    sa.Column("profile", sa.Text, nullable=False, comment="name of the BBBRecordProfile"),
    sa.Column("profile_generation", sa.BigInteger, nullable=True),
    sa.Column("state", sa.Text, nullable=False, server_default="PENDING"),
    sa.Column("run_id", sa.Uuid, nullable=True, comment="task run that renders or rendered it"),
    integer("renders", 0, comment="how many runs it had so far"),
    integer("attempts", 0),
    integer("memory_steps", 0, comment="how often it was given more memory"),
    integer("memory_attempt", nullable=True, comment="attempt of the run that asked for that"),
    sa.Column("progress_percent", sa.Double, nullable=True),
    sa.Column("progress_message", sa.Text, nullable=True),
    timestamp("progress_at", nullable=True),
    timestamp("created_at", now=True),
    timestamp("started_at", nullable=True),
    timestamp("finished_at", nullable=True),
    sa.Column("nonce", sa.Text, nullable=True, comment="names the video in its public address"),
    sa.Column("file_key", sa.Text, nullable=True),
    sa.Column("poster_key", sa.Text, nullable=True, comment="the video's still picture"),
    sa.Column("file_bytes", sa.BigInteger, nullable=True),
    sa.Column("file_sha256", sa.Text, nullable=True, comment="hexadecimal"),
    sa.Column("content_type", sa.Text, nullable=True),
    sa.Column("duration_milliseconds", sa.BigInteger, nullable=True),
    integer("width", nullable=True),
    integer("height", nullable=True),
    sa.Column("reason", sa.Text, nullable=True, comment="why it failed, e.g. BadArchive"),
    sa.Column("message", sa.Text, nullable=True),
    sa.Column(
        "warnings",
        postgresql.JSONB,
        nullable=False,
        server_default=sa.text("'[]'"),
        comment="what could not be shown: objects with code and message",
    ),
    sa.UniqueConstraint("record_set_id", "profile"),
    sa.UniqueConstraint("nonce"),
    sa.CheckConstraint("state in ('PENDING', 'RENDERING', 'RENDERED', 'FAILED', 'CANCELLED')", name="state"),
    sa.CheckConstraint(
        "state <> 'RENDERED' or num_nulls(file_key, file_bytes, file_sha256, nonce, finished_at) = 0", name="rendered"
    ),
    sa.CheckConstraint("state <> 'FAILED' or num_nulls(reason, finished_at) = 0", name="failed"),
    sa.CheckConstraint("progress_percent between 0 and 100", name="progress_percent"),
    sa.CheckConstraint("least(attempts, memory_steps, file_bytes, duration_milliseconds) >= 0", name="counts"),
    sa.CheckConstraint(f"file_sha256 ~ '{_SHA256}'", name="file_sha256"),
    sa.CheckConstraint("width >= 1 and height >= 1", name="picture"),
    sa.CheckConstraint("jsonb_typeof(warnings) = 'array'", name="warnings"),
    sa.CheckConstraint("octet_length(warnings::text) <= 65536", name="warnings_size"),
    sa.Index("records_run_id_idx", "run_id"),
    sa.Index("records_unfinished_idx", "state", postgresql_where=sa.text("finished_at is null")),
)

callbacks = sa.Table(
    "callbacks",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, comment="e.g. recording-ready"),
    sa.Column("record_id", sa.Text, nullable=False),
    sa.Column("meeting_id", sa.Text, nullable=False, comment="as the client knows it"),
    sa.Column("secret_id", sa.BigInteger, sa.ForeignKey("secrets.id"), nullable=False, comment="signs it"),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="PENDING"),
    integer("attempts", 0),
    timestamp("created_at", now=True),
    timestamp("next_attempt_at", now=True),
    timestamp("last_attempt_at", nullable=True),
    timestamp("finished_at", nullable=True),
    integer("status_code", nullable=True, comment="of the last answer"),
    sa.Column("reason", sa.Text, nullable=True, comment="of the last failure, e.g. Timeout"),
    sa.Column("message", sa.Text, nullable=True),
    sa.UniqueConstraint("namespace", "kind", "record_id", "url"),
    sa.CheckConstraint("state in ('PENDING', 'DELIVERED', 'FAILED')", name="state"),
    sa.CheckConstraint("(state = 'PENDING') = (finished_at is null)", name="finished_at"),
    sa.CheckConstraint("attempts >= 0", name="attempts"),
    sa.Index("callbacks_due_idx", "next_attempt_at", postgresql_where=sa.text("finished_at is null")),
    sa.Index("callbacks_secret_id_idx", "secret_id"),
    sa.Index(
        "callbacks_undelivered_idx",
        *("namespace", "state", "created_at"),
        postgresql_where=sa.text("state <> 'DELIVERED'"),
    ),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("namespace", sa.Text, nullable=False),
    timestamp("at", now=True),
    sa.Column("action", sa.Text, nullable=False, comment="e.g. delete, hold, release"),
    sa.Column("kind", sa.Text, nullable=False, comment="of the subject, e.g. record-set or object"),
    sa.Column("subject", sa.Text, nullable=False, comment="e.g. a record ID or a storage key"),
    sa.Column("tenant_slug", sa.Text, nullable=True),
    sa.Column("actor", sa.Text, nullable=False, comment="task or user"),
    sa.Column("reason", sa.Text, nullable=False, comment="e.g. PastHold, Requested, Orphan"),
    count("objects"),
    count("bytes"),
    sa.Column("details", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.CheckConstraint("objects >= 0 and bytes >= 0", name="counts"),
    sa.CheckConstraint("octet_length(details::text) <= 65536", name="details_size"),
    sa.Index("audit_at_idx", "namespace", "at"),
    sa.Index("audit_subject_idx", "namespace", "subject"),
)

# Triggers of records and of the audit count here: whoever ends a rendering or deletes, it outlives the row.
render_totals = sa.Table(
    "render_totals",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("profile", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, primary_key=True, comment="RENDERED, FAILED or CANCELLED"),
    sa.Column("reason", sa.Text, primary_key=True, comment="of a failure, else empty"),
    count("renders"),
    count("render_milliseconds", comment="spent on them, of RENDERED ones alone"),
    count("video_milliseconds", comment="what they show"),
)

deletion_totals = sa.Table(
    "deletion_totals",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    count("deletions"),
    count("bytes"),
)
