"""The environment that says which storage: ``B3LB_STORAGE_DIRECTORY``, or ``B3LB_S3_BUCKET`` and what goes with it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from b3lb.settings import PREFIX, Settings, SettingsError
from b3lb.storage.interface import Storage

_MIB = 1 << 20


class StorageSettings(Settings):
    """Where archives and videos are.

    Of an S3 server: endpoint and region where they are not the client library's own, ``s3_public_endpoint`` for
    pre-signed URLs where players reach it under another name, credentials where the library would not find them.
    Parts of an upload have ``s3_part_mib`` MiB; 10,000 of them are the largest object.
    """

    storage_directory: Path | None = None
    s3_bucket: str | None = Field(default=None, min_length=3, max_length=63)
    s3_endpoint: str | None = None
    s3_public_endpoint: str | None = None
    s3_region: str | None = None
    s3_access_key_id: SecretStr | None = None
    s3_secret_access_key: SecretStr | None = None
    s3_path_style: bool = True
    s3_part_mib: int = Field(default=8, ge=5, le=512)


def open_storage(settings: StorageSettings) -> Storage:
    """Return the storage that the settings name; nothing is read or written yet.

    Raises:
        SettingsError: They name none, or two, or a directory that is not there.
    """
    if (settings.storage_directory is None) == (settings.s3_bucket is None):
        raise SettingsError(f"set either {PREFIX}STORAGE_DIRECTORY or {PREFIX}S3_BUCKET")
    if settings.storage_directory is not None:
        from b3lb.storage.directory import DirectoryStorage  # noqa: PLC0415 - beside S3's, which is dear to import

        if not settings.storage_directory.is_dir():
            raise SettingsError(f"{PREFIX}STORAGE_DIRECTORY: not a directory")
        return DirectoryStorage(settings.storage_directory)
    return _open_bucket(settings)


def _open_bucket(settings: StorageSettings) -> Storage:
    # A second of CPU that a directory can do without.
    from b3lb.storage.s3 import Bucket, S3Storage  # noqa: PLC0415

    def value(secret: SecretStr | None) -> str | None:
        return None if secret is None else secret.get_secret_value()

    if (settings.s3_access_key_id is None) != (settings.s3_secret_access_key is None):
        raise SettingsError(f"set both {PREFIX}S3_ACCESS_KEY_ID and {PREFIX}S3_SECRET_ACCESS_KEY, or neither")
    try:
        return S3Storage(
            Bucket(
                name=settings.s3_bucket or "",
                endpoint=settings.s3_endpoint,
                public_endpoint=settings.s3_public_endpoint,
                region=settings.s3_region,
                access_key_id=value(settings.s3_access_key_id),
                secret_access_key=value(settings.s3_secret_access_key),
                path_style=settings.s3_path_style,
                part_bytes=settings.s3_part_mib * _MIB,
            )
        )
    except ValueError as error:
        # botocore's, for a malformed endpoint or an absent region; it quotes nothing secret.
        raise SettingsError(f"{PREFIX}S3_*: {error}") from None
