"""What the operator makes of the database's errors: which ones wait, which ones migrate, which ones are bugs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import psycopg
import psycopg.errors
import pytest
import sqlalchemy as sa
import sqlalchemy.exc
import structlog.testing

from b3lb.db.errors import lacks_schema
from b3lb.db.schema import SchemaMismatchError, SchemaRange
from b3lb.db.tables import OLDEST_PROGRAM, SCHEMA_VERSION
from b3lb_operator import database as database_module
from b3lb_operator.database import RECONNECT_SECONDS, REPAIR_SECONDS, Database, DatabaseUnavailableError

URL = "postgresql://b3lb:geheim@127.0.0.1:9/b3lb"
FITTING = SchemaRange(version=SCHEMA_VERSION, oldest_program=OLDEST_PROGRAM)
MISSING = [psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName]


def wrapped(error: psycopg.Error) -> sqlalchemy.exc.DBAPIError:
    return sqlalchemy.exc.ProgrammingError("SELECT 1", {"a": "geheim"}, error)


class Fixture:
    """A database whose server is this object; pauses are a hundred times shorter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.schema: SchemaRange | None = FITTING
        self.failure: Exception | None = None
        self.connections = 0
        self.migrations = 0
        self.closed = 0
        monkeypatch.setattr(psycopg.AsyncConnection, "connect", self._connect)
        monkeypatch.setattr(database_module, "transaction", self._transaction)
        monkeypatch.setattr(database_module, "read_schema", lambda _connection: self.schema)
        monkeypatch.setattr(database_module, "_migrate", self._migrate)
        monkeypatch.setattr(database_module, "RECONNECT_SECONDS", RECONNECT_SECONDS / 100)
        monkeypatch.setattr(database_module, "REPAIR_SECONDS", REPAIR_SECONDS / 100)
        monkeypatch.setattr(database_module, "PING_SECONDS", 0.1)
        self.database = Database(url=URL, direct_url=URL, on_notify=lambda _: None, on_connected=self._on_connected)

    async def call(self) -> str:
        """Do what the parts of the operator do."""
        return await self.database.call(self._work)

    def _work(self, _connection: sa.Connection) -> str:
        if self.failure is not None:
            raise self.failure
        return "done"

    def _on_connected(self) -> None:
        self.connections += 1

    async def _connect(self, _url: str, **_parameters: Any) -> FakeConnection:
        return FakeConnection(self)

    @contextmanager
    def _transaction(self, _engine: sa.Engine, **_arguments: Any) -> Iterator[None]:
        yield

    async def _migrate(self, _url: str) -> None:
        self.migrations += 1
        self.schema = FITTING
        self.failure = None

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(2):
            while not check():  # noqa: ASYNC110 - looks at what the fake saw, and that has no event
                await asyncio.sleep(0.005)


class FakeConnection:
    """The connection that listens."""

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._fixture.closed += 1

    async def execute(self, _statement: object) -> Self:
        return self

    async def fetchone(self) -> tuple[int, int] | None:
        schema = self._fixture.schema
        return None if schema is None else (schema.version, schema.oldest_program)

    async def notifies(self, *, timeout: float) -> AsyncIterator[psycopg.Notify]:  # noqa: ASYNC109 - as in psycopg
        await asyncio.sleep(timeout)
        nothing: tuple[psycopg.Notify, ...] = ()
        for notification in nothing:
            yield notification


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fixture]:
    fixture = Fixture(monkeypatch)
    task = asyncio.create_task(fixture.database.run())
    try:
        await asyncio.wait_for(fixture.database.connected.wait(), 2)
        yield fixture
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        fixture.database.close()


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.InsufficientPrivilege("permission denied for table nodes, password=geheim"),
        psycopg.errors.CheckViolation("password=geheim"),
        psycopg.errors.SyntaxError("password=geheim"),
        psycopg.DataError("password=geheim"),
    ],
)
@pytest.mark.parametrize("wrap", [wrapped, lambda error: error])
async def test_whatever_the_database_refuses_is_one_clear_line_and_makes_it_not_ready_until_a_call_succeeds(
    monkeypatch: pytest.MonkeyPatch, error: psycopg.Error, wrap: Callable[[psycopg.Error], Exception]
) -> None:
    async with running(monkeypatch) as fixture:
        fixture.failure = wrap(error)
        with pytest.raises(DatabaseUnavailableError, match=r"password=\[redacted\]") as caught:
            await fixture.call()
        assert "geheim" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert fixture.database.problem() == f"the database cannot be used: {caught.value}"
        fixture.failure = None
        assert await fixture.call() == "done"
        assert fixture.database.problem() is None
        assert (fixture.connections, fixture.migrations) == (1, 0)


async def test_an_outage_is_one_line_per_reason_and_one_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as fixture:
        with structlog.testing.capture_logs() as logs:
            for reason in ("refused", "timed out", "refused", "timed out"):
                fixture.failure = psycopg.OperationalError(reason)
                for _ in range(3):
                    with pytest.raises(DatabaseUnavailableError):
                        await fixture.call()
            fixture.failure = None
            for _ in range(3):
                await fixture.call()
            fixture.failure = psycopg.OperationalError("refused")
            with pytest.raises(DatabaseUnavailableError):
                await fixture.call()
        assert [(line["event"], line.get("error")) for line in logs] == [
            ("database unavailable", "refused"),
            ("database unavailable", "timed out"),
            ("database available again", None),
            ("database unavailable", "refused"),
        ]


async def test_a_row_that_is_refused_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as fixture:
        fixture.failure = sqlalchemy.exc.IntegrityError("INSERT", {}, psycopg.errors.CheckViolation("no"))
        with structlog.testing.capture_logs() as logs:
            with pytest.raises(DatabaseUnavailableError):
                await fixture.call()
            fixture.failure = None
            await fixture.call()
        assert logs == []


@pytest.mark.parametrize("error", [ZeroDivisionError(), sqlalchemy.exc.ArgumentError("no such bind")])
async def test_a_bug_is_no_outage(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async with running(monkeypatch) as fixture:
        fixture.failure = error
        with pytest.raises(type(error)):
            await fixture.call()
        assert fixture.database.problem() is None


@pytest.mark.parametrize("error", MISSING)
async def test_a_missing_schema_is_migrated_over_a_new_connection(
    monkeypatch: pytest.MonkeyPatch, error: type[psycopg.Error]
) -> None:
    async with running(monkeypatch) as fixture:
        fixture.schema = None
        fixture.failure = wrapped(error("it is gone"))
        with pytest.raises(DatabaseUnavailableError, match="it is gone"):
            await fixture.call()
        assert not fixture.database.connected.is_set()
        with pytest.raises(DatabaseUnavailableError, match="it is gone"):
            await fixture.call()
        await fixture.until(lambda: fixture.connections == 2)
        assert (fixture.migrations, fixture.closed) == (1, 1)
        assert await fixture.call() == "done"
        assert fixture.database.problem() is None


async def test_calls_that_fail_at_the_same_time_cost_one_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as fixture:
        fixture.schema = None
        fixture.failure = wrapped(psycopg.errors.UndefinedTable("it is gone"))
        results = await asyncio.gather(*(fixture.call() for _ in range(10)), return_exceptions=True)
        assert all(isinstance(result, DatabaseUnavailableError) for result in results)
        await asyncio.sleep(0.2)
        assert (fixture.connections, fixture.migrations) == (2, 1)


@pytest.mark.parametrize("schema", [None, SchemaRange(version=SCHEMA_VERSION - 1, oldest_program=0)])
async def test_a_database_that_became_empty_or_older_is_migrated_although_nobody_calls(
    monkeypatch: pytest.MonkeyPatch, schema: SchemaRange | None
) -> None:
    async with running(monkeypatch) as fixture:
        fixture.schema = schema
        await fixture.until(lambda: fixture.connections == 2)
        assert fixture.migrations == 1


async def test_a_database_that_became_too_new_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch)
    task = asyncio.create_task(fixture.database.run())
    await asyncio.wait_for(fixture.database.connected.wait(), 2)
    fixture.schema = SchemaRange(version=SCHEMA_VERSION + 1, oldest_program=SCHEMA_VERSION + 1)
    with pytest.raises(SchemaMismatchError, match="this program is too old"):
        await asyncio.wait_for(task, 2)
    assert fixture.migrations == 0
    fixture.database.close()


async def test_a_table_that_no_migration_brings_back_is_waited_for_ever_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as fixture:
        fixture.failure = wrapped(psycopg.errors.UndefinedTable("nodes is gone"))
        with structlog.testing.capture_logs() as logs:
            for _ in range(100):
                with pytest.raises(DatabaseUnavailableError):
                    await fixture.call()
                assert "nodes is gone" in fixture.database.error
                await asyncio.sleep(0.01)
        assert 3 <= fixture.connections <= 12
        assert {line["event"] for line in logs} == {"database unavailable", "database connected"}
        assert len(logs) <= 2 * fixture.connections
        assert fixture.migrations == 0


@pytest.mark.parametrize("error", MISSING)
def test_missing_tables_columns_and_schemas_are_told_from_other_errors(error: type[psycopg.Error]) -> None:
    assert lacks_schema(error())
    assert lacks_schema(wrapped(error()))


@pytest.mark.parametrize(
    "error", [psycopg.errors.InsufficientPrivilege(), psycopg.OperationalError("away"), psycopg.errors.SyntaxError()]
)
def test_other_errors_are_no_missing_schema(error: psycopg.Error) -> None:
    assert not lacks_schema(error)
    assert not lacks_schema(wrapped(error))
    assert not lacks_schema(ValueError("42P01"))
