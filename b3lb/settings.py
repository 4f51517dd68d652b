"""Settings that several programs share, read from the environment; a program inherits what it needs.

``class JobSettings(DatabaseSettings, EncryptionSettings, LogSettings)`` reads everything at once, and `load_settings`
turns whatever is wrong into one line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from b3lb.crypto import KeyRing
from b3lb.db.engine import DEFAULT_KEEPALIVE, Keepalive, check_url

PREFIX = "B3LB_"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class SettingsError(Exception):
    """The environment is wrong; the message is one line that names the variables, never their values."""


def own_namespace() -> str:
    """Return the namespace of the pod's service account, ``default`` outside of a cluster."""
    try:
        return _NAMESPACE_FILE.read_text().strip() or "default"
    except OSError:
        return "default"


def _checked_url(url: SecretStr) -> SecretStr:
    check_url(url.get_secret_value())
    return url


def _checked_keys(keys: SecretStr) -> SecretStr:
    KeyRing.parse(keys.get_secret_value())
    return keys


DatabaseURL = Annotated[SecretStr, AfterValidator(_checked_url)]


class Settings(BaseSettings):
    """The base: variables begin with ``B3LB_``, an empty one counts as absent, errors never repeat a value."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, frozen=True
    )


class DatabaseSettings(Settings):
    """Where PostgreSQL is: ``B3LB_DATABASE_URL`` and, past a pooler, ``B3LB_DATABASE_DIRECT_URL``.

    ``B3LB_DATABASE_KEEPALIVE_IDLE_SECONDS``, ``…_INTERVAL_SECONDS`` and ``…_COUNT`` say how a dead connection is
    noticed.
    """

    database_url: DatabaseURL
    database_direct_url: DatabaseURL | None = None
    database_keepalive_idle_seconds: int = Field(default=DEFAULT_KEEPALIVE.idle, ge=1, le=600)
    database_keepalive_interval_seconds: int = Field(default=DEFAULT_KEEPALIVE.interval, ge=1, le=600)
    database_keepalive_count: int = Field(default=DEFAULT_KEEPALIVE.count, ge=1, le=20)

    @property
    def keepalive(self) -> Keepalive:
        """How a dead connection is noticed."""
        return Keepalive(
            idle=self.database_keepalive_idle_seconds,
            interval=self.database_keepalive_interval_seconds,
            count=self.database_keepalive_count,
        )

    @property
    def url(self) -> str:
        """The URL for ordinary transactions; a pooler may stand in between."""
        return self.database_url.get_secret_value()

    @property
    def direct_url(self) -> str:
        """The URL for LISTEN and migrations."""
        return (self.database_direct_url or self.database_url).get_secret_value()


class MigrationSettings(Settings):
    """What migrating takes: one of the two URLs."""

    database_url: DatabaseURL | None = None
    database_direct_url: DatabaseURL | None = None

    @property
    def direct_url(self) -> str:
        """The URL past a pooler if there is one.

        Raises:
            SettingsError: Neither variable is set.
        """
        url = self.database_direct_url or self.database_url
        if url is None:
            raise SettingsError(f"{PREFIX}DATABASE_URL is not set")
        return url.get_secret_value()


class EncryptionSettings(Settings):
    """``B3LB_ENCRYPTION_KEYS``: ``id:base64[,id:base64…]``, the first one encrypts."""

    encryption_keys: Annotated[SecretStr, AfterValidator(_checked_keys)]

    @property
    def key_ring(self) -> KeyRing:
        """The keys."""
        return KeyRing.parse(self.encryption_keys.get_secret_value())


class LogSettings(Settings):
    """``B3LB_LOG_FORMAT`` (json, console) and ``B3LB_LOG_LEVEL`` (debug, info, warning, error)."""

    log_format: Literal["json", "console"] = "json"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)] = "info"


S = TypeVar("S", bound=Settings)


def load_settings(kind: type[S], **given: Any) -> S:
    """Return the settings of ``kind`` from the environment; values that are given go before it.

    Raises:
        SettingsError: A variable is missing or wrong.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        # From None: the original would be printed with the settings it was made from.
        raise SettingsError("; ".join(_problem(item) for item in error.errors(include_input=False))) from None


def _problem(item: object) -> str:
    """Return one of pydantic's errors as ``VARIABLE: what is wrong``."""
    if not isinstance(item, dict):
        return str(item)
    name = PREFIX + "_".join(str(part) for part in item["loc"][:1]).upper()
    if item["type"] == "missing":
        return f"{name} is not set"
    return f"{name}: {str(item['msg']).removeprefix('Value error, ')}"
