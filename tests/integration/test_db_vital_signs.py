"""What the doctor reads of a real database: how it is, how many connections are left, and every encrypted value."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from b3lb.crypto import KeyRing
from b3lb.db.engine import count_statements, create_engine
from b3lb.db.schema import SchemaRange
from b3lb.db.sealed_rows import read_sealed_rows
from b3lb.db.tables import OLDEST_PROGRAM, SCHEMA_VERSION, nodes
from b3lb.db.vital_signs import read_vital_signs

pytestmark = pytest.mark.integration


def test_the_signs_of_a_server_that_is_well(engine: sa.Engine) -> None:
    with engine.connect() as connection, count_statements(engine) as counter:
        signs = read_vital_signs(connection)
    assert counter.count == 4
    assert signs.version >= 140000
    assert not signs.in_recovery
    assert signs.schema == SchemaRange(SCHEMA_VERSION, OLDEST_PROGRAM)
    assert abs(signs.clock_difference) < timedelta(seconds=1)
    assert timedelta() < signs.latency < timedelta(seconds=2)
    assert signs.size_bytes > 1_000_000
    assert 3 < signs.connections_left < 1000


def test_a_database_without_tables_has_no_schema(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url, application_name="tests")
    with engine.connect() as connection:
        assert read_vital_signs(connection).schema is None
    engine.dispose()


@pytest.mark.parametrize("limited", ["DATABASE", "ROLE"])
def test_the_narrowest_limit_says_how_many_connections_are_left(
    engine: sa.Engine, database_url: str, limited: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as administrator:
        database, role = administrator.info.dbname, administrator.info.user
        name = sql.Identifier(database if limited == "DATABASE" else role)
        statement = sql.SQL("ALTER {} {} CONNECTION LIMIT {}")
        administrator.execute(statement.format(sql.SQL(limited), name, sql.Literal(7)))
        try:
            with engine.connect() as connection:
                assert read_vital_signs(connection).connections_left <= 5
        finally:
            administrator.execute(statement.format(sql.SQL(limited), name, sql.Literal(-1)))


def test_encrypted_values_are_read_with_the_place_that_they_were_sealed_for(engine: sa.Engine) -> None:
    keys = KeyRing.generate()
    sealed = keys.encrypt("a-secret", context="nodes/farm/one")
    values = {
        "namespace": "farm",
        "name": "one",
        "uid": "u1",
        "generation": 1,
        "created_at": sa.func.now(),
        "api_url": "https://one.example.org/bigbluebutton/api",
        "load_url": "https://one.example.org/b3lb/load",
        "secret_ciphertext": sealed.ciphertext,
        "secret_key_id": sealed.key_id,
        "secret_hash": sealed.hash,
        "blocked_reason": "ClusterNotFound",
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(nodes).values(**values))
        connection.execute(sa.insert(nodes).values(**{**values, "namespace": "other"}))
        deleted = {**values, "name": "two", "uid": "u2", "deleted_at": sa.func.now()}
        connection.execute(sa.insert(nodes).values(**deleted))
        one, two = read_sealed_rows(connection, ["farm"])
    assert (one.kind, one.name, one.deleted, two.name, two.deleted) == ("bbbnode", "one", False, "two", True)
    assert keys.decrypt(one.ciphertext, one.key_id, context=one.context) == "a-secret"
    assert "ciphertext" not in repr(one)
