"""Whose storage it is: the database and the storage carry the same installation's ID, or nothing may be swept."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from b3lb.storage.interface import ObjectNotFoundError, Storage
from b3lb.storage.layout import INSTALLATION_KEY

_MOST_BYTES = 4096


class InstallationMismatchError(Exception):
    """Database and storage belong to different installations, or the storage to nobody can say whom."""


class _Installation(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    install_id: UUID


def read_install_id(storage: Storage) -> UUID | None:
    """Return the ID that the storage carries; None for a storage that nobody claimed.

    Raises:
        InstallationMismatchError: What it carries is no ID.
        StorageError: The storage failed.
    """
    try:
        with storage.open(INSTALLATION_KEY, length=_MOST_BYTES) as file:
            return _Installation.model_validate_json(file.read()).install_id
    except ObjectNotFoundError:
        return None
    except ValidationError:
        raise InstallationMismatchError(f"{INSTALLATION_KEY} of the storage cannot be read") from None


def claim(storage: Storage, install_id: UUID) -> None:
    """Make sure that the storage carries ``install_id``, writing it into a storage that is empty so far.

    Raises:
        InstallationMismatchError: It carries another one, or holds objects and no ID.
        StorageError: The storage failed.
    """
    found = read_install_id(storage)
    if found is None:
        if next(storage.list(), None) is None:
            with storage.create(INSTALLATION_KEY, content_type="application/json") as writer:
                writer.write(_Installation(install_id=install_id).model_dump_json().encode())
                writer.publish()
        # Whoever claimed it at the same time, before the list or after it: the last one's ID stands.
        found = read_install_id(storage)
    check(found, install_id)


def check(found: UUID | None, install_id: UUID) -> None:
    """Make sure that a storage's ID (`read_install_id`) is the database's.

    Raises:
        InstallationMismatchError: It is not.
    """
    if found is None:
        raise InstallationMismatchError("the storage holds objects and no installation's ID")
    if found != install_id:
        raise InstallationMismatchError(f"the storage belongs to installation {found}, the database to {install_id}")
