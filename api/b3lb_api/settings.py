"""The environment of ``b3lb-api``."""

from __future__ import annotations

from pydantic import Field

from b3lb.settings import DatabaseSettings, EncryptionSettings, LogSettings, own_namespace
from b3lb.storage.settings import StorageSettings

_GIB = 1 << 30


class ApiSettings(DatabaseSettings, EncryptionSettings, StorageSettings, LogSettings):
    """What the front end reads from its environment.

    ``B3LB_HTTP_ADDRESS`` and ``…_PORT`` say where it listens, ``B3LB_METRICS_PORT`` where metrics and probes are, if
    anywhere. Of uploads: the largest archive in bytes, how many are taken at once (others are told to come again), and
    in how many seconds one has to bring 64 KiB.

    Of playback: how much is sent at once, how long a player may take nothing, whether a storage that serves objects
    itself is redirected to, whether links have to be signed, and how far ahead a signed link may expire.
    """

    namespace: str = Field(default_factory=own_namespace, min_length=1, max_length=63)
    http_address: str = "0.0.0.0"  # noqa: S104 - a pod's own address; the Service decides who comes
    http_port: int = Field(default=8080, ge=0, le=65535)
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    upload_max_bytes: int = Field(default=20 * _GIB, ge=1)
    uploads_at_once: int = Field(default=4, ge=1, le=64)
    upload_idle_seconds: int = Field(default=60, ge=1, le=3600)
    playbacks_at_once: int = Field(default=64, ge=1, le=1024)
    playback_idle_seconds: int = Field(default=60, ge=1, le=3600)
    playback_redirect: bool = True
    playback_signed_links: bool = False
    playback_link_max_seconds: int = Field(default=30 * 86400, ge=60, le=366 * 86400)
    shutdown_seconds: int = Field(default=25, ge=0, le=3600)
