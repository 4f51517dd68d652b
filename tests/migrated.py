"""Databases that have b3lb's tables from the start: copies of one that was migrated once per server."""

from __future__ import annotations

import psycopg
from psycopg import sql

from b3lb.db.engine import create_engine
from b3lb.db.migrate import migrate
from dev.postgres import Postgres

TEMPLATE = "b3lb_template"
_UNFINISHED = "b3lb_template_unfinished"


def migrated_template(server: Postgres) -> str:
    """Return the name of a server's migrated database that nobody is connected to; make it if it is not there."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (TEMPLATE,)).rowcount:
            return TEMPLATE
        engine = create_engine(server.create_database(_UNFINISHED), application_name="b3lb-tests")
        migrate(engine)
        engine.dispose()
        names = sql.Identifier(_UNFINISHED), sql.Identifier(TEMPLATE)
        connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))
    return TEMPLATE


def create_migrated_database(server: Postgres, name: str) -> str:
    """Create a database with the tables and return its connection URL.

    An operator that finds them does not run its migration, which takes a second of a processor.
    """
    return server.create_database(name, template=migrated_template(server))
