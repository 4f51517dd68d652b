"""What the database counts of recordings by itself, as version 8 of its schema makes it."""

from __future__ import annotations

from typing import Final

# A rendering that is over counts once, also when the same record is rendered again; what is restored is no rendering.
_COUNT_RENDERS = """
CREATE FUNCTION count_renders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO render_totals (namespace, profile, state, reason, renders, render_milliseconds, video_milliseconds)
  SELECT record_sets.namespace, over.profile, over.state,
    CASE WHEN over.state = 'FAILED' THEN over.reason ELSE '' END, count(*),
    coalesce(sum(greatest(extract(epoch FROM over.finished_at - over.started_at) * 1000, 0))
      FILTER (WHERE over.state = 'RENDERED'), 0),
    coalesce(sum(over.duration_milliseconds) FILTER (WHERE over.state = 'RENDERED'), 0)
  FROM entered AS over JOIN before ON before.id = over.id AND before.state <> over.state
    JOIN record_sets ON record_sets.id = over.record_set_id
  WHERE over.state IN ('RENDERED', 'FAILED', 'CANCELLED')
  GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
  ON CONFLICT (namespace, profile, state, reason) DO UPDATE SET renders = render_totals.renders + excluded.renders,
    render_milliseconds = render_totals.render_milliseconds + excluded.render_milliseconds,
    video_milliseconds = render_totals.video_milliseconds + excluded.video_milliseconds;
  RETURN NULL;
END
$$
"""
# A record set that failed before there was anything to render, for want of a profile, counts under no profile.
_COUNT_FAILED_SETS = """
CREATE FUNCTION count_failed_record_sets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO render_totals (namespace, profile, state, reason, renders)
  SELECT over.namespace, '', 'FAILED', over.reason, count(*)
  FROM entered AS over JOIN before ON before.id = over.id AND before.state <> over.state
  WHERE over.state = 'FAILED' AND NOT EXISTS (SELECT FROM records WHERE records.record_set_id = over.id)
  GROUP BY 1, 4 ORDER BY 1, 4
  ON CONFLICT (namespace, profile, state, reason) DO UPDATE SET renders = render_totals.renders + excluded.renders;
  RETURN NULL;
END
$$
"""
_COUNT_DELETIONS = """
CREATE FUNCTION count_deletions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO deletion_totals (namespace, kind, reason, deletions, bytes)
  SELECT namespace, kind, reason, count(*), sum(bytes) FROM entered WHERE action = 'delete'
  GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  ON CONFLICT (namespace, kind, reason) DO UPDATE SET deletions = deletion_totals.deletions + excluded.deletions,
    bytes = deletion_totals.bytes + excluded.bytes;
  RETURN NULL;
END
$$
"""
# The bytes of all videos by tenant are asked for every few seconds, so each record set knows those of its own.
_SUM_VIDEO_BYTES = """
CREATE FUNCTION sum_video_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.file_bytes > 0 THEN
    UPDATE record_sets SET video_bytes = video_bytes - OLD.file_bytes WHERE id = OLD.record_set_id;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.file_bytes > 0 THEN
    UPDATE record_sets SET video_bytes = video_bytes + NEW.file_bytes WHERE id = NEW.record_set_id;
  END IF;
  RETURN NULL;
END
$$
"""

FUNCTIONS: Final = (_COUNT_RENDERS, _COUNT_FAILED_SETS, _COUNT_DELETIONS, _SUM_VIDEO_BYTES)
TRIGGERS: Final = (
    """
    CREATE TRIGGER records_count AFTER UPDATE ON records
    REFERENCING OLD TABLE AS before NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION count_renders()
    """,
    """
    CREATE TRIGGER record_sets_count AFTER UPDATE ON record_sets
    REFERENCING OLD TABLE AS before NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION count_failed_record_sets()
    """,
    """
    CREATE TRIGGER audit_count AFTER INSERT ON audit
    REFERENCING NEW TABLE AS entered FOR EACH STATEMENT EXECUTE FUNCTION count_deletions()
    """,
    """
    CREATE TRIGGER records_video_bytes AFTER INSERT OR DELETE OR UPDATE OF file_bytes ON records
    FOR EACH ROW EXECUTE FUNCTION sum_video_bytes()
    """,
)
