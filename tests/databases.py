"""Databases and engines of one test, on a server of whichever address."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa
from psycopg import sql

from b3lb.db.engine import create_engine
from dev.postgres_databases import create_database

_numbers = itertools.count(1)


@contextmanager
def copies(server_url: str) -> Iterator[Callable[[str], str]]:
    """Yield a function that copies the named database and returns the copy's URL; copies go in the end."""
    names: list[str] = []

    def copy(template: str) -> str:
        # Processes may share a server.
        name = f"b3lb_test_{os.getpid()}_{next(_numbers)}"
        names.append(name)
        return create_database(server_url, name, template=template)

    try:
        yield copy
    finally:
        for name in names:
            _drop(server_url, name)


@contextmanager
def engine_of(url: str) -> Iterator[sa.Engine]:
    """Open an engine as the programs make it, with connections for several rivals."""
    created = create_engine(url, application_name="b3lb-tests", pool_size=5)
    try:
        yield created
    finally:
        created.dispose()


def _drop(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
