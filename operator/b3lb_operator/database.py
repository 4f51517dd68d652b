"""The database as the operator sees it: reachable or not, migrated, calls in threads, and notifications.

The operator starts and lives without a database; it is then not ready, and comes back by itself. So it does when the
tables go while it runs, as in the middle of a restore: it connects anew, migrates and lets everything be compared.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar

import psycopg
import sqlalchemy as sa
import structlog

from b3lb.db.engine import DEFAULT_KEEPALIVE, Keepalive, check_url, connection_parameters, create_engine, transaction
from b3lb.db.errors import describe, lacks_schema, refuses_row
from b3lb.db.node_states import CHANNEL
from b3lb.db.schema import SchemaMismatchError, SchemaRange, judge, read_schema
from b3lb.db.tables import SCHEMA_VERSION, schema_version
from b3lb_operator.migration import MigrationError, run_migration

T = TypeVar("T")

APPLICATION_NAME = "b3lb-operator"
STATEMENT_SECONDS = 20.0
RECONNECT_SECONDS = 1.5
REPAIR_SECONDS = 30.0
"""Longest pause before the next attempt when a new connection does not bring missing tables back."""

PING_SECONDS = 10.0
_PING_ANSWER_SECONDS = 5.0
_CONNECT_SECONDS = 6.0
_MIGRATION_RETRY_SECONDS = 8.0
"""Longest pause before the next attempt, which is another process."""

THREADS = 3
"""How many transactions run at the same time unless told otherwise."""

_PING = str(sa.select(schema_version.c.version, schema_version.c.oldest_program)).encode()

_log = structlog.stdlib.get_logger(__name__)


class DatabaseUnavailableError(Exception):
    """The database cannot be used now; the message says why, without secrets."""


class RowRefusedError(DatabaseUnavailableError):
    """A row breaks a rule of its table: only without that row can the others be stored."""


class _SchemaLostError(DatabaseUnavailableError):
    """A schema, table or column is missing: only a new connection, which migrates, helps."""


class _MigrationFailedError(DatabaseUnavailableError):
    """The tables could not be brought up to date."""


class Database:
    """One engine for calls and one connection that listens; all methods belong to the event loop's thread."""

    def __init__(
        self,
        *,
        url: str,
        direct_url: str,
        on_notify: Callable[[str], None],
        on_connected: Callable[[], None],
        pool_size: int = THREADS,
        keepalive: Keepalive = DEFAULT_KEEPALIVE,
        fence: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Describe the database; nothing is connected yet.

        Args:
            url: For transactions; a pooler may stand behind it.
            direct_url: For LISTEN and migrations; past a pooler.
            on_notify: Called with the namespace in which something changed.
            on_connected: Called whenever the database is there (again) and has its tables.
            pool_size: Most transactions at the same time.
            keepalive: How a dead connection is noticed.
            fence: Called right before each commit, in a thread, for a reason not to do it.
        """
        self._engine = create_engine(url, application_name=APPLICATION_NAME, pool_size=pool_size, keepalive=keepalive)
        self._parameters = connection_parameters(APPLICATION_NAME, keepalive)
        self._fence = fence
        self._direct_url = check_url(direct_url)
        self._on_notify = on_notify
        self._on_connected = on_connected
        self._threads = ThreadPoolExecutor(pool_size, thread_name_prefix="database")
        self._connection_error = "not connected yet"
        self._call_error = ""
        self._told: set[str] = set()
        self._listening: asyncio.Timeout | None = None
        self._gained_at = 0.0
        self._repair_pause = 0.0
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

        What keeps the database from being used is logged here, once; only a refused row is left to the caller.

        Raises:
            DatabaseUnavailableError: the database is away, busy, not migrated yet or refuses the statement; nothing
                was stored.
            RowRefusedError: it refuses a row.
        """
        if self._connection_error:
            raise DatabaseUnavailableError(self._connection_error)
        listening = self._listening
        try:
            result = await self._in_thread(function)
        except DatabaseUnavailableError as error:
            self._call_error = str(error)
            if isinstance(error, _SchemaLostError) and listening is self._listening:
                self._connect_anew(str(error))
            elif not isinstance(error, RowRefusedError):
                self._tell()
            raise
        self._call_error = ""
        self._tell()
        return result

    async def run(self) -> None:
        """Connect, migrate, listen and do so again after every loss, until cancelled.

        Raises:
            SchemaMismatchError: the database no longer serves this program.
        """
        while True:
            longest = RECONNECT_SECONDS
            try:
                await self._listen()
            except _SchemaLostError as error:
                self._lost(str(error))
                longest = self._next_repair_pause()
            except _MigrationFailedError as error:
                self._lost(str(error))
                longest = _MIGRATION_RETRY_SECONDS
            except (psycopg.Error, sa.exc.SQLAlchemyError, OSError, TimeoutError, DatabaseUnavailableError) as error:
                self._lost(describe(error))
            # With the connection's own time this stays within two seconds, unless tables are missing again and again.
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - spreads

    def close(self) -> None:
        """Drop connections and threads without waiting for calls that still run."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    async def _listen(self) -> NoReturn:
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await psycopg.AsyncConnection.connect(self._direct_url, autocommit=True, **self._parameters)
        async with connection:
            await self._ensure_schema()
            async with asyncio.timeout(_PING_ANSWER_SECONDS):
                await connection.execute(f"LISTEN {CHANNEL}")
            await self._follow(connection)

    async def _follow(self, connection: psycopg.AsyncConnection) -> NoReturn:
        """Pass notifications on until the connection breaks or a call finds that tables are missing."""
        listening = asyncio.timeout(None)
        try:
            async with listening:
                self._listening = listening
                self._gained()
                while True:
                    async for notification in connection.notifies(timeout=PING_SECONDS):
                        self._on_notify(notification.payload)
                    await _ping(connection)
        except TimeoutError:
            if listening.expired():
                raise _SchemaLostError(self._connection_error) from None
            raise
        finally:
            self._listening = None

    def _connect_anew(self, error: str) -> None:
        """End the connection that listens; until the next one stands no call is tried."""
        self._lost(error)
        if self._listening is not None:
            self._listening.reschedule(asyncio.get_running_loop().time())
            self._listening = None

    def _next_repair_pause(self) -> float:
        """Return the longest pause before connecting anew; it doubles while the last time did not help for long."""
        held = asyncio.get_running_loop().time() - self._gained_at
        pause = RECONNECT_SECONDS if held > REPAIR_SECONDS else self._repair_pause * 2
        self._repair_pause = min(REPAIR_SECONDS, max(RECONNECT_SECONDS, pause))
        return self._repair_pause

    async def _ensure_schema(self) -> None:
        found = await self._in_thread(read_schema)
        problem = judge(found)
        if problem is None:
            return
        if found is not None and found.oldest_program > SCHEMA_VERSION:
            raise SchemaMismatchError(problem)
        if not self._told:
            _log.info("migrating the database", reason=problem)
        await _migrate(self._direct_url)

    async def _in_thread(self, function: Callable[[sa.Connection], T]) -> T:
        def within_transaction() -> T:
            with transaction(self._engine, timeout_seconds=STATEMENT_SECONDS) as connection:
                result = function(connection)
                # Before the commit: a process that was stopped meanwhile may no longer be the one that writes.
                problem = self._fence()
                if problem is not None:
                    raise DatabaseUnavailableError(problem)
                return result

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, within_transaction)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, psycopg.Error) as error:
            raise _kind_of(error)(describe(error)) from None

    def _gained(self) -> None:
        _log.info("database connected")
        # What a call found wrong stays until a call succeeds.
        self._connection_error = ""
        if not self._call_error:
            self._told.clear()
        self._gained_at = asyncio.get_running_loop().time()
        self.connected.set()
        self._on_connected()

    def _lost(self, error: str) -> None:
        self._connection_error = error
        self.connected.clear()
        self._tell()

    def _tell(self) -> None:
        """Log an outage once, each further reason that it turns out to have once, and its end once.

        Attempts may fail in turn for the same few reasons, such as a time-out and a refused connection.
        """
        error = self.error
        if error and error not in self._told:
            _log.warning("database unavailable", error=error)
            self._told.add(error)
        elif not error and self._told:
            _log.info("database available again")
            self._told.clear()


def _kind_of(error: Exception) -> type[DatabaseUnavailableError]:
    if lacks_schema(error):
        return _SchemaLostError
    return RowRefusedError if refuses_row(error) else DatabaseUnavailableError


async def _ping(connection: psycopg.AsyncConnection) -> None:
    """Make sure that the connection stands and that the database still has a schema for this program.

    Raises:
        _SchemaLostError: It has not; what to do about it is found when connecting anew.
    """
    async with asyncio.timeout(_PING_ANSWER_SECONDS):
        row = await (await connection.execute(_PING)).fetchone()
    problem = judge(None if row is None else SchemaRange(*row))
    if problem is not None:
        raise _SchemaLostError(problem)


async def _migrate(url: str) -> None:
    try:
        await run_migration(url)
    except MigrationError as error:
        raise _MigrationFailedError(str(error)) from None
