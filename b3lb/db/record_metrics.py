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

# Every few seconds: of record sets there may be a hundred thousand, so they are counted in indexes alone.
# Whoever pushes recordings writes their prefixes: only those of tenants that there are become labels. Profiles that
# were deleted leave no series behind.
_READ = sa.text(
    """
    WITH waiting AS (
        SELECT record_sets.namespace, record_sets.uploaded_at
        FROM records JOIN record_sets ON record_sets.id = records.record_set_id
        WHERE records.state = 'PENDING' AND records.finished_at IS NULL AND record_sets.namespace = ANY(:namespaces)
            AND NOT record_sets.paused AND record_sets.state <> 'DELETING'
        UNION ALL
        SELECT namespace, uploaded_at FROM record_sets
        WHERE namespace = ANY(:namespaces) AND state = 'UPLOADED' AND NOT paused
            AND NOT EXISTS (SELECT FROM records WHERE records.record_set_id = record_sets.id)
    ),
    slugs AS (
        SELECT namespace, tenant_slug, sum(archive_bytes) AS archives, sum(video_bytes) AS videos
        FROM record_sets WHERE namespace = ANY(:namespaces) GROUP BY namespace, tenant_slug
    ),
    stored AS (
        SELECT slugs.namespace, coalesce(tenants.slug, '') AS tenant, sum(archives) AS archives, sum(videos) AS videos
        FROM slugs LEFT JOIN tenants ON tenants.namespace = slugs.namespace AND tenants.name = lower(slugs.tenant_slug)
            AND tenants.slug = slugs.tenant_slug AND tenants.deleted_at IS NULL
        GROUP BY 1, 2
    )
    SELECT 'sets' AS part, namespace, ARRAY[state] AS labels, ARRAY[count(*)]::float8[] AS numbers
    FROM record_sets WHERE namespace = ANY(:namespaces) GROUP BY namespace, state
    UNION ALL
    SELECT 'backlog', ours.namespace, ARRAY[]::text[],
        ARRAY[count(uploaded_at), extract(epoch FROM min(uploaded_at))]::float8[]
    FROM unnest(CAST(:namespaces AS text[])) AS ours(namespace) LEFT JOIN waiting USING (namespace) GROUP BY 2
    UNION ALL
    SELECT 'stored', namespace, ARRAY[tenant, 'archive'], ARRAY[archives]::float8[] FROM stored
    UNION ALL
    SELECT 'stored', namespace, ARRAY[tenant, 'video'], ARRAY[videos]::float8[] FROM stored
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
