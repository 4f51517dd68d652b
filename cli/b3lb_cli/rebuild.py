"""``b3lb recordings rebuild``: the index of recordings comes back from the manifests in the storage."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.manifests import manifest_of
from b3lb.db.rebuild import Rebuilt, adopt_install_id, newest_of_each, restore_record_set
from b3lb.db.record_sets import read_database_install_id
from b3lb.db.tables import record_sets
from b3lb.settings import SettingsError, load_settings
from b3lb.storage.installation import InstallationMismatchError, read_install_id
from b3lb.storage.interface import Storage, StorageError
from b3lb.storage.manifest import Manifest, ManifestError, list_manifests, settle_manifest
from b3lb.storage.settings import StorageSettings, open_storage
from b3lb.views.values import Document
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode

BATCH = 100
"""So many record sets are restored in one transaction."""

_NEEDS_STORAGE = "this needs the storage's settings, B3LB_STORAGE_DIRECTORY or B3LB_S3_BUCKET with its own"


@dataclass(slots=True)
class Report:
    """What was found and done; ``unreadable`` are manifests that are none, each with its reason."""

    manifests: int = 0
    record_sets: int = 0
    videos: int = 0
    unreadable: list[str] = field(default_factory=list)
    adopted: UUID | None = None

    def document(self, *, dry_run: bool) -> Document:
        """Return it for programs."""
        return {
            "kind": "Rebuild",
            "dryRun": dry_run,
            "manifests": self.manifests,
            "recordSets": self.record_sets,
            "videos": self.videos,
            "adoptedInstallation": None if self.adopted is None else str(self.adopted),
            "unreadable": self.unreadable,
        }


def configured_storage() -> Storage | None:
    """Return the storage that the environment names, None if it names none.

    Raises:
        CommandError: A setting is wrong.
    """
    try:
        settings = load_settings(StorageSettings)
        if settings.storage_directory is None and settings.s3_bucket is None:
            return None
        return open_storage(settings)
    except SettingsError as error:
        raise CommandError(ExitCode.CONFIGURATION, str(error)) from None


def needed_storage() -> Storage:
    """Return the storage that the environment names.

    Raises:
        CommandError: It names none, or a setting is wrong.
    """
    storage = configured_storage()
    if storage is None:
        raise CommandError(ExitCode.CONFIGURATION, _NEEDS_STORAGE)
    return storage


def rebuild(url: str, namespace: str, storage: Storage, *, dry_run: bool, adopt: bool) -> Report:
    """Restore what the manifests of a namespace tell of and the database does not know; what it knows stays.

    Args:
        url: The database's.
        namespace: Whose recordings.
        storage: Where the manifests are.
        dry_run: Whether nothing is written.
        adopt: Whether a database that has record sets already may become that of the storage's installation.

    Raises:
        CommandError: The storage cannot be read, or belongs to another installation.
    """
    report = Report()
    try:
        report.adopted = _adopt(url, read_install_id(storage), dry_run=dry_run, adopt=adopt)
        manifests = _manifests(storage, namespace, report)
    except (StorageError, InstallationMismatchError) as error:
        raise CommandError(ExitCode.AWAY, f"storage: {error}") from error
    report.manifests = len(manifests)
    for batch in _batches(manifests):
        for done in ask(url, partial(_restore, manifests=batch, dry_run=dry_run), write=not dry_run):
            report.record_sets += done.record_set
            report.videos += done.videos
        sys.stderr.write(f"{report.record_sets} of {report.manifests} record sets were not there\n")
        sys.stderr.flush()
    return report


def _adopt(url: str, stored: UUID | None, *, dry_run: bool, adopt: bool) -> UUID | None:
    """Let the database carry the storage's installation's ID; return that if it did not."""
    if stored is None:
        raise CommandError(
            ExitCode.NOT_FOUND, "the storage belongs to no installation: nothing was ever uploaded there"
        )

    def change(connection: sa.Connection) -> UUID | None:
        own = read_database_install_id(connection)
        if own == stored:
            return None
        used = connection.execute(sa.select(sa.exists(sa.select(record_sets.c.id)))).scalar_one()
        if used and not adopt:
            message = (
                f"the storage belongs to installation {stored}, the database to {own} and has recordings already: "
                "--adopt makes it the database of the storage's"
            )
            raise CommandError(ExitCode.NOT_FOUND, message)
        if not dry_run:
            adopt_install_id(connection, stored)
        return stored

    return ask(url, change, write=not dry_run)


def _manifests(storage: Storage, namespace: str, report: Report) -> list[Manifest]:
    found: list[Manifest] = []
    for item in list_manifests(storage, namespace):
        if isinstance(item, ManifestError):
            report.unreadable.append(str(item))
        else:
            found.append(item[0])
    return newest_of_each(found)


def _restore(connection: sa.Connection, *, manifests: Sequence[Manifest], dry_run: bool) -> list[Rebuilt]:
    if not dry_run:
        return [restore_record_set(connection, manifest) for manifest in manifests]
    ids = [manifest.record_set_id for manifest in manifests]
    names = [manifest.record_id for manifest in manifests]
    rows = connection.execute(
        sa.select(record_sets.c.namespace, record_sets.c.record_id).where(
            sa.or_(record_sets.c.id.in_(ids), record_sets.c.record_id.in_(names))
        )
    )
    known = {(row.namespace, row.record_id) for row in rows}
    missing = [manifest for manifest in manifests if (manifest.namespace, manifest.record_id) not in known]
    return [Rebuilt(record_set=True, videos=len(manifest.videos)) for manifest in missing]


def _batches(manifests: Sequence[Manifest]) -> Iterator[list[Manifest]]:
    items = iter(manifests)
    while batch := list(itertools.islice(items, BATCH)):
        yield batch


def note_hold(url: str, storage: Storage, record_set: UUID) -> None:
    """Write the manifest anew, so that a legal hold is there after a rebuild, too.

    Raises:
        CommandError: The storage failed, or the database is away.
    """
    noted = "the hold is noted in the database, and not in the manifest"
    try:
        settled = settle_manifest(storage, lambda: ask(url, lambda connection: manifest_of(connection, record_set)))
    except StorageError as error:
        raise CommandError(ExitCode.AWAY, f"{noted}, for the storage failed: {error}; do it again") from error
    if not settled:
        raise CommandError(ExitCode.AWAY, f"{noted}, for the recording changes all the time; do it again")
