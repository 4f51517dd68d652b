"""Counters of secrets, which only ever grow, and the limits whose hits they count."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from b3lb.db.running import RUNNING_OF_SECRET, RUNNING_OF_TENANT
from b3lb.db.secret_states import closed_reason
from b3lb.db.tables import counters, secrets


class Limit(StrEnum):
    """What a limit bounds, by the reason that says that it was reached."""

    MEETINGS = "MeetingLimitReached"
    ATTENDEES = "AttendeeLimitReached"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no further meeting may be created: ``used`` has reached ``maximum``, the secret's or the whole tenant's."""

    limit: Limit
    tenant_wide: bool
    used: int
    maximum: int


@dataclass(frozen=True, slots=True)
class SecretCounters:
    """What has been counted for a secret; meetings and durations count when a meeting ends."""

    attendees_joined: int = 0
    meetings: int = 0
    duration_count: int = 0
    duration_milliseconds: int = 0
    attendee_limit_hits: int = 0
    meeting_limit_hits: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a secret creates no meetings at all: a ``reason`` as its list has it, such as `Disabled`."""

    reason: str


class UnknownSecretError(LookupError):
    """There is no such secret."""


_DIALECT = sa.make_url("postgresql+psycopg://").get_dialect()()
_CLOSED = closed_reason.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})
_ADMIT = sa.text(
    f"""
    WITH used AS (
        SELECT
            own.meetings, own.attendees,
            whole.meetings AS tenant_meetings, whole.attendees AS tenant_attendees,
            {_CLOSED} AS closed,
            secrets.meeting_limit, secrets.attendee_limit,
            tenants.meeting_limit AS tenant_meeting_limit, tenants.attendee_limit AS tenant_attendee_limit
        FROM secrets
        LEFT JOIN tenants ON tenants.id = secrets.tenant_id
        CROSS JOIN LATERAL ({RUNNING_OF_SECRET}) AS own
        CROSS JOIN LATERAL ({RUNNING_OF_TENANT}) AS whole
        WHERE secrets.id = :secret_id AND secrets.deleted_at IS NULL
    ), reached AS (
        SELECT checked.* FROM used, LATERAL (VALUES
            (1, 'MeetingLimitReached', false, used.meetings, used.meeting_limit),
            (2, 'MeetingLimitReached', true, used.tenant_meetings, used.tenant_meeting_limit),
            (3, 'AttendeeLimitReached', false, used.attendees, used.attendee_limit),
            (4, 'AttendeeLimitReached', true, used.tenant_attendees, used.tenant_attendee_limit)
        ) AS checked(rank, reason, tenant_wide, used, maximum)
        WHERE checked.used >= checked.maximum AND used.closed = ''
        ORDER BY checked.rank LIMIT 1
    ), hit AS (
        INSERT INTO counters (secret_id, meeting_limit_hits, attendee_limit_hits)
        SELECT :secret_id, (reason = 'MeetingLimitReached')::integer, (reason = 'AttendeeLimitReached')::integer
        FROM reached
        ON CONFLICT (secret_id) DO UPDATE SET
            meeting_limit_hits = counters.meeting_limit_hits + excluded.meeting_limit_hits,
            attendee_limit_hits = counters.attendee_limit_hits + excluded.attendee_limit_hits
    )
    SELECT used.closed, reached.reason, reached.tenant_wide, reached.used, reached.maximum
    FROM used LEFT JOIN reached ON true
    """  # noqa: S608 - the expressions are of this program
).bindparams(sa.bindparam("secret_id", type_=sa.BigInteger))


def admit_meeting(connection: sa.Connection, secret_id: int) -> Refusal | Closed | None:
    """Return why ``secret_id`` may not create another meeting, and count the hit; None if it may: one statement.

    A secret that is closed, or whose tenant is, creates nothing, and that is no hit of a limit. Meetings that are open
    count, breakout rooms too, by what the last polls saw: what was created since then does not count yet, so a burst
    between two polls may go beyond a limit. The secret's limits come before its tenant's, and those of meetings before
    those of attendees; one call is one hit of the limit that is returned, which counts for the secret. A secret's own
    limits bound its own meetings, those of sub-id 0 as well.

    Raises:
        UnknownSecretError: No such secret, or it is deleted.
    """
    row = connection.execute(_ADMIT, {"secret_id": secret_id}).one_or_none()
    if row is None:
        raise UnknownSecretError(f"there is no secret with the ID {secret_id}")
    if row.closed:
        return Closed(row.closed)
    if row.reason is None:
        return None
    return Refusal(limit=Limit(row.reason), tenant_wide=row.tenant_wide, used=int(row.used), maximum=row.maximum)


COUNTED = (
    "attendees_joined",
    "meetings",
    "duration_count",
    "duration_milliseconds",
    "attendee_limit_hits",
    "meeting_limit_hits",
)
"""The fields of `SecretCounters`, which are columns, too."""

_member = secrets.alias("member")
counted_by_secret = (
    sa.select(
        secrets.c.id,
        *[sa.cast(sa.func.coalesce(sa.func.sum(counters.c[name]), 0), sa.BigInteger).label(name) for name in COUNTED],
    )
    .select_from(
        secrets.outerjoin(
            _member,
            sa.or_(
                _member.c.id == secrets.c.id,
                sa.and_(secrets.c.sub_id == 0, _member.c.tenant_id == secrets.c.tenant_id),
            ),
        ).outerjoin(counters, counters.c.secret_id == _member.c.id)
    )
    .where(secrets.c.namespace == sa.bindparam("namespace"), secrets.c.deleted_at.is_(None))
    .group_by(secrets.c.id)
)
"""The counters of the secrets of a ``namespace`` that are not deleted; those of sub-id 0 are the sum of its tenant."""

_READ = counted_by_secret.order_by(secrets.c.id)


def read_counters(connection: sa.Connection, namespace: str) -> dict[int, SecretCounters]:
    """Return the counters of the secrets of ``namespace`` that are not deleted, by ID: one statement.

    Those of sub-id 0 are the sum of its tenant, deleted secrets included, for a counter never goes back; they must not
    be added to the others'.
    """
    return {
        secret_id: SecretCounters(*values) for secret_id, *values in connection.execute(_READ, {"namespace": namespace})
    }
