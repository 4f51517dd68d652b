"""Counting requests: how many of which kind, and how many at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dev.farm.messages import FarmCounts, NodeCounts


@dataclass(slots=True)
class RequestCounter:
    """Counts requests by kind; a part of a farm passes each one on to the whole."""

    whole: "RequestCounter | None" = None
    requests: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0

    @contextmanager
    def track(self, kind: str) -> Iterator[None]:
        """Counts one request, and keeps it in flight while the context is open."""
        counters = (self,) if self.whole is None else (self, self.whole)
        for counter in counters:
            counter.requests[kind] += 1
            counter.in_flight += 1
            counter.max_in_flight = max(counter.max_in_flight, counter.in_flight)
        try:
            yield
        finally:
            for counter in counters:
                counter.in_flight -= 1

    def reset(self) -> None:
        """Forgets the past; what is in flight stays."""
        self.requests.clear()
        self.max_in_flight = self.in_flight

    def counts(self) -> NodeCounts:
        """The present figures."""
        return NodeCounts(requests=dict(self.requests), in_flight=self.in_flight, max_in_flight=self.max_in_flight)


def farm_counts(whole: RequestCounter, parts: dict[str, RequestCounter]) -> FarmCounts:
    """The figures of a farm and of each of its nodes."""
    return FarmCounts(
        requests=dict(whole.requests),
        in_flight=whole.in_flight,
        max_in_flight=whole.max_in_flight,
        nodes={name: part.counts() for name, part in parts.items()},
    )
