"""Accounting: what each tenant had in each month of its time zone.

A tenant's sums are what its ended meetings added to the counters, and what those that are present have had since. They
only ever grow, but where two nodes turn out to be one server: the duration of a meeting that both had then counts once.
A month's numbers are the sums less those with which it began, so nothing is added twice or lost by a job that
dies, and all months together are the sums. The tick that is the first of a new month closes the old one, before it
moves anything on, and so exactly at the boundary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from b3lb.db.integrals import attended_since, lasted
from b3lb.db.node_states import beats, seen_at
from b3lb.db.running import RUNNING_OF_TENANT
from b3lb.db.secret_states import MAXIMUM_GAUGE, owns_slug
from b3lb.db.stored_bytes import STORED_BY_SLUG

_DIALECT = sa.make_url("postgresql+psycopg://").get_dialect()()


def _sql(expression: sa.ColumnElement[Any]) -> str:
    return str(expression.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


_SEEN = _sql(seen_at)


def _sums(until: str) -> str:
    """Return the select of the sums of each tenant in ``given``, counting what is open up to ``until``."""
    return f"""
        SELECT given.tenant_id,
            sum(coalesce(counters.participant_milliseconds, 0) + coalesce(present.participant_milliseconds, 0))::bigint
                AS participant_milliseconds,
            sum(coalesce(counters.duration_milliseconds, 0) + coalesce(present.meeting_milliseconds, 0))::bigint
                AS meeting_milliseconds
        FROM given
        JOIN secrets ON secrets.tenant_id = given.tenant_id
        LEFT JOIN counters ON counters.secret_id = secrets.id
        LEFT JOIN LATERAL (
            SELECT
                sum(meetings.participant_milliseconds - meetings.counted_participant_milliseconds
                    + {attended_since("seen.until")}) AS participant_milliseconds,
                sum({lasted("seen.last")} - meetings.counted_milliseconds) AS meeting_milliseconds
            FROM meetings
            JOIN nodes ON nodes.id = meetings.node_id
            LEFT JOIN node_states ON node_states.node_id = nodes.id
            LEFT JOIN heartbeats ON {_sql(beats)}
            CROSS JOIN LATERAL (SELECT {until} AS until) AS limited
            CROSS JOIN LATERAL (
                SELECT limited.until, CASE WHEN meetings.state = 'lost' THEN meetings.last_seen_at
                    ELSE greatest(meetings.first_seen_at, limited.until) END AS last
            ) AS seen
            WHERE meetings.secret_id = secrets.id AND meetings.ended_at IS NULL
        ) AS present ON true
        GROUP BY given.tenant_id
    """  # noqa: S608 - the expressions are of this program


@dataclass(frozen=True, slots=True)
class MonthStart:
    """A month that begins for a tenant: its first day, and when that day begins in the tenant's time zone."""

    tenant_id: int
    month: date
    started_at: datetime


_LOAD_DUE = sa.text(
    """
    SELECT tenants.id, due.month, due.started_at
    FROM tenants
    CROSS JOIN LATERAL (
        SELECT date_trunc('month', timezone(tenants.time_zone, :at))::date AS month,
            date_trunc('month', :at, tenants.time_zone) AS started_at
    ) AS due
    LEFT JOIN LATERAL (SELECT max(month) AS month FROM accounting WHERE tenant_id = tenants.id) AS last ON true
    WHERE tenants.namespace = :namespace AND tenants.deleted_at IS NULL
        AND (last.month IS NULL OR last.month < due.month)
    ORDER BY tenants.id
    """
).bindparams(sa.bindparam("at", type_=sa.TIMESTAMP(timezone=True)))


def load_due_months(connection: sa.Connection, namespace: str, at: datetime) -> list[MonthStart]:
    """Return the tenants of ``namespace`` for which a month has begun that is not accounted yet: one statement."""
    rows = connection.execute(_LOAD_DUE, {"namespace": namespace, "at": at})
    return [MonthStart(*row) for row in rows]


_GIVEN = """
    given AS (
        SELECT * FROM unnest(
            CAST(:tenant_ids AS bigint[]), CAST(:months AS date[]), CAST(:starts AS timestamptz[])
        ) AS given(tenant_id, month, started_at)
    )
"""
_AT_THE_BOUNDARY = (
    "CASE WHEN meetings.node_id = ANY(CAST(:listed AS bigint[])) THEN given.started_at"
    f" ELSE least({_SEEN}, given.started_at) END"
)
_CLOSE = sa.text(
    f"""
    WITH {_GIVEN}, sums AS ({_sums(_AT_THE_BOUNDARY)}), ending AS (
        SELECT accounting.tenant_id, accounting.month, given.started_at AS closed_at,
            coalesce(sums.participant_milliseconds, 0) AS participants,
            coalesce(sums.meeting_milliseconds, 0) AS meetings
        FROM accounting
        JOIN given ON given.tenant_id = accounting.tenant_id
        LEFT JOIN sums ON sums.tenant_id = accounting.tenant_id
        WHERE accounting.closed_at IS NULL
        ORDER BY accounting.tenant_id FOR UPDATE OF accounting
    )
    UPDATE accounting SET closed_at = ending.closed_at, written_at = clock_timestamp(),
        participant_milliseconds = ending.participants - participant_base,
        meeting_milliseconds = ending.meetings - meeting_base
    FROM ending WHERE accounting.tenant_id = ending.tenant_id AND accounting.month = ending.month
    """  # noqa: S608 - the expressions are of this program
)
_BEGIN = sa.text(
    f"""
    WITH {_GIVEN}, sums AS ({_sums(_AT_THE_BOUNDARY)})
    INSERT INTO accounting (tenant_id, month, started_at, participant_base, meeting_base)
    SELECT given.tenant_id, given.month, CASE WHEN last.month IS NULL THEN :at ELSE given.started_at END,
        coalesce(last.participant_base + last.participant_milliseconds, sums.participant_milliseconds, 0),
        coalesce(last.meeting_base + last.meeting_milliseconds, sums.meeting_milliseconds, 0)
    FROM given
    JOIN tenants ON tenants.id = given.tenant_id
    LEFT JOIN sums ON sums.tenant_id = given.tenant_id
    LEFT JOIN LATERAL (
        SELECT * FROM accounting WHERE accounting.tenant_id = given.tenant_id ORDER BY month DESC LIMIT 1
    ) AS last ON true
    ORDER BY given.tenant_id
    ON CONFLICT DO NOTHING
    """  # noqa: S608 - the expressions are of this program
).bindparams(sa.bindparam("at", type_=sa.TIMESTAMP(timezone=True)))
# Meetings that ran before this schema was there, or that a program of an older one stored.
_COUNT_FROM_NOW_ON = sa.text(
    """
    UPDATE meetings SET attendees_since = :at FROM secrets
    WHERE secrets.tenant_id = ANY(CAST(:tenant_ids AS bigint[])) AND meetings.secret_id = secrets.id
        AND meetings.state = 'open' AND meetings.ended_at IS NULL AND meetings.attendees_since IS NULL
    """
).bindparams(sa.bindparam("at", type_=sa.TIMESTAMP(timezone=True)))


def begin_months(
    connection: sa.Connection, starts: Sequence[MonthStart], *, listed: Collection[int], at: datetime
) -> int:
    """Close the months before ``starts`` and begin those; return how many began: three statements, or none.

    To be called in the transaction of a tick between what ended in it and what changed in it, so that what is open
    counts with the attendees that it had when the month began.

    Args:
        connection: The tick's transaction, under its lease.
        starts: What `load_due_months` found for the tick.
        listed: IDs of the nodes that the tick saw healthy: their open meetings went on over the boundary.
        at: When the tick was due.
    """
    if not starts:
        return 0
    parameters = {
        "tenant_ids": [start.tenant_id for start in starts],
        "months": [start.month for start in starts],
        "starts": [start.started_at for start in starts],
        "listed": list(listed),
    }
    connection.execute(_CLOSE, parameters)
    begun = connection.execute(_BEGIN, {**parameters, "at": at}).rowcount
    connection.execute(_COUNT_FROM_NOW_ON, {"tenant_ids": parameters["tenant_ids"], "at": at})
    return begun


_RAISE_PEAKS = sa.text(
    f"""
    WITH higher AS (
        SELECT accounting.tenant_id, accounting.month,
            least(running.meetings, {MAXIMUM_GAUGE}) AS meetings, least(running.attendees, {MAXIMUM_GAUGE}) AS attendees
        FROM accounting
        JOIN tenants ON tenants.id = accounting.tenant_id
        CROSS JOIN LATERAL ({RUNNING_OF_TENANT}) AS running
        WHERE tenants.namespace = :namespace AND accounting.closed_at IS NULL
            AND (running.meetings > accounting.peak_meetings OR running.attendees > accounting.peak_attendees)
        ORDER BY accounting.tenant_id FOR UPDATE OF accounting
    )
    UPDATE accounting SET
        peak_meetings = greatest(peak_meetings, higher.meetings),
        peak_attendees = greatest(peak_attendees, higher.attendees),
        written_at = clock_timestamp()
    FROM higher WHERE accounting.tenant_id = higher.tenant_id AND accounting.month = higher.month
    """  # noqa: S608 - the expressions are of this program
)


def raise_peaks(connection: sa.Connection, namespace: str) -> int:
    """Note what runs now wherever it is more than ever in this month; return for how many tenants: one statement.

    It belongs into the transaction that changes what runs: then no tick's peak is lost.
    """
    return connection.execute(_RAISE_PEAKS, {"namespace": namespace}).rowcount


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant's month that is not over: what it has come to (``found``) and what was noted of it (``stored``).

    Both are participants' and meetings' milliseconds, and the bytes that its recordings take now.
    """

    tenant_id: int
    tenant: str
    month: date
    found: tuple[int, int, int]
    stored: tuple[int, int, int]


_LOAD_ACCOUNTS = sa.text(
    f"""
    WITH given AS (SELECT id AS tenant_id FROM tenants WHERE namespace = :namespace), sums AS ({_sums(_SEEN)}),
        recordings AS ({STORED_BY_SLUG})
    SELECT tenants.id, tenants.name, accounting.month,
        coalesce(sums.participant_milliseconds, 0) - accounting.participant_base,
        coalesce(sums.meeting_milliseconds, 0) - accounting.meeting_base,
        CASE WHEN {_sql(owns_slug)} THEN coalesce(recordings.archives + recordings.videos, 0) ELSE 0 END,
        accounting.participant_milliseconds, accounting.meeting_milliseconds, coalesce(accounting.recording_bytes, 0)
    FROM accounting
    JOIN tenants ON tenants.id = accounting.tenant_id AND tenants.namespace = :namespace
    LEFT JOIN sums ON sums.tenant_id = tenants.id
    LEFT JOIN recordings ON recordings.slug = tenants.slug
    WHERE accounting.closed_at IS NULL
    ORDER BY tenants.id
    """  # noqa: S608 - the expressions are of this program
)


def load_accounts(connection: sa.Connection, namespace: str) -> list[Account]:
    """Return the months that are not over, counted up to the last good poll of each node: one statement."""
    rows = connection.execute(_LOAD_ACCOUNTS, {"namespace": namespace})
    return [
        Account(tenant_id, tenant, month, found=(found[0], found[1], found[2]), stored=(found[3], found[4], found[5]))
        for tenant_id, tenant, month, *found in rows
    ]


_WRITE_ACCOUNTS = sa.text(
    """
    WITH given AS (
        SELECT accounting.tenant_id, accounting.month, given.participants, given.meetings,
            given.recordings
        FROM unnest(
            CAST(:tenant_ids AS bigint[]), CAST(:months AS date[]),
            CAST(:participants AS bigint[]), CAST(:meetings AS bigint[]), CAST(:recordings AS bigint[])
        ) AS given(tenant_id, month, participants, meetings, recordings)
        JOIN accounting ON accounting.tenant_id = given.tenant_id AND accounting.month = given.month
        WHERE accounting.closed_at IS NULL
        ORDER BY accounting.tenant_id FOR UPDATE OF accounting
    )
    UPDATE accounting SET participant_milliseconds = given.participants, meeting_milliseconds = given.meetings,
        recording_bytes = CASE WHEN given.recordings > 0 OR recording_bytes IS NOT NULL THEN given.recordings END,
        written_at = clock_timestamp()
    FROM given WHERE accounting.tenant_id = given.tenant_id AND accounting.month = given.month
    """
)


def write_accounts(connection: sa.Connection, accounts: Sequence[Account]) -> int:
    """Note what was found; return how many rows were written: one statement, none for an empty sequence.

    A month that was closed meanwhile has its last numbers already and keeps them.
    """
    if not accounts:
        return 0
    parameters = {
        "tenant_ids": [account.tenant_id for account in accounts],
        "months": [account.month for account in accounts],
        "participants": [account.found[0] for account in accounts],
        "meetings": [account.found[1] for account in accounts],
        "recordings": [account.found[2] for account in accounts],
    }
    return connection.execute(_WRITE_ACCOUNTS, parameters).rowcount
