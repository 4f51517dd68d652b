"""What the operator is told by its environment."""

from __future__ import annotations

import os
import re
import socket
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from b3lb.settings import (
    DatabaseSettings,
    EncryptionSettings,
    LogSettings,
    Settings,
    load_settings,
    own_namespace,
)
from b3lb_operator.manifests.cronjob import JobDefaults
from b3lb_operator.manifests.job_template import JobStorage, JobTemplate, parse_job_storage, parse_job_template

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

_TOKEN = re.compile(r"[!-~]{16,256}")
"""As it may stand in a header; a shorter one could be guessed."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Names, separated by commas."""


class NamespaceSettings(LogSettings):
    """``namespaces`` are watched; default: the operator's own."""

    namespaces: Names = Field(default_factory=lambda: (own_namespace(),))

    @field_validator("namespaces")
    @classmethod
    def _check_namespaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(_NAMESPACE.fullmatch(namespace) for namespace in value):
            raise ValueError("write the names of namespaces, separated by commas")
        return value


class ProgramSettings(NamespaceSettings):
    """The operator's settings but for database and key; each variable begins with ``B3LB_``.

    ``job_image``, ``job_database_secret`` (key ``url``) and ``job_encryption_secret`` (key ``keys``) go into the
    CronJobs, and so does ``job_template``, a JSON object (see `JobTemplate`). ``job_storage``, another one (see
    `JobStorage`), says the pods that work on recordings where these are; ``job_pypy_image`` is that of renders on PyPy
    (default: ``job_image``). ``task_queue_core`` and
    ``task_queue_statistics`` override the label b3lb.io/queue of the queues ``core`` and ``statistics``. With
    ``wait_for_secrets`` the operator, too, takes what its environment lacks from these two Secrets, and waits for them.
    ``objects`` (comma-separated) are ConfigMaps that hold a custom resource each, which the operator applies in every
    namespace. ``leader_election`` lets only one of several operators work. ``database_pool_size`` is the most
    connections for transactions at the same time. ``http_address`` and ``http_port`` are those of ``/livez`` and
    ``/readyz``; default: ``$POD_IP`` or every address, 8080. ``control_token`` opens what is below ``/control``;
    without it nothing is there. ``api_ready_url`` is where the doctor asks a farm's front end whether it takes uploads,
    with ``{namespace}`` for the farm's. With ``dashboard`` the token opens the pages below ``/dashboard``, too.
    """

    objects: Names = ()
    leader_election: bool = False
    database_pool_size: int = Field(default=3, ge=1, le=20)
    job_image: str = ""
    job_database_secret: str = "b3lb-database"  # noqa: S105 - the name of a Secret
    job_encryption_secret: str = "b3lb-encryption"  # noqa: S105 - the name of a Secret
    job_template: Annotated[JobTemplate, NoDecode] = Field(default_factory=JobTemplate)
    job_storage: Annotated[JobStorage | None, NoDecode] = None
    job_pypy_image: str = ""
    api_ready_url: str = Field(default="", max_length=2048)
    task_queue_core: str | None = None
    task_queue_statistics: str | None = None
    wait_for_secrets: bool = False
    # Empty: every address of both families; "kubectl port-forward" comes from the pod's own loopback.
    http_address: str = Field(default_factory=lambda: os.environ.get("POD_IP", ""))
    http_port: int = Field(default=8080, ge=0, le=65535)
    control_token: SecretStr | None = None
    dashboard: bool = False

    @field_validator("job_template", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        return parse_job_template(value) if isinstance(value, str) else value

    @field_validator("job_storage", mode="before")
    @classmethod
    def _parse_storage(cls, value: object) -> object:
        return parse_job_storage(value) if isinstance(value, str) else value

    @field_validator("task_queue_core", "task_queue_statistics")
    @classmethod
    def _check_label(cls, value: str | None) -> str | None:
        if value is not None and not _LABEL_VALUE.fullmatch(value):
            raise ValueError("write the value of a label: at most 63 letters, digits, '-', '_' and '.'")
        return value

    @field_validator("control_token")
    @classmethod
    def _check_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        # Files and "echo" end in a newline, which is no part of the token.
        token = value.get_secret_value().strip()
        if not _TOKEN.fullmatch(token):
            raise ValueError("write 16 to 256 printable ASCII characters without blanks")
        return SecretStr(token)

    @property
    def job_defaults(self) -> JobDefaults:
        """What every CronJob gets from here."""
        labels = {"core": self.task_queue_core, "statistics": self.task_queue_statistics}
        return JobDefaults(
            image=self.job_image,
            database_secret=self.job_database_secret,
            encryption_secret=self.job_encryption_secret,
            queue_labels={queue: label for queue, label in labels.items() if label is not None},
            log_format=self.log_format,
            log_level=self.log_level,
            template=self.job_template,
            storage=self.job_storage,
            pypy_image=self.job_pypy_image,
        )

    @property
    def identity(self) -> str:
        """Who this process is, in the Lease and in Events: the pod's name."""
        return socket.gethostname()


class OperatorSettings(DatabaseSettings, EncryptionSettings, ProgramSettings):
    """All of the operator's settings."""


class BroughtSettings(Settings):
    """Which of the two secret settings the environment brings; neither is looked at."""

    database_url: SecretStr | None = None
    encryption_keys: SecretStr | None = None


def load_operator_settings() -> ProgramSettings:
    """Return the operator's settings: `OperatorSettings`, unless it is to wait for what the environment lacks.

    Raises:
        SettingsError: A variable is missing or wrong.
    """
    program = load_settings(ProgramSettings)
    brought = load_settings(BroughtSettings)
    if program.wait_for_secrets and (brought.database_url is None or brought.encryption_keys is None):
        return program
    return load_settings(OperatorSettings)
