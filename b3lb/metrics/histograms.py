"""Histograms that live in the database: counts per bucket that only grow, whoever adds to them.

The format is that of https://prometheus.io/docs/concepts/metric_types/#histogram.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, zip_longest

RUNTIME_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the buckets of a tick's duration; 5 and 60 are thresholds of alerts."""

POLL_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of the buckets of a poll's duration."""


def bucket_counts(values: Iterable[float], bounds: Sequence[float]) -> list[int]:
    """Return how many values each bucket holds: those up to its bound and above the one before, the last all others."""
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    return counts


def cumulative_buckets(counts: Sequence[int], bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Return label ``le`` and number of the values up to it, for each bound and +Inf.

    Args:
        counts: As from ``bucket_counts``, possibly of a program with other bounds: missing buckets are empty, further
            ones count as above the last bound.
        bounds: Upper bounds, ascending.
    """
    fitted = list(counts[: len(bounds)])
    rest = sum(counts[len(bounds) :])
    known = [count for _, count in zip_longest(bounds, fitted, fillvalue=0)]
    labels = [*(str(bound) for bound in bounds), "+Inf"]
    return list(zip(labels, (float(total) for total in accumulate([*known, rest])), strict=True))
