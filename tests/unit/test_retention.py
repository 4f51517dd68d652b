"""Which finished runs are forgotten."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from b3lb.retention import FinishedRun, HistoryPolicy, expired_runs

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(st.lists(st.integers(0, 100 * 86_400)), st.integers(1, 60), st.integers(1, 20))
def test_what_is_kept_is_young_and_not_too_much_and_nothing_else_is_forgotten(
    ages: list[int], days: int, rows: int
) -> None:
    runs = [
        FinishedRun(UUID(int=place), NOW - timedelta(seconds=age), place) for place, age in enumerate(sorted(ages), 1)
    ]
    expired = expired_runs(runs, HistoryPolicy(days=days, rows=rows), NOW)
    kept = [run for run in runs if run.id not in expired]
    assert len(kept) <= rows
    assert all(NOW - run.finished_at <= timedelta(days=days) for run in kept)
    young = [run for run in runs if NOW - run.finished_at <= timedelta(days=days)]
    assert kept == young[:rows]
    assert [run.int for run in expired] == sorted((run.int for run in expired), reverse=True) or len(set(ages)) < len(
        ages
    )
