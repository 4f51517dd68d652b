"""From a file on the disk to a video that people see: stored under a key of its own, and public by one transaction.

What follows the transaction (the manifest, the objects of obsolete attempts, the callback) can be repeated: an attempt
that finds its video RENDERED does that part again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from b3lb.callbacks.delivery import SECONDS, CallbackClient
from b3lb.callbacks.outbox import Attempt, after_attempt
from b3lb.crypto import KeyRing
from b3lb.db.callbacks import DueCallback, load_due_callbacks, write_deliveries
from b3lb.db.manifests import manifest_of
from b3lb.db.render_attempts import RenderedVideo, read_rendered
from b3lb.db.renders import RenderedFile, RenderWork, finish_render
from b3lb.logs import get_logger
from b3lb.resources.record_profile import Container
from b3lb.storage.interface import CHUNK_BYTES, Deleted, Storage, StorageError
from b3lb.storage.layout import video_prefix
from b3lb.storage.manifest import Manifest, settle_manifest
from b3lb_jobs.database import Database
from b3lb_jobs.enqueued import patiently
from b3lb_jobs.errors import TransientError
from b3lb_jobs.statistics.deliver_callbacks import send

CONTENT_TYPES = {Container.MP4: "video/mp4", Container.WEBM: "video/webm"}
_MOST_CALLBACKS = 4

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where an attempt stores what it made; no two attempts share a key."""

    video_key: str
    poster_key: str
    content_type: str
    poster_type: str = "image/png"


@dataclass(frozen=True, slots=True)
class Upload:
    """An object as it was written: size in bytes, checksum hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Publication:
    """The video of a record set with a profile, by one run."""

    database: Database
    storage: Storage
    run_id: UUID
    record_set: UUID
    profile: str

    def target(self, work: RenderWork, attempt: int, container: Container) -> Target:
        """Return the keys of an attempt's objects; of two pods at one attempt each has its own."""
        folder = video_prefix(work.namespace, self.record_set, work.id)
        name = f"{folder}{self.run_id}-{attempt}-{token_hex(4)}"
        return Target(f"{name}.{container.value}", f"{name}.png", CONTENT_TYPES[container])

    def publish(self, file: RenderedFile, warnings: Sequence[Mapping[str, Any]]) -> bool:
        """Let the video be RENDERED; return False if it is not this run's to render any more.

        Raises:
            TransientError: The database is away. Whether the video is public is then not known.
        """

        def write() -> bool:
            with self.database.transaction() as connection:
                if finish_render(connection, run_id=self.run_id, file=file, warnings=warnings):
                    return True
                # A commit whose answer was lost.
                found = self._read(connection)
                return found is not None and found.key == file.key

        return patiently(write)

    def rendered(self) -> RenderedVideo | None:
        """Return the video if this run rendered it."""
        with self.database.transaction() as connection:
            return self._read(connection)

    def conclude(self) -> None:
        """Do what follows a publication: write the manifest, and delete what other attempts left.

        Raises:
            StorageError: The storage failed.
            TransientError: The database is away.
        """
        self.write_manifest()
        gone = self.delete_obsolete()
        if gone.objects:
            _log.info("objects of other attempts deleted", record_set=str(self.record_set), objects=gone.objects)

    def write_manifest(self) -> None:
        """Write the manifest from the rows.

        Raises:
            StorageError: The storage failed.
            TransientError: The database is away, or the rows change again and again meanwhile.
        """
        if not settle_manifest(self.storage, self._manifest):
            raise TransientError("the record set changes again and again while its manifest is written")

    def note_failure(self) -> None:
        """Write the manifest anew when a video is FAILED; where that cannot be done, it is as if it were not."""
        try:
            self.write_manifest()
        except (StorageError, TransientError) as error:
            # A rebuilt index then has it rendered once more.
            _log.warning(
                "the manifest does not tell of the failure", record_set=str(self.record_set), reason=str(error)
            )

    def delete_obsolete(self) -> Deleted:
        """Delete the objects of this video that its row does not name.

        They are listed while the row still names this run's: what a later run stores is not among them.
        """
        before = self.rendered()
        if before is None:
            return Deleted()
        listed = list(self.storage.list(video_prefix(before.namespace, self.record_set, before.id)))
        video = self.rendered()
        if video is None:
            return Deleted()
        kept = {video.key, video.poster_key}
        return sum((self.storage.delete(found.key) for found in listed if found.key not in kept), Deleted())

    def _read(self, connection: sa.Connection) -> RenderedVideo | None:
        return read_rendered(connection, run_id=self.run_id, record_set=self.record_set, profile=self.profile)

    def _manifest(self) -> Manifest | None:
        with self.database.transaction(read_only=True) as connection:
            return manifest_of(connection, self.record_set)


def store(storage: Storage, source: Path, key: str, *, content_type: str, on_share: Callable[[float], None]) -> Upload:
    """Store a file; it appears under its key when it is whole.

    Args:
        storage: Where to.
        source: The file.
        key: A new one.
        content_type: Of the file.
        on_share: Is told the share that is stored; what it raises ends the work and leaves nothing.

    Raises:
        StorageError: The storage failed, or has another number of bytes than were written.
    """
    total = source.stat().st_size
    with source.open("rb") as file, storage.create(key, content_type=content_type) as writer:
        while data := file.read(CHUNK_BYTES):
            writer.write(data)
            on_share(writer.size / total)
        upload = Upload(writer.size, writer.sha256)
        stored = writer.publish()
    if stored.size != upload.size:
        raise StorageError(f"{key}: {stored.size} bytes are stored instead of {upload.size}")
    return upload


def withdraw(storage: Storage, target: Target) -> None:
    """Delete the objects of an attempt that is not to be seen; what fails is left to a later attempt and the sweep."""
    for key in (target.video_key, target.poster_key):
        try:
            storage.delete(key)
        except StorageError as error:
            _log.warning("an object is left", key=key, reason=str(error))


def announce(
    database: Database, *, namespace: str, record_id: str, keys: KeyRing, client: CallbackClient | None = None
) -> int:
    """Send the callbacks of a recording that wait, once; return how many went out. What fails is sent again later.

    At most ten seconds for all of them.
    """
    try:
        with database.transaction() as connection:
            due = load_due_callbacks(connection, namespace, most=_MOST_CALLBACKS, record_id=record_id)
        if not due:
            return 0
        attempts = asyncio.run(_send(due, client or CallbackClient(), keys=keys, namespace=namespace))
        now = database.clock.now()
        deliveries = {
            item.id: after_attempt(item.delivery, attempt, now=now, chance=random.random())  # noqa: S311 - spreads load
            for item, attempt in zip(due, attempts, strict=True)
        }
        with database.transaction() as connection:
            return write_deliveries(connection, deliveries)
    except (TransientError, TimeoutError) as error:
        _log.warning("the callback is left to the next delivery", record_id=record_id, reason=str(error))
        return 0


async def _send(due: Sequence[DueCallback], client: CallbackClient, *, keys: KeyRing, namespace: str) -> list[Attempt]:
    async with asyncio.timeout(SECONDS + 1), client:
        return await asyncio.gather(*(send(item, client, keys, namespace) for item in due))
