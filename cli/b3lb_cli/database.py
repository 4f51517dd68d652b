"""The command's way to PostgreSQL: one short transaction that ends in time whatever the server does."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
import sqlalchemy.exc

from b3lb.db.engine import create_engine, transaction
from b3lb.db.errors import describe, is_transient, lacks_schema
from b3lb.db.schema import SchemaMismatchError, check_schema
from b3lb_cli.outcome import CommandError, ExitCode

T = TypeVar("T")

STATEMENT_SECONDS = 10.0
ANSWER_SECONDS = 20.0

_READ_ONLY = sa.text("SET TRANSACTION READ ONLY")


def ask(url: str, question: Callable[[sa.Connection], T], *, write: bool = False) -> T:
    """Return what ``question`` reads in a transaction, which is read-only unless it is to ``write``.

    Raises:
        CommandError: The database is away, too slow or not made for this program, or refuses the question.
    """
    engine = create_engine(url, application_name="b3lb", pool_size=1)
    # PostgreSQL limits its statements itself; a server that is frozen or cut off cannot, and libpq would wait for it.
    watchdog = threading.Timer(ANSWER_SECONDS, _give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        with transaction(engine, timeout_seconds=STATEMENT_SECONDS) as connection:
            if not write:
                connection.execute(_READ_ONLY)
            check_schema(connection)
            return question(connection)
    except SchemaMismatchError as error:
        raise CommandError(ExitCode.AWAY, str(error)) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        code = ExitCode.AWAY if is_transient(error) or lacks_schema(error) else ExitCode.INTERNAL
        raise CommandError(code, f"database: {describe(error)}") from error
    finally:
        watchdog.cancel()
        engine.dispose()


def _give_up() -> None:
    sys.stderr.write(f"b3lb: database: no answer within {ANSWER_SECONDS:g} s\n")
    sys.stderr.flush()
    # The main thread is inside of libpq: no exception reaches it.
    os._exit(ExitCode.AWAY)
