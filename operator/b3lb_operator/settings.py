"""What the operator is told by its environment."""

from __future__ import annotations

import os
import re
import socket
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from b3lb.settings import DatabaseSettings, EncryptionSettings, LogSettings, own_namespace
from b3lb_operator.manifests.cronjob import JobDefaults

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class OperatorSettings(DatabaseSettings, EncryptionSettings, LogSettings):
    """All of the operator's settings; each variable begins with ``B3LB_``.

    ``namespaces`` (comma-separated) are watched; default: the operator's own. ``job_image``, ``job_database_secret``
    (key ``url``) and ``job_encryption_secret`` (key ``keys``) go into the CronJobs. ``task_queue_core`` overrides the
    label b3lb.io/queue of the queue ``core``. ``http_address`` and ``http_port`` are those of ``/livez`` and
    ``/readyz``; default: ``$POD_IP`` or all addresses, 8080.
    """

    namespaces: Annotated[tuple[str, ...], NoDecode] = Field(default_factory=lambda: (own_namespace(),))
    job_image: str = ""
    job_database_secret: str = "b3lb-database"  # noqa: S105 - the name of a Secret
    job_encryption_secret: str = "b3lb-encryption"  # noqa: S105 - the name of a Secret
    task_queue_core: str | None = None
    http_address: str = Field(default_factory=lambda: os.environ.get("POD_IP") or "0.0.0.0")  # noqa: S104 - a pod's
    http_port: int = Field(default=8080, ge=0, le=65535)

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))

    @field_validator("namespaces")
    @classmethod
    def _check_namespaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(_NAMESPACE.fullmatch(namespace) for namespace in value):
            raise ValueError("write the names of namespaces, separated by commas")
        return value

    @field_validator("task_queue_core")
    @classmethod
    def _check_label(cls, value: str | None) -> str | None:
        if value is not None and not _LABEL_VALUE.fullmatch(value):
            raise ValueError("write the value of a label: at most 63 letters, digits, '-', '_' and '.'")
        return value

    @property
    def job_defaults(self) -> JobDefaults:
        """What every CronJob gets from here."""
        return JobDefaults(
            image=self.job_image,
            database_secret=self.job_database_secret,
            encryption_secret=self.job_encryption_secret,
            queue_labels={} if self.task_queue_core is None else {"core": self.task_queue_core},
            log_format=self.log_format,
            log_level=self.log_level,
        )

    @property
    def identity(self) -> str:
        """Who this process is, in the Lease and in Events: the pod's name."""
        return socket.gethostname()
