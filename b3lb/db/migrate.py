"""``python -m b3lb.db.migrate``: brings the database to this program's schema.

The operator runs it as a child process, for Alembic is needed only here. Everything happens in one transaction under a
transaction-level advisory lock, so that two at once are harmless and a failure leaves nothing half done.

Environment: ``B3LB_DATABASE_DIRECT_URL`` or ``B3LB_DATABASE_URL``, ``B3LB_LOG_FORMAT``, ``B3LB_LOG_LEVEL``. Exit codes:
0 done or nothing to do, 75 the database is away, busy or not made for this program, 78 wrong settings or rights.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import sqlalchemy as sa
import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from b3lb import logs
from b3lb.db.engine import create_engine, transaction
from b3lb.db.errors import describe, is_transient
from b3lb.db.schema import SchemaMismatchError, judge, read_schema, write_schema
from b3lb.db.tables import SCHEMA_VERSION
from b3lb.settings import LogSettings, MigrationSettings, SettingsError, load_settings

EXIT_DONE = 0
EXIT_TRANSIENT = 75
EXIT_SETTINGS = 78

LOCK_WAIT_SECONDS = 10
STATEMENT_SECONDS = 600

_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended('b3lb/migrations', 0))")
_LOCK_WAIT = sa.text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'")
_EXISTS = sa.text("SELECT to_regclass('schema_version') IS NOT NULL")


def migrate(engine: sa.Engine) -> tuple[int, int]:
    """Bring the database to this program's schema; return the versions before (0: empty) and after.

    A database that a newer program migrated is left alone if it still serves this one.

    Raises:
        SchemaMismatchError: The database no longer serves this program.
        sqlalchemy.exc.SQLAlchemyError: Whatever PostgreSQL says; nothing was changed then.
    """
    with transaction(engine, timeout_seconds=STATEMENT_SECONDS) as connection:
        connection.execute(_LOCK)
        # Waiting for a table blocks everybody behind us: rather try again later.
        connection.execute(_LOCK_WAIT)
        found = read_schema(connection) if connection.execute(_EXISTS).scalar_one() else None
        if found is not None and found.version > SCHEMA_VERSION:
            problem = judge(found)
            if problem is not None:
                raise SchemaMismatchError(problem)
            return found.version, found.version
        command.upgrade(alembic_config(connection), "head")
        write_schema(connection)
    return (found.version if found else 0), SCHEMA_VERSION


def alembic_config(connection: sa.Connection) -> Config:
    """Return Alembic's configuration for the migrations in this package, to run on ``connection``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def main() -> int:
    """Run the command; return its exit code."""
    logs.configure()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    log = logs.get_logger("b3lb.db.migrate")
    try:
        settings = load_settings(LogSettings)
        logs.configure(settings.log_format, settings.log_level)
        engine = create_engine(load_settings(MigrationSettings).direct_url, application_name="b3lb-migrate")
    except SettingsError as error:
        log.error("the settings are wrong", reason=str(error))  # noqa: TRY400 - one clear line, no traceback
        return EXIT_SETTINGS
    try:
        before, after = migrate(engine)
    except SchemaMismatchError as error:
        log.error("the database does not fit", reason=str(error))  # noqa: TRY400 - one clear line, no traceback
        return EXIT_TRANSIENT
    except (sqlalchemy.exc.SQLAlchemyError, CommandError) as error:
        transient = is_transient(error)
        log.error("the migration failed", reason=describe(error), transient=transient)  # noqa: TRY400 - one clear line
        return EXIT_TRANSIENT if transient else EXIT_SETTINGS
    finally:
        engine.dispose()
    log.info("the database is up to date" if before == after else "the database was migrated", before=before, now=after)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
