"""What stands behind the front end: database and storage, called from threads so that no request waits for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import BinaryIO, ParamSpec, TypeVar
from uuid import UUID

import sqlalchemy as sa
import sqlalchemy.exc

from b3lb.crypto import KeyRing, UnknownKeyError
from b3lb.db import node_states, record_sets
from b3lb.db.engine import create_engine, database_clock, transaction
from b3lb.db.errors import describe, is_transient, lacks_schema
from b3lb.db.playback import Published, find_published
from b3lb.db.record_sets import Attribution, KnownRecordSet, Uploaded
from b3lb.db.schema import SchemaMismatchError, check_schema
from b3lb.logs import get_logger
from b3lb.storage import installation
from b3lb.storage.installation import InstallationMismatchError
from b3lb.storage.interface import Storage, StorageError
from b3lb_api.settings import ApiSettings

STATEMENT_SECONDS = 5.0
CONNECTIONS = 4
PLAYBACK_THREADS = 8

_log = get_logger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class UnavailableError(Exception):
    """Database or storage cannot be used now; the message is one line without secrets."""


class Backend:
    """The front end's way to database and storage; `close` it at the end."""

    def __init__(self, settings: ApiSettings, storage: Storage) -> None:
        self.namespace = settings.namespace
        self.storage = storage
        self._keys: KeyRing = settings.key_ring
        self._engine = create_engine(
            settings.url, application_name="b3lb-api", pool_size=CONNECTIONS, keepalive=settings.keepalive
        )
        self._database_threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="database")
        self._storage_threads = ThreadPoolExecutor(settings.uploads_at_once + 1, thread_name_prefix="storage")
        # Apart, so that no number of players holds up an upload.
        self._playback_threads = ThreadPoolExecutor(PLAYBACK_THREADS, thread_name_prefix="playback")
        self._install_id: UUID | None = None

    async def close(self) -> None:
        """Wait for what is under way, then let connections and threads go."""
        for threads in (self._database_threads, self._storage_threads, self._playback_threads):
            await asyncio.to_thread(threads.shutdown)
        self._engine.dispose()

    async def in_storage(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Call something of the storage in a thread.

        Raises:
            StorageError: The storage failed.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._storage_threads, lambda: function(*arguments, **named)
        )

    async def playing(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Call something of the storage for a player, in a thread.

        Raises:
            StorageError: The storage failed.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._playback_threads, lambda: function(*arguments, **named)
        )

    def close_later(self, file: BinaryIO) -> None:
        """Close a file in a thread, after what is being read from it there."""

        def close() -> None:
            with contextlib.suppress(OSError):
                file.close()

        self._playback_threads.submit(close)

    async def published(self, nonce: str) -> Published | None:
        """Return what a nonce names.

        Raises:
            UnavailableError: The database is away.
        """
        return await self._in_database(find_published, self.namespace, nonce)

    async def cluster_of(self, nonce: str) -> str | None:
        """Return the cluster whose upload secret ``nonce`` is.

        Raises:
            UnavailableError: The database is away, or has secrets that the keys of this process do not open.
        """
        found = await self._in_database(record_sets.read_upload_secrets, self.namespace)
        try:
            return record_sets.matching_cluster(nonce, found, self._keys, namespace=self.namespace)
        except UnknownKeyError as error:
            # Said to a node as "wrong", it would have it give up; which keys there are is not for it to know.
            _log.error("the front end lacks an encryption key: restart it", message=str(error))
            raise UnavailableError("an upload secret cannot be read now") from None

    async def known(self, record_id: str) -> KnownRecordSet | None:
        """Return the record set of a recording that was uploaded before.

        Raises:
            UnavailableError: The database is away.
        """
        return await self._in_database(record_sets.find_record_set, self.namespace, record_id)

    async def attribute(self, record_id: str, meeting_id: str) -> tuple[Attribution, datetime]:
        """Find whose a recording is, and what time it is by the database's clock.

        Raises:
            UnavailableError: The database is away.
        """

        def read(connection: sa.Connection) -> tuple[Attribution, datetime]:
            found = record_sets.attribute_recording(
                connection, self.namespace, record_id=record_id, meeting_id=meeting_id
            )
            return found, database_clock(connection)

        return await self._in_database(read)

    async def note(self, uploaded: Uploaded) -> bool:
        """Note an upload and tell the operator; False, and nothing told, if its recording is there already.

        Raises:
            UnavailableError: The database is away.
        """

        def write(connection: sa.Connection) -> bool:
            if not record_sets.insert_record_set(connection, uploaded):
                return False
            node_states.notify(connection, uploaded.namespace)
            return True

        return await self._in_database(write)

    async def install_id(self) -> UUID:
        """Return the installation's ID, after making sure once that the storage carries it, too.

        Raises:
            UnavailableError: The database is away, or the storage belongs to another installation.
            StorageError: The storage failed.
        """
        if self._install_id is None:
            found = await self._in_database(record_sets.read_database_install_id)
            try:
                await self.in_storage(installation.claim, self.storage, found)
            except InstallationMismatchError as error:
                raise UnavailableError(str(error)) from error
            self._install_id = found
        return self._install_id

    async def check(self) -> None:
        """Make sure that uploads can be taken.

        Raises:
            UnavailableError: They cannot; the message says why.
        """
        await self._in_database(check_schema)
        try:
            await self.install_id()
        except StorageError as error:
            raise UnavailableError(str(error)) from error

    async def _in_database(self, function: Callable[..., Result], *arguments: object) -> Result:
        def call() -> Result:
            with _faults(), transaction(self._engine, timeout_seconds=STATEMENT_SECONDS) as connection:
                return function(connection, *arguments)

        return await asyncio.get_running_loop().run_in_executor(self._database_threads, call)


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except SchemaMismatchError as error:
        raise UnavailableError(str(error)) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        if is_transient(error) or lacks_schema(error):
            raise UnavailableError(f"database: {describe(error)}") from error
        raise
