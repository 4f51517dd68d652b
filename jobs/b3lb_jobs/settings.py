"""The environment of ``b3lb-job``."""

from __future__ import annotations

import socket
from typing import Annotated

from pydantic import AfterValidator, Field

from b3lb.release import RetryPolicy
from b3lb.settings import DatabaseSettings, EncryptionSettings, LogSettings
from b3lb_jobs.options import MOST_IN_FLIGHT
from b3lb_jobs.ticks import TICK_SECONDS


def _tick_seconds(seconds: int) -> int:
    if seconds not in TICK_SECONDS:
        raise ValueError(f"must be one of {', '.join(map(str, TICK_SECONDS))}")
    return seconds


class JobSettings(DatabaseSettings, EncryptionSettings, LogSettings):
    """What a run reads from its environment; flags go before it, and the queue's row stands behind it.

    ``tick_seconds`` and ``max_in_flight`` are None when the environment leaves them to the queue. ``attempt`` and what
    follows it concern an enqueued run only; the operator sets them from the BBBQueue. ``chunk`` is the index of a pod
    whose Job works on chunks; ``job_name`` is set where a Job works on several runs, up to ``concurrency`` side by side
    and each at most ``time_limit_seconds``. A pod that ticks ends after ``max_ticks`` ticks, or when its memory grew by
    ``max_memory_growth_mib``.
    """

    namespace: str = Field(default="default", min_length=1, max_length=63)
    queue: str | None = Field(default=None, max_length=63)
    pod_name: str = Field(default_factory=socket.gethostname, min_length=1, max_length=253)
    tick_seconds: Annotated[int, AfterValidator(_tick_seconds)] | None = None
    max_in_flight: int | None = Field(default=None, ge=1, le=MOST_IN_FLIGHT)
    attempt: int = Field(default=1, ge=1)
    soft_time_limit_seconds: int = Field(default=240, ge=1)
    max_retries: int = Field(default=RetryPolicy().max_retries, ge=0)
    retry_backoff_seconds: int = Field(default=RetryPolicy().backoff_seconds, ge=1)
    retry_maximum_seconds: int = Field(default=RetryPolicy().maximum_seconds, ge=1)

    time_limit_seconds: int = Field(default=300, ge=1)
    chunk: int | None = Field(default=None, ge=0)
    job_name: str | None = Field(default=None, max_length=253)
    concurrency: int = Field(default=1, ge=1)
    max_ticks: int | None = Field(default=None, ge=1)
    max_memory_growth_mib: int | None = Field(default=None, ge=1)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How often an enqueued run is tried again, and after which pauses."""
        return RetryPolicy(
            max_retries=self.max_retries,
            backoff_seconds=self.retry_backoff_seconds,
            maximum_seconds=self.retry_maximum_seconds,
        )
