"""What runs now, by the one rule that limits are held against: at admission and in the status that says LimitReached.

An open meeting counts for the secret to which its ID attributes it and for that secret's tenant, unless the secret is
deleted. Whether the secret is enabled does not matter, for the meeting goes on, nor whether there is a sub-id 0. Lost
and ended meetings are no use of a limit.

Both texts are subselects for ``LATERAL``, with one row whatever runs and the gauges of `SecretTotals` as columns.
"""

from __future__ import annotations

_COUNTED = """
    SELECT
        count(*) AS meetings,
        coalesce(sum(meetings.attendees), 0) AS attendees,
        coalesce(sum(meetings.listeners), 0) AS listeners,
        coalesce(sum(meetings.voices), 0) AS voices,
        coalesce(sum(meetings.videos), 0) AS videos,
        coalesce(sum(meetings.moderators), 0) AS moderators
    FROM secrets AS member
    JOIN meetings ON meetings.secret_id = member.id AND meetings.state = 'open' AND meetings.ended_at IS NULL
    WHERE member.deleted_at IS NULL
"""

RUNNING_OF_SECRET = f"{_COUNTED} AND member.id = secrets.id"
"""What runs under ``secrets`` of the statement around it, and under no other secret: also for sub-id 0."""

RUNNING_OF_TENANT = f"{_COUNTED} AND member.tenant_id = tenants.id"
"""What runs under all secrets of ``tenants`` of the statement around it."""
