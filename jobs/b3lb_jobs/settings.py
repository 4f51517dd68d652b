"""The environment of ``b3lb-job``."""

from __future__ import annotations

import socket
from typing import Annotated

from pydantic import AfterValidator, Field

from b3lb.settings import DatabaseSettings, EncryptionSettings, LogSettings
from b3lb_jobs.options import MOST_IN_FLIGHT
from b3lb_jobs.ticks import TICK_SECONDS


def _tick_seconds(seconds: int) -> int:
    if seconds not in TICK_SECONDS:
        raise ValueError(f"must be one of {', '.join(map(str, TICK_SECONDS))}")
    return seconds


class JobSettings(DatabaseSettings, EncryptionSettings, LogSettings):
    """What a run reads from its environment; flags go before it, and the queue's row stands behind it.

    ``tick_seconds`` and ``max_in_flight`` are None when the environment leaves them to the queue.
    """

    namespace: str = Field(default="default", min_length=1, max_length=63)
    queue: str | None = Field(default=None, max_length=63)
    pod_name: str = Field(default_factory=socket.gethostname, min_length=1, max_length=253)
    tick_seconds: Annotated[int, AfterValidator(_tick_seconds)] | None = None
    max_in_flight: int | None = Field(default=None, ge=1, le=MOST_IN_FLIGHT)
