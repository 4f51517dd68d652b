"""Tenants, API secrets and record profiles; meetings, counters and what each secret sees."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring schema version 1 to version 2; programs of version 1 go on working."""
    _extend_clusters()
    _extend_node_states()
    _create_tenants()
    _create_secrets()
    _create_record_profiles()
    _create_meetings()
    _create_counters()
    _create_secret_states()


def _extend_clusters() -> None:
    op.add_column(
        "clusters", sa.Column("lost_meetings_seconds", sa.Integer(), server_default=sa.text("86400"), nullable=False)
    )
    op.create_check_constraint(op.f("clusters_lost_meetings_seconds_check"), "clusters", "lost_meetings_seconds >= 0")
    reason = sa.Column("blocked_reason", sa.Text(), nullable=True, comment="a condition's reason, e.g. SecretNotFound")
    op.add_column("clusters", reason)
    op.add_column("clusters", sa.Column("blocked_message", sa.Text(), nullable=True))


def _extend_node_states() -> None:
    op.add_column("node_states", sa.Column("seen_at", sa.TIMESTAMP(timezone=True), nullable=True))


def _create_tenants() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("cluster_names", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("meeting_limit", sa.Integer(), nullable=True),
        sa.Column("attendee_limit", sa.Integer(), nullable=True),
        sa.Column("blocked_reason", sa.Text(), nullable=True, comment="a condition's reason, e.g. SecretNotFound"),
        sa.Column("blocked_message", sa.Text(), nullable=True),
        sa.CheckConstraint("blocked_reason is not null or slug ~ '^[A-Z]{2,10}$'", name=op.f("tenants_slug_check")),
        sa.CheckConstraint("meeting_limit >= 1 and attendee_limit >= 1", name=op.f("tenants_limits_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("tenants_pkey")),
        sa.UniqueConstraint("namespace", "name", name=op.f("tenants_namespace_name_key")),
    )
    op.create_index("tenants_slug_idx", "tenants", ["slug"], unique=False)


def _create_secrets() -> None:
    op.create_table(
        "secrets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=True),
        sa.Column("sub_id", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("secret_ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("secret_key_id", sa.Text(), nullable=True),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=True),
        sa.Column("meeting_limit", sa.Integer(), nullable=True),
        sa.Column("attendee_limit", sa.Integer(), nullable=True),
        sa.Column("record_profile_names", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("blocked_reason", sa.Text(), nullable=True, comment="a condition's reason, e.g. SecretNotFound"),
        sa.Column("blocked_message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "blocked_reason is not null or (tenant_id is not null and secret_ciphertext is not null)",
            name=op.f("secrets_usable_check"),
        ),
        sa.CheckConstraint("meeting_limit >= 1 and attendee_limit >= 1", name=op.f("secrets_limits_check")),
        sa.CheckConstraint(
            "num_nulls(secret_ciphertext, secret_key_id, secret_hash) in (0, 3)", name=op.f("secrets_secret_check")
        ),
        sa.CheckConstraint("sub_id between 0 and 999", name=op.f("secrets_sub_id_check")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("secrets_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("secrets_pkey")),
        sa.UniqueConstraint("namespace", "name", name=op.f("secrets_namespace_name_key")),
    )
    op.create_index("secrets_tenant_id_idx", "secrets", ["tenant_id"], unique=False)


def _create_record_profiles() -> None:
    op.create_table(
        "record_profiles",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("is_default", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column(
            "spec",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="the BBBRecordProfile's spec, complete with defaults",
        ),
        sa.Column("blocked_reason", sa.Text(), nullable=True, comment="a condition's reason, e.g. SecretNotFound"),
        sa.Column("blocked_message", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("record_profiles_pkey")),
        sa.UniqueConstraint("namespace", "name", name=op.f("record_profiles_namespace_name_key")),
    )


def _create_meetings() -> None:
    op.create_table(
        "meetings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("node_id", sa.BigInteger(), nullable=False),
        sa.Column("internal_id", sa.Text(), nullable=False, comment="unique on its node, also over time"),
        sa.Column("meeting_id", sa.Text(), nullable=False, comment="as the node knows it, with prefix"),
        sa.Column("secret_id", sa.BigInteger(), nullable=True),
        sa.Column("parent_internal_id", sa.Text(), nullable=True, comment="of a breakout room"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("first_seen_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lost_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attendees", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("listeners", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("voices", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("videos", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("moderators", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("origin", sa.Text(), server_default="", nullable=False),
        sa.Column("origin_server", sa.Text(), server_default="", nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="of the element as the node printed it"),
        sa.Column("element", sa.LargeBinary(), nullable=True, comment="as the front end serves it, zlib"),
        sa.Column("user_hashes", sa.LargeBinary(), server_default=sa.text("''::bytea"), nullable=False),
        sa.Column("attendees_joined", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("counted_meetings", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("counted_attendees", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("counted_milliseconds", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("(state = 'ended') = (ended_at is not null)", name=op.f("meetings_ended_at_check")),
        sa.CheckConstraint("(state = 'lost') = (lost_at is not null)", name=op.f("meetings_lost_at_check")),
        sa.CheckConstraint("state in ('open', 'lost', 'ended')", name=op.f("meetings_state_check")),
        sa.CheckConstraint(
            "least(attendees, listeners, voices, videos, moderators) >= 0", name=op.f("meetings_counts_check")
        ),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("meetings_node_id_fkey")),
        sa.ForeignKeyConstraint(["secret_id"], ["secrets.id"], name=op.f("meetings_secret_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("meetings_pkey")),
        sa.UniqueConstraint("node_id", "internal_id", name=op.f("meetings_node_id_internal_id_key")),
    )
    # A tick changes a third of the rows: with room on their pages no index has to follow (heap-only tuples).
    op.execute("ALTER TABLE meetings SET (fillfactor = 60)")
    op.create_index(
        "meetings_present_idx", "meetings", ["node_id"], unique=False, postgresql_where=sa.text("ended_at is null")
    )
    op.create_index(
        "meetings_secret_idx", "meetings", ["secret_id"], unique=False, postgresql_where=sa.text("ended_at is null")
    )


def _create_counters() -> None:
    op.create_table(
        "counters",
        sa.Column("secret_id", sa.BigInteger(), nullable=False),
        sa.Column("attendees_joined", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("meetings", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("duration_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("duration_milliseconds", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attendee_limit_hits", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("meeting_limit_hits", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["secret_id"], ["secrets.id"], name=op.f("counters_secret_id_fkey")),
        sa.PrimaryKeyConstraint("secret_id", name=op.f("counters_pkey")),
    )


def _create_secret_states() -> None:
    op.create_table(
        "secret_states",
        sa.Column("secret_id", sa.BigInteger(), nullable=False),
        sa.Column("list_version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("list_digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "reason", sa.Text(), server_default="", nullable=False, comment="why the list is empty, e.g. Disabled"
        ),
        sa.Column("meetings", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attendees", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("listeners", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("voices", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("videos", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("moderators", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("written_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["secret_id"], ["secrets.id"], name=op.f("secret_states_secret_id_fkey")),
        sa.PrimaryKeyConstraint("secret_id", name=op.f("secret_states_pkey")),
    )
