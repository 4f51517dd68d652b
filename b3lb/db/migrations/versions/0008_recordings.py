"""Recordings: record sets, their videos, callbacks, deletions, upload secrets and how long recordings are kept."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from b3lb.db.migrations.recording_triggers import FUNCTIONS, TRIGGERS

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_WATCHED = (
    "state in ('UPLOADED', 'RENDERING') or object_uid is not null "
    "or (not dismissed and (legal_hold or state = 'FAILED'))"
)


def upgrade() -> None:
    """Bring schema version 7 to version 8; programs of older versions go on working."""
    _extend_configuration()
    _create_installation()
    _create_record_sets()
    _create_records()
    _create_callbacks()
    _create_audit()
    _create_totals()


def _extend_configuration() -> None:
    sealed: tuple[sa.Column[Any], ...] = (
        sa.Column("secret_ciphertext", sa.LargeBinary(), nullable=True, comment="of the upload secret"),
        sa.Column("secret_key_id", sa.Text(), nullable=True),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=True),
    )
    for column in sealed:
        op.add_column("clusters", column)
    whole = "num_nulls(secret_ciphertext, secret_key_id, secret_hash) in (0, 3)"
    op.create_check_constraint(op.f("clusters_secret_check"), "clusters", whole)
    for table in ("tenants", "secrets"):
        days = sa.Column(
            "hold_days",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="how long recordings are kept; 0: for ever",
        )
        op.add_column(table, days)
        op.create_check_constraint(op.f(f"{table}_hold_days_check"), table, "hold_days >= 0")


def _create_installation() -> None:
    op.create_table(
        "installation",
        sa.Column("singleton", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column(
            "id",
            sa.Uuid(),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="the storage carries the same; else nothing may be swept from it",
        ),
        sa.CheckConstraint("singleton", name=op.f("installation_one_row_check")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("installation_pkey")),
    )
    op.execute("INSERT INTO installation DEFAULT VALUES")


def _create_record_sets() -> None:
    op.create_table("record_sets", *_record_sets_columns(), *_record_sets_constraints())
    op.create_index("record_sets_secret_id_idx", "record_sets", ["secret_id"])
    op.create_index("record_sets_state_idx", "record_sets", ["namespace", "state", "uploaded_at"])
    op.create_index(
        "record_sets_tenant_idx",
        "record_sets",
        ["namespace", "tenant_slug", "ended_at"],
        postgresql_include=["archive_bytes", "video_bytes"],
    )
    op.create_index(
        "record_sets_watched_idx", "record_sets", ["namespace", "uploaded_at"], postgresql_where=sa.text(_WATCHED)
    )


def _record_sets_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False, comment="BBB's internal meeting ID"),
        sa.Column("meeting_id", sa.Text(), nullable=False, comment="as the node knows it, with prefix"),
        sa.Column("meeting_name", sa.Text(), server_default="", nullable=False),
        sa.Column("secret_id", sa.BigInteger(), nullable=True),
        sa.Column("tenant_slug", sa.Text(), nullable=True, comment="by the meeting ID's prefix; null: of no tenant"),
        sa.Column("sub_id", sa.Integer(), nullable=True),
        sa.Column("cluster_name", sa.Text(), nullable=True, comment="whose upload secret was shown"),
        sa.Column("node_name", sa.Text(), nullable=True, comment="that the meeting was on, where that is known"),
        sa.Column("state", sa.Text(), server_default="UPLOADED", nullable=False),
        sa.Column("uploaded_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("rendering_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("rendered_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("failed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deleting_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it failed or is deleted, e.g. NoProfile"),
        sa.Column("message", sa.Text(), nullable=True),
        *_archive_columns(),
        *_steering_columns(),
    ]


def _archive_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("archive_key", sa.Text(), nullable=True, comment="of the object; null where there is no archive"),
        sa.Column("archive_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "video_bytes",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="of its videos; a trigger of records counts them",
        ),
        sa.Column("archive_sha256", sa.Text(), nullable=True, comment="hexadecimal"),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("duration_milliseconds", sa.BigInteger(), nullable=True, comment="of the recorded part"),
        sa.Column("participants", sa.Integer(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="the meeting's own, texts by name in lower case",
        ),
        sa.Column("install_id", sa.Uuid(), nullable=False, comment="of the installation that took the upload"),
    ]


def _steering_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("legal_hold", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("legal_hold_reason", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True, comment="0 to 9; absent: the queue's"),
        sa.Column("paused", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column(
            "retry",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="spec.retry of its BBBRecording as it was last followed",
        ),
        sa.Column("object_uid", sa.Text(), nullable=True, comment="of its BBBRecording, once that is known to exist"),
        sa.Column(
            "dismissed",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="its BBBRecording was deleted: another one is made only when there is something to do again",
        ),
    ]


def _record_sets_constraints() -> list[sa.Constraint]:
    return [
        sa.CheckConstraint("archive_sha256 ~ '^[0-9a-f]{64}$'", name=op.f("record_sets_archive_sha256_check")),
        sa.CheckConstraint(
            "state <> 'DELETING' or deleting_at is not null", name=op.f("record_sets_deleting_at_check")
        ),
        sa.CheckConstraint(
            "state <> 'FAILED' or (failed_at is not null and reason is not null)",
            name=op.f("record_sets_failed_at_check"),
        ),
        sa.CheckConstraint(
            "state <> 'RENDERED' or rendered_at is not null", name=op.f("record_sets_rendered_at_check")
        ),
        sa.CheckConstraint(
            "state <> 'RENDERING' or rendering_at is not null", name=op.f("record_sets_rendering_at_check")
        ),
        sa.CheckConstraint(
            "state in ('UPLOADED', 'RENDERING', 'RENDERED', 'FAILED', 'DELETING')", name=op.f("record_sets_state_check")
        ),
        sa.CheckConstraint("(tenant_slug is null) = (sub_id is null)", name=op.f("record_sets_tenant_check")),
        sa.CheckConstraint(
            "least(archive_bytes, video_bytes, duration_milliseconds, participants) >= 0",
            name=op.f("record_sets_counts_check"),
        ),
        sa.CheckConstraint("octet_length(metadata::text) <= 65536", name=op.f("record_sets_metadata_size_check")),
        sa.CheckConstraint("priority between 0 and 9", name=op.f("record_sets_priority_check")),
        sa.CheckConstraint("sub_id between 0 and 999", name=op.f("record_sets_sub_id_check")),
        sa.ForeignKeyConstraint(["secret_id"], ["secrets.id"], name=op.f("record_sets_secret_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("record_sets_pkey")),
        sa.UniqueConstraint("namespace", "record_id", name=op.f("record_sets_namespace_record_id_key")),
    ]


def _create_records() -> None:
    op.create_table("records", *_records_columns(), *_records_constraints())
    op.create_index("records_unfinished_idx", "records", ["state"], postgresql_where=sa.text("finished_at is null"))
    op.create_index("records_run_id_idx", "records", ["run_id"])


def _records_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("record_set_id", sa.Uuid(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False, comment="name of the BBBRecordProfile"),
        sa.Column("profile_generation", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True, comment="task run that renders or rendered it"),
        sa.Column(
            "renders",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="how many runs it had so far",
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "memory_steps",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="how often it was given more memory",
        ),
        sa.Column("memory_attempt", sa.Integer(), nullable=True, comment="attempt of the run that asked for that"),
        sa.Column("progress_percent", sa.Double(), nullable=True),
        sa.Column("progress_message", sa.Text(), nullable=True),
        sa.Column("progress_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("nonce", sa.Text(), nullable=True, comment="names the video in its public address"),
        sa.Column("file_key", sa.Text(), nullable=True),
        sa.Column("poster_key", sa.Text(), nullable=True, comment="the video's still picture"),
        sa.Column("file_bytes", sa.BigInteger(), nullable=True),
        sa.Column("file_sha256", sa.Text(), nullable=True, comment="hexadecimal"),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("duration_milliseconds", sa.BigInteger(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it failed, e.g. BadArchive"),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column(
            "warnings",
            postgresql.JSONB(),
            server_default=sa.text("'[]'"),
            nullable=False,
            comment="what could not be shown: objects with code and message",
        ),
    ]


def _records_constraints() -> list[sa.Constraint]:
    return [
        sa.CheckConstraint("file_sha256 ~ '^[0-9a-f]{64}$'", name=op.f("records_file_sha256_check")),
        sa.CheckConstraint("jsonb_typeof(warnings) = 'array'", name=op.f("records_warnings_check")),
        sa.CheckConstraint(
            "state <> 'FAILED' or num_nulls(reason, finished_at) = 0", name=op.f("records_failed_check")
        ),
        sa.CheckConstraint(
            "state <> 'RENDERED' or num_nulls(file_key, file_bytes, file_sha256, nonce, finished_at) = 0",
            name=op.f("records_rendered_check"),
        ),
        sa.CheckConstraint(
            "state in ('PENDING', 'RENDERING', 'RENDERED', 'FAILED', 'CANCELLED')", name=op.f("records_state_check")
        ),
        sa.CheckConstraint(
            "least(attempts, memory_steps, file_bytes, duration_milliseconds) >= 0", name=op.f("records_counts_check")
        ),
        sa.CheckConstraint("octet_length(warnings::text) <= 65536", name=op.f("records_warnings_size_check")),
        sa.CheckConstraint("progress_percent between 0 and 100", name=op.f("records_progress_percent_check")),
        sa.CheckConstraint("width >= 1 and height >= 1", name=op.f("records_picture_check")),
        sa.ForeignKeyConstraint(["record_set_id"], ["record_sets.id"], name=op.f("records_record_set_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("records_pkey")),
        sa.UniqueConstraint("nonce", name=op.f("records_nonce_key")),
        sa.UniqueConstraint("record_set_id", "profile", name=op.f("records_record_set_id_profile_key")),
    ]


def _create_callbacks() -> None:
    op.create_table(
        "callbacks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="e.g. recording-ready"),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("meeting_id", sa.Text(), nullable=False, comment="as the client knows it"),
        sa.Column("secret_id", sa.BigInteger(), nullable=False, comment="signs it"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("next_attempt_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_attempt_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True, comment="of the last answer"),
        sa.Column("reason", sa.Text(), nullable=True, comment="of the last failure, e.g. Timeout"),
        sa.Column("message", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'PENDING') = (finished_at is null)", name=op.f("callbacks_finished_at_check")),
        sa.CheckConstraint("state in ('PENDING', 'DELIVERED', 'FAILED')", name=op.f("callbacks_state_check")),
        sa.CheckConstraint("attempts >= 0", name=op.f("callbacks_attempts_check")),
        sa.ForeignKeyConstraint(["secret_id"], ["secrets.id"], name=op.f("callbacks_secret_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("callbacks_pkey")),
        sa.UniqueConstraint(
            "namespace", "kind", "record_id", "url", name=op.f("callbacks_namespace_kind_record_id_url_key")
        ),
    )
    op.create_index(
        "callbacks_due_idx", "callbacks", ["next_attempt_at"], postgresql_where=sa.text("finished_at is null")
    )
    op.create_index("callbacks_secret_id_idx", "callbacks", ["secret_id"])
    op.create_index(
        "callbacks_undelivered_idx",
        "callbacks",
        ["namespace", "state", "created_at"],
        postgresql_where=sa.text("state <> 'DELIVERED'"),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="e.g. delete, hold, release"),
        sa.Column("kind", sa.Text(), nullable=False, comment="of the subject, e.g. record-set or object"),
        sa.Column("subject", sa.Text(), nullable=False, comment="e.g. a record ID or a storage key"),
        sa.Column("tenant_slug", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False, comment="task or user"),
        sa.Column("reason", sa.Text(), nullable=False, comment="e.g. PastHold, Requested, Orphan"),
        sa.Column("objects", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("objects >= 0 and bytes >= 0", name=op.f("audit_counts_check")),
        sa.CheckConstraint("octet_length(details::text) <= 65536", name=op.f("audit_details_size_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
    )
    op.create_index("audit_at_idx", "audit", ["namespace", "at"])
    op.create_index("audit_subject_idx", "audit", ["namespace", "subject"])


def _create_totals() -> None:
    def texts(*names: str) -> list[sa.Column[Any]]:
        return [sa.Column(name, sa.Text(), nullable=False) for name in names]

    def count(name: str, comment: str | None = None) -> sa.Column[Any]:
        return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment=comment)

    op.create_table(
        "render_totals",
        *texts("namespace", "profile"),
        sa.Column("state", sa.Text(), nullable=False, comment="RENDERED, FAILED or CANCELLED"),
        sa.Column("reason", sa.Text(), nullable=False, comment="of a failure, else empty"),
        count("renders"),
        count("render_milliseconds", "spent on them, of RENDERED ones alone"),
        count("video_milliseconds", "what they show"),
        sa.PrimaryKeyConstraint("namespace", "profile", "state", "reason", name=op.f("render_totals_pkey")),
    )
    op.create_table(
        "deletion_totals",
        *texts("namespace", "kind", "reason"),
        count("deletions"),
        count("bytes"),
        sa.PrimaryKeyConstraint("namespace", "kind", "reason", name=op.f("deletion_totals_pkey")),
    )
    for statement in (*FUNCTIONS, *TRIGGERS):
        op.execute(statement)
