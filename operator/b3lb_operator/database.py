"""The database as the operator sees it: reachable or not, migrated, calls in threads, and notifications.

The operator starts and lives without a database; it is then not ready, and comes back by itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar

import psycopg
import sqlalchemy as sa
import structlog

from b3lb.db.engine import check_url, connection_parameters, create_engine, transaction
from b3lb.db.errors import describe, is_transient
from b3lb.db.node_states import CHANNEL
from b3lb.db.schema import SchemaMismatchError, judge, read_schema
from b3lb.db.tables import SCHEMA_VERSION

T = TypeVar("T")

APPLICATION_NAME = "b3lb-operator"
STATEMENT_SECONDS = 20.0
RECONNECT_SECONDS = 1.5
PING_SECONDS = 10.0
_PING_ANSWER_SECONDS = 5.0
_CONNECT_SECONDS = 6.0
_MIGRATION_SECONDS = 300.0
_MIGRATION_RETRY_SECONDS = 5.0
_THREADS = 3

_log = structlog.stdlib.get_logger(__name__)


class DatabaseUnavailableError(Exception):
    """The database cannot be used now; the message says why, without secrets."""


class Database:
    """One engine for calls and one connection that listens; all methods belong to the event loop's thread."""

    def __init__(
        self,
        *,
        url: str,
        direct_url: str,
        on_notify: Callable[[str], None],
        on_connected: Callable[[], None],
    ) -> None:
        """Describe the database; nothing is connected yet.

        Args:
            url: For transactions; a pooler may stand behind it.
            direct_url: For LISTEN and migrations; past a pooler.
            on_notify: Called with the namespace in which something changed.
            on_connected: Called whenever the database is there (again) and has its tables.
        """
        self._engine = create_engine(url, application_name=APPLICATION_NAME, pool_size=_THREADS)
        self._direct_url = check_url(direct_url)
        self._on_notify = on_notify
        self._on_connected = on_connected
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="database")
        self._connection_error = "not connected yet"
        self._call_error = ""
        self.connected = asyncio.Event()
        """Set while the connection that listens stands."""

    @property
    def error(self) -> str:
        """Why the database cannot be used, without secrets; empty when it can."""
        return self._connection_error or self._call_error

    def problem(self) -> str | None:
        """Return what is wrong, for the readiness check."""
        return f"the database cannot be used: {self.error}" if self.error else None

    async def call(self, function: Callable[[sa.Connection], T]) -> T:
        """Run ``function`` within one transaction in a thread and return its result.

        Raises:
            DatabaseUnavailableError: the database is away, busy or not migrated yet; nothing was stored.
        """
        if self._connection_error:
            raise DatabaseUnavailableError(self._connection_error)
        try:
            result = await self._in_thread(function)
        except DatabaseUnavailableError as error:
            self._call_error = str(error)
            raise
        self._call_error = ""
        return result

    async def run(self) -> None:
        """Connect, migrate, listen and do so again after every loss, until cancelled.

        Raises:
            SchemaMismatchError: the database no longer serves this program.
        """
        while True:
            try:
                await self._listen()
            except (psycopg.Error, sa.exc.SQLAlchemyError, OSError, TimeoutError, DatabaseUnavailableError) as error:
                self._lost(describe(error))
            # With the connection's own time this stays within two seconds.
            await asyncio.sleep(random.uniform(RECONNECT_SECONDS / 2, RECONNECT_SECONDS))  # noqa: S311 - spreads

    def close(self) -> None:
        """Drop connections and threads without waiting for calls that still run."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    async def _listen(self) -> NoReturn:
        parameters = connection_parameters(APPLICATION_NAME)
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await psycopg.AsyncConnection.connect(self._direct_url, autocommit=True, **parameters)
        async with connection:
            await self._ensure_schema()
            async with asyncio.timeout(_PING_ANSWER_SECONDS):
                await connection.execute(f"LISTEN {CHANNEL}")
            self._gained()
            while True:
                async for notification in connection.notifies(timeout=PING_SECONDS):
                    self._on_notify(notification.payload)
                async with asyncio.timeout(_PING_ANSWER_SECONDS):
                    await connection.execute("SELECT 1")

    async def _ensure_schema(self) -> None:
        found = await self._in_thread(read_schema)
        problem = judge(found)
        if problem is None:
            return
        if found is not None and found.oldest_program > SCHEMA_VERSION:
            raise SchemaMismatchError(problem)
        _log.info("migrating the database", reason=problem)
        await _migrate(self._direct_url)

    async def _in_thread(self, function: Callable[[sa.Connection], T]) -> T:
        def within_transaction() -> T:
            with transaction(self._engine, timeout_seconds=STATEMENT_SECONDS) as connection:
                return function(connection)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, within_transaction)
        except (sa.exc.SQLAlchemyError, psycopg.Error) as error:
            if is_transient(error):
                raise DatabaseUnavailableError(describe(error)) from None
            raise

    def _gained(self) -> None:
        _log.info("database connected")
        self._connection_error = self._call_error = ""
        self.connected.set()
        self._on_connected()

    def _lost(self, error: str) -> None:
        if self._connection_error != error:
            _log.warning("database unavailable", error=error)
        self._connection_error = error
        self.connected.clear()


async def _migrate(url: str) -> None:
    """Bring the tables up to date in a child process, so that the migration tool's memory goes again.

    Raises:
        DatabaseUnavailableError: it failed or took too long; the child's own log lines say why.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "b3lb.db.migrate",
        env={**os.environ, "B3LB_DATABASE_DIRECT_URL": url},
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_MIGRATION_SECONDS):
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        # The next attempt is another process: not every second.
        await asyncio.sleep(_MIGRATION_RETRY_SECONDS)
        raise DatabaseUnavailableError(f"the migration ended with exit code {code}")
