"""What the operator measures of itself; each operator has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from b3lb import __version__

_OBSERVED = {
    "loop_lag_seconds": "How late the event loop was at the worst of the last minute",
    "live": "Whether /livez says ok",
    "ready": "Whether /readyz says ok",
    "leads": "Whether this operator works, and does not stand by",
}


class Instruments:
    """Counters and gauges of one operator process."""

    def __init__(self) -> None:
        # When a counter was made is a series of its own in this format, and nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library lacks its annotation
        self.registry = CollectorRegistry()
        self.api_requests = Counter(
            "b3lb_operator_api_requests",
            "Requests to the Kubernetes API, without watches, by verb and HTTP status (none: no answer)",
            ["verb", "code"],
            registry=self.registry,
        )
        self.status_patches = Counter(
            "b3lb_operator_status_patches", "Statuses that were written", registry=self.registry
        )
        self.status_patches_avoided = Counter(
            "b3lb_operator_status_patches_avoided",
            "Statuses that were computed and not written: nothing had changed, or numbers only and a moment ago",
            registry=self.registry,
        )
        Gauge("b3lb_build_info", "1, with the operator's version", ["version"], registry=self.registry).labels(
            __version__
        ).set(1)
        ProcessCollector(registry=self.registry)

    def count_request(self, verb: str, code: str) -> None:
        """Count one request to the Kubernetes API."""
        self.api_requests.labels(verb, code).inc()

    def observe(self, **values: Callable[[], float]) -> None:
        """Have the operator's own health read at each scrape.

        Args:
            values: What returns the value of ``b3lb_operator_NAME`` by NAME: all of ``loop_lag_seconds``, ``live``,
                ``ready`` and ``leads``.
        """
        for name, text in _OBSERVED.items():
            Gauge(f"b3lb_operator_{name}", text, registry=self.registry).set_function(values[name])

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
