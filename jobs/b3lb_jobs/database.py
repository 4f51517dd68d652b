"""The run's way to PostgreSQL: transactions that end in time whatever the server does, and its clock."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc

from b3lb.db.engine import DEFAULT_KEEPALIVE, Keepalive, create_engine, database_clock, transaction
from b3lb.db.errors import describe, is_transient, lacks_schema
from b3lb.db.leases import LeaseLostError
from b3lb.db.schema import SchemaMismatchError
from b3lb_jobs.clock import DatabaseClock
from b3lb_jobs.errors import TransientError

STATEMENT_SECONDS = 4.0
"""Longest time that the server may work on one statement of a tick."""

_GRACE_SECONDS = 1.0
_READ_ONLY = sa.text("SET TRANSACTION READ ONLY")


class Database:
    """One connection at a time, whose faults all come out as `TransientError` with one clear line.

    ``answered`` says whether the last transaction was committed.

    PostgreSQL limits its statements itself; a server that is frozen or cut off cannot, and libpq would wait for it
    without end. Timers therefore shut the connection down when a transaction is overdue, and at the run's end.
    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        monotonic: Callable[[], float],
        keepalive: Keepalive | None = None,
    ) -> None:
        self._engine = create_engine(
            url,
            application_name=application_name,
            pool_size=1,
            keepalive=keepalive or DEFAULT_KEEPALIVE,
            seconds_to_connect=self._seconds_left,
        )
        self._monotonic = monotonic
        self._ends_at = math.inf
        self._last_cut: threading.Timer | None = None
        self._clock: DatabaseClock | None = None
        self._clock_is_current = False
        self.answered = False
        self._sockets: dict[int, socket.socket] = {}
        sa.event.listen(self._engine, "connect", self._connected)
        sa.event.listen(self._engine, "close", self._closing)

    @property
    def engine(self) -> sa.Engine:
        """The engine, for counting its statements."""
        return self._engine

    @property
    def clock(self) -> DatabaseClock:
        """The database's clock as of the newest connection.

        Raises:
            TransientError: There was no connection yet.
        """
        if self._clock is None:
            raise TransientError("the database was never reached")
        return self._clock

    def end_by(self, moment: float) -> None:
        """Let no transaction go on after ``moment`` (of ``monotonic``), nor one begin; a later call sets it anew."""
        self._ends_at = moment
        self._stop_last_cut()
        self._last_cut = self._timer(self._seconds_left())

    @contextmanager
    def transaction(self, *, seconds: float = STATEMENT_SECONDS, read_only: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction that is committed at the end of the block.

        Args:
            seconds: Longest time of a statement; the whole block has a second more before its connection is cut. What
                is left until the end (`end_by`) may be less.
            read_only: Whether PostgreSQL refuses to write anything.

        Raises:
            TransientError: The database is away, too slow, or not made for this program; or the lease is lost.
        """
        left = self._seconds_left()
        self.answered = False
        if left <= 0:
            raise TransientError("database: no time left")
        longest = min(seconds + _GRACE_SECONDS, left)
        overdue = threading.Event()
        timer = self._timer(longest, overdue)
        try:
            with transaction(self._engine, timeout_seconds=min(seconds, left)) as connection:
                if read_only:
                    connection.execute(_READ_ONLY)
                self._read_clock(connection)
                yield connection
            self.answered = True
        except (LeaseLostError, SchemaMismatchError) as error:
            raise TransientError(str(error)) from error
        except sqlalchemy.exc.SQLAlchemyError as error:
            if overdue.is_set():
                raise TransientError(f"database: no answer within {longest:.3g} s") from error
            if is_transient(error) or lacks_schema(error):
                raise TransientError(f"database: {describe(error)}") from error
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._stop_last_cut()
        self._engine.dispose()

    def _seconds_left(self) -> float:
        return self._ends_at - self._monotonic()

    def _timer(self, seconds: float, overdue: threading.Event | None = None) -> threading.Timer:
        """Start a timer that shuts the connection down after so many seconds."""
        timer = threading.Timer(max(0.0, seconds), self._cut, args=(overdue,))
        timer.daemon = True
        timer.start()
        return timer

    def _stop_last_cut(self) -> None:
        if self._last_cut is not None:
            self._last_cut.cancel()

    def _read_clock(self, connection: sa.Connection) -> None:
        """Read the clock once per connection; half of the round trip is the answer's way."""
        if self._clock_is_current:
            return
        before = self._monotonic()
        time = database_clock(connection)
        after = self._monotonic()
        self._clock = DatabaseClock(time + timedelta(seconds=(after - before) / 2), after, self._monotonic)
        self._clock_is_current = True

    def _connected(self, connection: Any, _record: object) -> None:
        # A descriptor of its own: the timer's thread must never hit a number that was given to something else.
        self._sockets[id(connection)] = socket.socket(fileno=os.dup(connection.fileno()))
        self._clock_is_current = False

    def _closing(self, connection: Any, _record: object) -> None:
        held = self._sockets.pop(id(connection), None)
        if held is not None:
            held.close()

    def _cut(self, overdue: threading.Event | None) -> None:
        if overdue is not None:
            overdue.set()
        for held in list(self._sockets.values()):
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
