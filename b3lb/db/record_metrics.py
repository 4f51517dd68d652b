"""What the metrics say of recordings: one statement, whatever there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from b3lb.metrics.recordings import (
    Backlog,
    Callbacks,
    DeletionTotal,
    RecordingMetrics,
    RecordSets,
    RenderTotal,
    StoredBytes,
)

# Whoever pushes recordings writes their prefixes: only those of tenants that there are become labels. Profiles that
# were deleted leave no series behind.
_READ = sa.text(
    """
    WITH ours AS (SELECT * FROM record_sets WHERE namespace = ANY(:namespaces)),
    videos AS (
        SELECT records.record_set_id, sum(coalesce(file_bytes, 0)) AS bytes,
            count(*) FILTER (WHERE records.state = 'PENDING') AS waiting
        FROM records JOIN ours ON ours.id = records.record_set_id GROUP BY 1
    ),
    joined AS (
        SELECT ours.namespace, ours.state, coalesce(videos.bytes, 0) AS video_bytes,
            CASE WHEN ours.archive_key IS NULL THEN 0 ELSE ours.archive_bytes END AS archive_bytes,
            coalesce(tenants.slug, '') AS tenant,
            CASE WHEN ours.paused OR ours.state = 'DELETING' THEN 0
                WHEN ours.state = 'UPLOADED' AND videos.record_set_id IS NULL THEN 1
                ELSE coalesce(videos.waiting, 0) END AS waiting,
            extract(epoch FROM ours.uploaded_at)::float8 AS uploaded_at
        FROM ours LEFT JOIN videos ON videos.record_set_id = ours.id
            LEFT JOIN tenants ON tenants.namespace = ours.namespace AND tenants.name = lower(ours.tenant_slug)
                AND tenants.slug = ours.tenant_slug AND tenants.deleted_at IS NULL
    )
    SELECT 'sets' AS part, namespace, ARRAY[state] AS labels, ARRAY[count(*)]::float8[] AS numbers
    FROM joined GROUP BY namespace, state
    UNION ALL
    SELECT 'backlog', namespace, ARRAY[]::text[], ARRAY[sum(waiting), min(uploaded_at) FILTER (WHERE waiting > 0)]
    FROM joined GROUP BY namespace
    UNION ALL
    SELECT 'stored', namespace, ARRAY[tenant, 'archive'], ARRAY[sum(archive_bytes)] FROM joined GROUP BY 2, tenant
    UNION ALL
    SELECT 'stored', namespace, ARRAY[tenant, 'video'], ARRAY[sum(video_bytes)] FROM joined GROUP BY 2, tenant
    UNION ALL
    SELECT 'renders', namespace, ARRAY[profile, state, reason],
        ARRAY[renders, render_milliseconds, video_milliseconds]::float8[]
    FROM render_totals WHERE namespace = ANY(:namespaces) AND (profile = '' OR EXISTS (
        SELECT FROM record_profiles
        WHERE record_profiles.namespace = render_totals.namespace AND record_profiles.name = render_totals.profile
            AND record_profiles.deleted_at IS NULL
    ))
    UNION ALL
    SELECT 'callbacks', namespace, ARRAY[state], ARRAY[count(*), extract(epoch FROM min(created_at))]::float8[]
    FROM callbacks WHERE namespace = ANY(:namespaces) AND state <> 'DELIVERED' GROUP BY namespace, state
    UNION ALL
    SELECT 'deletions', namespace, ARRAY[kind, reason], ARRAY[deletions, bytes]::float8[]
    FROM deletion_totals WHERE namespace = ANY(:namespaces)
    UNION ALL
    SELECT 'now', '', ARRAY[]::text[], ARRAY[extract(epoch FROM clock_timestamp())]::float8[]
    ORDER BY 1, 2, 3
    """
)


def read_record_metrics(connection: sa.Connection, namespaces: Sequence[str]) -> RecordingMetrics:
    """Return what is known of the recordings of some namespaces: one statement."""
    rows = connection.execute(_READ, {"namespaces": list(namespaces)}).all()

    def of(part: str, make: Callable[..., Any]) -> list[Any]:
        return [make(row.namespace, *row.labels, *row.numbers) for row in rows if row.part == part]

    (now,) = next(row.numbers for row in rows if row.part == "now")
    return RecordingMetrics(
        now=now,
        sets=of("sets", RecordSets),
        backlogs=of("backlog", Backlog),
        stored=of("stored", StoredBytes),
        renders=of("renders", RenderTotal),
        callbacks=of("callbacks", Callbacks),
        deletions=of("deletions", DeletionTotal),
    )
