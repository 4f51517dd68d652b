"""The operator's side of the database: connecting, migrating, notifications, loss, and what it stores."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy as sa

from b3lb.crypto import KeyRing
from b3lb.db.configuration import ClusterRow
from b3lb.db.engine import transaction
from b3lb.db.schema import SchemaMismatchError
from b3lb_operator import database as database_module
from b3lb_operator.apply import store_configuration
from b3lb_operator.database import Database, DatabaseUnavailableError, RowRefusedError
from b3lb_operator.resolve import Configuration

pytestmark = [pytest.mark.integration]

END_CONNECTIONS = """SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'b3lb-operator'
    ORDER BY pid = pg_backend_pid()
) AS connections"""
"""Its own connection comes last: those after it would live on."""


class Fixture:
    """A database that notes what it is told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.notified: list[str] = []
        self.connections = 0
        self.database = Database(
            url=url, direct_url=url, on_notify=self.notified.append, on_connected=self._on_connected
        )

    def _on_connected(self) -> None:
        self.connections += 1

    async def execute(self, statement: str) -> None:
        """Run a statement as somebody else."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            await connection.execute(statement.encode())

    async def until(self, check: Callable[[], bool], *, within: float) -> None:
        async with asyncio.timeout(within):
            while not check():  # noqa: ASYNC110 - the checks are of the server's doing, and have no event
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Fixture]:
    fixture = Fixture(url)
    task = asyncio.create_task(fixture.database.run())
    try:
        yield fixture
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        fixture.database.close()


def count_nodes(connection: sa.Connection) -> int:
    number: int = connection.exec_driver_sql("SELECT count(*) FROM nodes").scalar_one()
    return number


async def test_an_empty_database_is_migrated_and_then_used(empty_database_url: str) -> None:
    async with running(empty_database_url) as fixture:
        assert "not connected" in (fixture.database.problem() or "")
        await asyncio.wait_for(fixture.database.connected.wait(), 20)
        assert fixture.database.problem() is None
        assert await fixture.database.call(count_nodes) == 0
        assert fixture.connections == 1


async def test_notifications_arrive_at_once_with_their_namespace(database_url: str) -> None:
    async with running(database_url) as fixture:
        await asyncio.wait_for(fixture.database.connected.wait(), 10)
        await fixture.execute("SELECT pg_notify('b3lb', 'farm')")
        await fixture.until(lambda: fixture.notified == ["farm"], within=1)


async def test_a_lost_connection_is_back_within_two_seconds_and_told(database_url: str) -> None:
    async with running(database_url) as fixture:
        await asyncio.wait_for(fixture.database.connected.wait(), 10)
        await fixture.execute(END_CONNECTIONS)
        await fixture.until(lambda: fixture.connections == 2, within=2.5)
        await fixture.execute("SELECT pg_notify('b3lb', 'farm')")
        await fixture.until(lambda: fixture.notified == ["farm"], within=1)
        assert await fixture.database.call(count_nodes) == 0


async def test_a_server_that_is_not_there_is_unavailable_without_its_password(database_url: str) -> None:
    password = urlsplit(database_url).password
    assert password
    port = urlsplit(database_url).port
    async with running(database_url.replace(f":{port}/", ":9/")) as fixture:
        await fixture.until(lambda: "not connected" not in fixture.database.error, within=5)
        assert "refused" in fixture.database.error
        with pytest.raises(DatabaseUnavailableError) as caught:
            await fixture.database.call(count_nodes)
        assert password not in str(caught.value)


async def test_a_wrong_password_is_waited_for(database_url: str) -> None:
    password = urlsplit(database_url).password
    async with running(database_url.replace(f":{password}@", ":wrong@")) as fixture:
        await fixture.until(lambda: "authentication failed" in fixture.database.error, within=5)
        assert "wrong" not in fixture.database.error


async def test_a_database_that_no_longer_serves_this_program_ends_it(database_url: str) -> None:
    fixture = Fixture(database_url)
    await fixture.execute("UPDATE schema_version SET version = 99, oldest_program = 99")
    with pytest.raises(SchemaMismatchError, match="this program is too old"):
        await asyncio.wait_for(fixture.database.run(), 10)
    fixture.database.close()


async def test_a_newer_database_that_still_serves_this_program_is_used(database_url: str) -> None:
    async with running(database_url) as fixture:
        await fixture.execute("UPDATE schema_version SET version = 99")
        await asyncio.wait_for(fixture.database.connected.wait(), 10)


async def test_a_failing_call_makes_it_not_ready_until_one_succeeds(database_url: str) -> None:
    async with running(database_url) as fixture:
        await asyncio.wait_for(fixture.database.connected.wait(), 10)
        with pytest.raises(DatabaseUnavailableError):
            await fixture.database.call(lambda connection: connection.exec_driver_sql(END_CONNECTIONS).all())
        assert fixture.database.problem() is not None
        await fixture.until(lambda: fixture.connections == 2, within=3)
        await fixture.database.call(count_nodes)
        assert fixture.database.problem() is None


async def test_a_refused_statement_is_told_until_a_call_succeeds(database_url: str) -> None:
    async with running(database_url) as fixture:
        await asyncio.wait_for(fixture.database.connected.wait(), 10)
        with pytest.raises(DatabaseUnavailableError, match=r"^division by zero$"):
            await fixture.database.call(lambda connection: connection.exec_driver_sql("SELECT 1/0"))
        assert fixture.database.problem() == "the database cannot be used: division by zero"
        assert await fixture.database.call(count_nodes) == 0
        assert fixture.database.problem() is None
        assert fixture.connections == 1


async def test_a_row_that_breaks_a_rule_is_told_from_a_database_that_is_away(database_url: str) -> None:
    async with running(database_url) as fixture:
        await asyncio.wait_for(fixture.database.connected.wait(), 10)
        statement = "INSERT INTO leases (name, holder, expires_at) VALUES ('x', NULL, now())"
        with pytest.raises(RowRefusedError):
            await fixture.database.call(lambda connection: connection.exec_driver_sql(statement))
        with pytest.raises(DatabaseUnavailableError) as caught:
            await fixture.database.call(lambda connection: connection.exec_driver_sql("SELECT nothing"))
        assert not isinstance(caught.value, RowRefusedError)


async def test_a_dropped_schema_is_migrated_within_seconds_of_the_first_call(database_url: str) -> None:
    async with running(database_url) as fixture:
        await asyncio.wait_for(fixture.database.connected.wait(), 10)
        await fixture.execute("DROP SCHEMA public CASCADE")
        with pytest.raises(DatabaseUnavailableError, match="does not exist"):
            await fixture.database.call(count_nodes)
        await fixture.execute("CREATE SCHEMA public")
        await fixture.until(lambda: fixture.connections == 2, within=15)
        assert await fixture.database.call(count_nodes) == 0
        assert fixture.database.problem() is None


async def test_a_dropped_schema_is_noticed_although_nobody_calls(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PING_SECONDS", 0.5)
    async with running(database_url) as fixture:
        await asyncio.wait_for(fixture.database.connected.wait(), 10)
        await fixture.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await fixture.until(lambda: fixture.connections == 2, within=15)
        assert await fixture.database.call(count_nodes) == 0


async def test_a_database_that_becomes_too_new_for_this_program_ends_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PING_SECONDS", 0.5)
    fixture = Fixture(database_url)
    task = asyncio.create_task(fixture.database.run())
    await asyncio.wait_for(fixture.database.connected.wait(), 10)
    await fixture.execute("UPDATE schema_version SET version = 99, oldest_program = 99")
    with pytest.raises(SchemaMismatchError, match="this program is too old"):
        await asyncio.wait_for(task, 10)
    fixture.database.close()


def store_cluster(engine: sa.Engine, row: ClusterRow) -> tuple[str | None, str | None, int]:
    """Return certificates, reason of the block and time-out as they are in the database afterwards."""
    with transaction(engine, timeout_seconds=10) as connection:
        configuration = Configuration(clusters=[row])
        store_configuration(connection, "farm", configuration, complete=True, keys=KeyRing.generate(), gone={})
        found = connection.exec_driver_sql(
            "SELECT ca_certificates, blocked_reason, timeout_seconds FROM clusters WHERE deleted_at IS NULL"
        ).one()
        return found.ca_certificates, found.blocked_reason, found.timeout_seconds


def test_certificates_that_cannot_be_had_now_stay_as_they_are_for_the_very_spec_that_they_came_with(
    engine: sa.Engine,
) -> None:
    row = ClusterRow(name="default", uid="u", generation=1, ca_certificates="PEM")
    missing = dataclasses.replace(row, ca_certificates=None, blocked_reason="CASecretNotFound", blocked_message="x")
    assert store_cluster(engine, row) == ("PEM", None, 5)
    assert store_cluster(engine, missing) == ("PEM", None, 5)
    changed = dataclasses.replace(missing, generation=2, timeout_seconds=9)
    assert store_cluster(engine, changed) == (None, "CASecretNotFound", 9)
    assert store_cluster(engine, changed) == (None, "CASecretNotFound", 9)
    healed = dataclasses.replace(row, generation=2, ca_certificates="other PEM")
    assert store_cluster(engine, healed) == ("other PEM", None, 5)


@pytest.mark.parametrize("before", [None, {"uid": "another"}, {"ca_certificates": None}])
def test_a_cluster_whose_certificates_were_never_known_blocks_its_nodes(
    engine: sa.Engine, before: dict[str, Any] | None
) -> None:
    row = ClusterRow(name="default", uid="u", generation=1, ca_certificates="PEM")
    if before is not None:
        store_cluster(engine, dataclasses.replace(row, **before))
    missing = dataclasses.replace(row, ca_certificates=None, blocked_reason="CASecretNotFound", blocked_message="x")
    assert store_cluster(engine, missing) == (None, "CASecretNotFound", 5)
