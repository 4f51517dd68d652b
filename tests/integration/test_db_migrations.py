"""Migrations: from empty to this program's schema, once, by however many at once, and never against a newer one."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from b3lb.db import migrate as migrate_module
from b3lb.db.engine import create_engine, transaction
from b3lb.db.migrate import alembic_config, migrate
from b3lb.db.schema import SchemaMismatchError, check_schema
from b3lb.db.tables import OLDEST_PROGRAM, SCHEMA_VERSION, metadata

pytestmark = pytest.mark.integration


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(empty_database_url, application_name="b3lb-tests", pool_size=5)
    yield engine
    engine.dispose()


def catalogue(engine: sa.Engine) -> dict[str, set[tuple[Any, ...]]]:
    """Return everything that PostgreSQL knows about our tables, but for the order of their columns."""
    statements = {
        "columns": "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,"
        " pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum) FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'alembic_version'",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'",
        "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes"
        " WHERE schemaname = 'public' AND tablename <> 'alembic_version'",
    }
    with engine.begin() as connection:
        return {
            name: {tuple(row) for row in connection.execute(sa.text(statement))}
            for name, statement in statements.items()
        }


def test_migrations_and_tables_agree(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
        assert compare_metadata(context, metadata) == []


def test_migrations_and_tables_agree_in_every_constraint_default_and_comment(
    engine: sa.Engine, empty: sa.Engine
) -> None:
    metadata.create_all(empty)
    assert catalogue(engine) == catalogue(empty)


def test_there_is_one_line_of_migrations_and_the_last_is_this_programs_schema(connection: sa.Connection) -> None:
    script = ScriptDirectory.from_config(alembic_config(connection))
    assert script.get_current_head() == f"{SCHEMA_VERSION:04}"
    assert len(script.get_heads()) == 1


def test_an_empty_database_is_migrated_and_then_left_alone(empty: sa.Engine) -> None:
    with transaction(empty, timeout_seconds=5) as connection, pytest.raises(SchemaMismatchError, match="no schema yet"):
        check_schema(connection)
    assert migrate(empty) == (0, SCHEMA_VERSION)
    before = catalogue(empty)
    assert migrate(empty) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert catalogue(empty) == before
    with transaction(empty, timeout_seconds=5) as connection:
        check_schema(connection)


def test_two_at_once_are_harmless(empty: sa.Engine) -> None:
    barrier = threading.Barrier(3)
    results: list[tuple[int, int]] = []

    def run() -> None:
        barrier.wait()
        results.append(migrate(empty))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(0, SCHEMA_VERSION), *[(SCHEMA_VERSION, SCHEMA_VERSION)] * 2]


def test_a_failing_migration_leaves_nothing(empty: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_connection: sa.Connection) -> None:
        raise RuntimeError("after the last migration")

    monkeypatch.setattr(migrate_module, "write_schema", fail)
    with pytest.raises(RuntimeError):
        migrate(empty)
    assert catalogue(empty) == {"columns": set(), "constraints": set(), "indexes": set()}
    monkeypatch.undo()
    assert migrate(empty) == (0, SCHEMA_VERSION)


def test_a_newer_database_that_serves_this_program_is_left_alone(engine: sa.Engine) -> None:
    pretend(engine, version=SCHEMA_VERSION + 5, oldest=SCHEMA_VERSION)
    assert migrate(engine) == (SCHEMA_VERSION + 5, SCHEMA_VERSION + 5)
    with transaction(engine, timeout_seconds=5) as connection:
        check_schema(connection)


def test_a_newer_database_that_does_not_serve_this_program_is_refused(engine: sa.Engine) -> None:
    pretend(engine, version=SCHEMA_VERSION + 5, oldest=SCHEMA_VERSION + 1)
    with pytest.raises(SchemaMismatchError, match="this program is too old"):
        migrate(engine)
    with (
        transaction(engine, timeout_seconds=5) as connection,
        pytest.raises(SchemaMismatchError, match=f"schema {SCHEMA_VERSION}, the database has {SCHEMA_VERSION + 5}"),
    ):
        check_schema(connection)


def pretend(engine: sa.Engine, *, version: int, oldest: int) -> None:
    """Make the database look as if another program had migrated it."""
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE schema_version SET version = :version, oldest_program = :oldest"),
            {"version": version, "oldest": oldest},
        )
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :number"), {"number": f"{version:04}"})


def run_command(**environment: str) -> tuple[int, dict[str, Any]]:
    """Run the command with these B3LB_ variables; return its exit code and its one line."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("B3LB_", "PG"))}
    result = subprocess.run(
        [sys.executable, "-m", "b3lb.db.migrate"],
        env={**clean, **{f"B3LB_{name}": value for name, value in environment.items()}},
        cwd=Path(migrate_module.__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return result.returncode, json.loads(line)


def test_the_command_migrates_and_says_so_in_one_line(empty_database_url: str) -> None:
    code, line = run_command(DATABASE_URL="postgresql://nobody@127.0.0.1:1/x", DATABASE_DIRECT_URL=empty_database_url)
    assert (code, line["event"], line["before"], line["now"]) == (0, "the database was migrated", 0, SCHEMA_VERSION)
    code, line = run_command(DATABASE_URL=empty_database_url)
    assert (code, line["event"]) == (0, "the database is up to date")


def test_the_command_exits_75_when_the_database_is_away() -> None:
    code, line = run_command(DATABASE_URL="postgresql://b3lb:geheim@127.0.0.1:1/b3lb")
    assert (code, line["transient"]) == (75, True)
    assert "Connection refused" in line["reason"]
    assert "geheim" not in json.dumps(line)


def test_the_command_exits_75_when_this_program_is_too_old(engine: sa.Engine, database_url: str) -> None:
    pretend(engine, version=SCHEMA_VERSION + 1, oldest=SCHEMA_VERSION + 1)
    code, line = run_command(DATABASE_URL=database_url)
    assert code == 75
    assert "this program is too old" in line["reason"]


@pytest.mark.parametrize("environment", [{}, {"DATABASE_URL": "nonsense"}, {"LOG_LEVEL": "loud"}])
def test_the_command_exits_78_for_wrong_settings(environment: dict[str, str]) -> None:
    code, line = run_command(**environment)
    assert (code, line["event"]) == (78, "the settings are wrong")
    assert "B3LB_" in line["reason"]


def test_the_command_exits_78_without_the_right_to_create_tables(empty: sa.Engine, empty_database_url: str) -> None:
    with empty.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS b3lb_powerless"))
        connection.execute(sa.text("CREATE ROLE b3lb_powerless LOGIN PASSWORD 'x'"))
    password = sa.make_url(empty_database_url).password or ""
    code, line = run_command(
        DATABASE_URL=empty_database_url.replace(f"b3lb:{password}@", "b3lb_powerless:x@"),
    )
    assert (code, line["transient"]) == (78, False)
    assert "permission denied" in line["reason"]


def test_the_oldest_program_is_never_newer_than_the_schema() -> None:
    assert 1 <= OLDEST_PROGRAM <= SCHEMA_VERSION


def test_a_killed_migration_leaves_nothing_and_the_next_one_works(empty: sa.Engine, empty_database_url: str) -> None:
    with empty.begin() as blocker:
        # Whoever wants the migrations' lock waits here, in the middle of its work.
        blocker.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('b3lb/migrations', 0))"))
        process = subprocess.Popen(
            [sys.executable, "-m", "b3lb.db.migrate"],
            env={**os.environ, "B3LB_DATABASE_URL": empty_database_url},
            cwd=Path(migrate_module.__file__).parents[2],
            stderr=subprocess.DEVNULL,
        )
        waiting = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        while blocker.execute(waiting).scalar_one() == 0:
            blocker.execute(sa.text("SELECT pg_sleep(0.05)"))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    assert migrate(empty) == (0, SCHEMA_VERSION)
