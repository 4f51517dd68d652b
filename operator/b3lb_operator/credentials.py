"""Database URL and encryption keys that were not there when the operator started.

A pod's environment is made once, and without a Secret that it has to have there is no pod that could say what is
missing. So the Secrets may be missing there: the operator then reads them itself, from the namespace of the farm, where
the jobs need the same ones, and says until then what it waits for.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from b3lb.settings import DatabaseSettings, EncryptionSettings, Settings, SettingsError, load_settings
from b3lb_operator.kinds import SECRET, Key
from b3lb_operator.kube import Kube, KubeError, NotFoundError
from b3lb_operator.settings import BroughtSettings, OperatorSettings, ProgramSettings

RETRY_SECONDS = 2.0

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Source:
    """A Secret: its name, the key that it has to have, the settings by their keys, and what checks them."""

    name: Callable[[ProgramSettings], str]
    needed: str
    fields: Mapping[str, str]
    settings: type[Settings]


_DATABASE = _Source(
    name=lambda settings: settings.job_database_secret,
    needed="url",
    fields={"url": "database_url", "directUrl": "database_direct_url"},
    settings=DatabaseSettings,
)
_ENCRYPTION = _Source(
    name=lambda settings: settings.job_encryption_secret,
    needed="keys",
    fields={"keys": "encryption_keys"},
    settings=EncryptionSettings,
)


class MissingSecretError(Exception):
    """A Secret is not there or of no use; the message names it and what it lacks, never a value."""


class Credentials:
    """Completes the settings from Secrets, however long that takes."""

    def __init__(self, kube: Kube, settings: ProgramSettings) -> None:
        """Take the API server and what is known already; the Secrets are those of the first namespace."""
        self._kube = kube
        self._settings = settings
        self._problem = "not read yet"

    def problem(self) -> str | None:
        """Return what is missing, for the readiness check."""
        return f"waiting for Secrets: {self._problem}" if self._problem else None

    async def wait(self) -> OperatorSettings:
        """Return the complete settings as soon as the Secrets are there; what is missing is logged once."""
        told = ""
        while True:
            try:
                settings = await self._complete()
            except (MissingSecretError, KubeError) as error:
                self._problem = str(error)
            else:
                self._problem = ""
                if told:
                    _log.info("the Secrets are there")
                return settings
            if self._problem != told:
                _log.warning("waiting for Secrets", problem=self._problem)
            told = self._problem
            await asyncio.sleep(RETRY_SECONDS)

    async def _complete(self) -> OperatorSettings:
        brought = load_settings(BroughtSettings)
        found: dict[str, str] = {}
        missing: list[str] = []
        for source, value in ((_DATABASE, brought.database_url), (_ENCRYPTION, brought.encryption_keys)):
            if value is None:
                try:
                    found |= await self._read(source)
                except MissingSecretError as error:
                    missing.append(str(error))
        if missing:
            raise MissingSecretError("; ".join(missing))
        return load_settings(OperatorSettings, **found)

    async def _read(self, source: _Source) -> dict[str, str]:
        """Return the settings that a Secret holds.

        Raises:
            MissingSecretError: It is not there, lacks its key, or holds what is no such setting.
        """
        key = Key(self._settings.namespaces[0], source.name(self._settings))
        try:
            data = (await self._kube.get(SECRET, key)).get("data") or {}
        except NotFoundError:
            raise MissingSecretError(f"Secret {key} does not exist") from None
        if not data.get(source.needed):
            raise MissingSecretError(f"Secret {key} has no key {source.needed}")
        try:
            values = {
                field: base64.b64decode(data[name]).decode() for name, field in source.fields.items() if data.get(name)
            }
            load_settings(source.settings, **values)
        except (SettingsError, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, SettingsError) else "it is no text"
            raise MissingSecretError(f"Secret {key}: {reason}") from None
        return values
