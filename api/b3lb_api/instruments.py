"""What the front end measures of itself; no label holds a nonce, a meeting or whoever asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from b3lb import __version__

STORED = "Stored"
"""The outcome of an upload that is kept now."""

PRESENT = "Present"
"""The outcome of an upload whose recording was there already."""

UPLOAD_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


@dataclass(slots=True)
class Outcome:
    """How an upload ends; unless somebody says otherwise, by a fault of the program or by its end."""

    name: str = "Error"


class Instruments:
    """Counters and gauges of one front end process."""

    def __init__(self) -> None:
        # When a counter was made is a series of its own in this format, and nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library lacks its annotation
        self.registry = CollectorRegistry()
        self._uploads = Counter(
            "b3lb_api_uploads",
            "Uploads that ended, by outcome: Stored, Present, or the reason of the refusal",
            ["outcome"],
            registry=self.registry,
        )
        self.upload_bytes = Counter(
            "b3lb_api_upload_bytes", "Bytes of uploads that arrived, kept or not", registry=self.registry
        )
        self._upload_seconds = Histogram(
            "b3lb_api_upload_seconds",
            "How long uploads took that are kept",
            buckets=UPLOAD_SECONDS,
            registry=self.registry,
        )
        self.uploads_in_flight = Gauge(
            "b3lb_api_uploads_in_flight", "Uploads that are being taken", registry=self.registry
        )
        self.playbacks = Counter(
            "b3lb_api_playbacks",
            "Answers to whoever asked for a video or its picture, by kind (video, poster) and HTTP status",
            ["kind", "code"],
            registry=self.registry,
        )
        self.playback_bytes = Counter(
            "b3lb_api_playback_bytes", "Bytes of videos and pictures that were sent", registry=self.registry
        )
        self.playbacks_broken = Counter(
            "b3lb_api_playbacks_broken",
            "Answers that were not sent whole, by cause: HungUp, Idle, StorageUnavailable, Stopping",
            ["cause"],
            registry=self.registry,
        )
        self.playbacks_in_flight = Gauge(
            "b3lb_api_playbacks_in_flight", "Videos and pictures that are being sent", registry=self.registry
        )
        Gauge("b3lb_api_build_info", "1, with the front end's version", ["version"], registry=self.registry).labels(
            __version__
        ).set(1)
        ProcessCollector(registry=self.registry)

    @contextmanager
    def upload(self) -> Iterator[Outcome]:
        """Count an upload and how long it takes; the block tells the outcome."""
        began = time.monotonic()
        outcome = Outcome()
        try:
            yield outcome
        finally:
            self._uploads.labels(outcome.name).inc()
            if outcome.name == STORED:
                self._upload_seconds.observe(time.monotonic() - began)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
