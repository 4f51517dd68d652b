"""A bound on how much is done at once, with a gauge that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge


class BusyError(Exception):
    """Everything that may go on at once does."""


class Slots:
    """So many places; whoever comes when all are taken is sent away rather than kept waiting."""

    def __init__(self, most: int, gauge: Gauge) -> None:
        self._most = most
        self._taken = 0
        self._gauge = gauge

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place for the block.

        Raises:
            BusyError: None is free.
        """
        if self._taken >= self._most:
            raise BusyError
        self._taken += 1
        self._gauge.inc()
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.dec()
