"""What a stage of meetings does to the database: time that passes, and an empty farm."""

import sqlalchemy as sa

SHIFT = sa.text(
    """
    WITH meetings AS (
        UPDATE meetings SET created_at = created_at - :by, first_seen_at = first_seen_at - :by,
            last_seen_at = last_seen_at - :by, attendees_since = attendees_since - :by,
            lost_at = lost_at - :by, ended_at = ended_at - :by
    ), states AS (
        UPDATE node_states SET next_poll_at = next_poll_at - :by, ready_changed_at = ready_changed_at - :by,
            seen_at = seen_at - :by
    ), leases AS (UPDATE leases SET expires_at = expires_at - :by)
    UPDATE heartbeats SET tick_at = tick_at - :by
    """
).bindparams(sa.bindparam("by", type_=sa.Interval))
CLEAN = sa.text(
    """
    WITH a AS (DELETE FROM meetings), b AS (DELETE FROM counters), c AS (DELETE FROM secret_states),
        d AS (DELETE FROM node_states), e AS (DELETE FROM leases), f AS (DELETE FROM heartbeats),
        i AS (DELETE FROM accounting), j AS (DELETE FROM tenant_stats), k AS (DELETE FROM tenant_metrics),
        g AS (UPDATE nodes SET deleted_at = NULL, state = 'Active', revision = 1),
        h AS (UPDATE tenants SET enabled = true)
    UPDATE secrets SET enabled = true, deleted_at = CASE WHEN name = 'beta-002' THEN now() END
    """
)
