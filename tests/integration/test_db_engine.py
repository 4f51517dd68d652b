"""Connections: bounded, without state in the session, and honest about what went wrong."""

import time
from collections.abc import Iterator
from datetime import UTC, timedelta

import psycopg
import pytest
import sqlalchemy as sa
import sqlalchemy.exc

from b3lb.db.engine import count_statements, create_engine, database_clock, transaction
from b3lb.db.errors import describe, is_transient
from b3lb.db.leases import acquire
from b3lb.db.node_states import load_polls
from dev.postgres import Postgres

pytestmark = pytest.mark.integration


@pytest.fixture
def single(database_url: str) -> Iterator[sa.Engine]:
    """An engine with one connection."""
    engine = create_engine(database_url, application_name="b3lb-single", pool_size=1)
    yield engine
    engine.dispose()


def test_the_connection_has_its_name_and_points_in_time_are_utc(single: sa.Engine) -> None:
    with single.begin() as connection:
        connection.execute(sa.text("ALTER ROLE CURRENT_USER SET TimeZone = 'Asia/Tokyo'"))
    single.dispose()
    try:
        with transaction(single, timeout_seconds=5) as connection:
            assert connection.execute(sa.text("SHOW application_name")).scalar_one() == "b3lb-single"
            clock = database_clock(connection)
            assert clock.utcoffset() == timedelta(0)
            assert clock.tzinfo is UTC
    finally:
        with single.begin() as connection:
            connection.execute(sa.text("ALTER ROLE CURRENT_USER RESET TimeZone"))


def test_a_statement_that_takes_too_long_is_ended_and_transient(single: sa.Engine) -> None:
    begin = time.monotonic()
    with (
        pytest.raises(sqlalchemy.exc.OperationalError) as caught,
        transaction(single, timeout_seconds=0.2) as connection,
    ):
        connection.execute(sa.text("SELECT pg_sleep(30)"))
    assert time.monotonic() - begin < 5
    assert is_transient(caught.value)
    assert describe(caught.value) == "canceling statement due to statement timeout"


def test_a_holder_that_sleeps_in_its_transaction_is_thrown_out(single: sa.Engine) -> None:
    def sleep() -> None:
        with transaction(single, timeout_seconds=0.2) as connection:
            acquire(connection, "lease", holder="pod-a", ttl_seconds=5)
            time.sleep(0.6)
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        sleep()
    assert is_transient(caught.value)
    with transaction(single, timeout_seconds=5) as connection:
        assert acquire(connection, "lease", holder="pod-b", ttl_seconds=5) is not None


def test_a_transaction_leaves_nothing_in_the_session(single: sa.Engine) -> None:
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout")

    def session() -> list[object]:
        with single.connect() as connection:
            values = [connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in names]
            prepared = connection.execute(sa.text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
            locks = connection.execute(
                sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            ).scalar_one()
        return [*values, prepared, locks]

    before = session()
    for _ in range(10):
        with transaction(single, timeout_seconds=3) as connection:
            load_polls(connection, "default")
            acquire(connection, "lease", holder="pod-a", ttl_seconds=5)
    assert session() == before
    assert before[-2:] == [0, 0]


def test_an_exception_rolls_back(single: sa.Engine) -> None:
    def fail() -> None:
        with transaction(single, timeout_seconds=3) as connection:
            acquire(connection, "lease", holder="pod-a", ttl_seconds=5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with transaction(single, timeout_seconds=3) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM leases")).scalar_one() == 0


def test_an_exhausted_pool_is_transient(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b3lb.db.engine.POOL_TIMEOUT_SECONDS", 0.05)
    engine = create_engine(database_url, application_name="b3lb-tests", pool_size=1)
    with engine.connect(), pytest.raises(sqlalchemy.exc.TimeoutError) as caught:
        engine.connect()
    assert is_transient(caught.value)
    engine.dispose()


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("postgresql://{user}:{password}@127.0.0.1:1/{database}", "Connection refused"),
        ("postgresql://{user}:geheim@127.0.0.1:{port}/{database}", "password authentication failed"),
        ("postgresql://{user}:{password}@127.0.0.1:{port}/b3lb_missing", "does not exist"),
    ],
)
def test_a_refused_connection_is_transient_and_told_in_one_line_without_the_password(
    database_url: str, template: str, message: str
) -> None:
    parts = sa.make_url(database_url)
    url = template.format(user=parts.username, password=parts.password, port=parts.port, database=parts.database)
    engine = create_engine(url, application_name="b3lb-tests")
    with pytest.raises(sqlalchemy.exc.OperationalError) as caught:
        engine.connect()
    assert is_transient(caught.value)
    line = describe(caught.value)
    assert message in line
    assert "\n" not in line
    assert "geheim" not in line
    assert str(parts.password) not in repr(engine) + line


def test_errors_hold_no_values(single: sa.Engine) -> None:
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught, transaction(single, timeout_seconds=3) as connection:
        connection.execute(sa.text("SELECT 1 / length(:value)"), {"value": ""})
    assert not is_transient(caught.value)
    assert describe(caught.value) == "division by zero"
    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught, transaction(single, timeout_seconds=3) as connection:
        connection.execute(sa.text("SELECT nonsense FROM nodes WHERE name = :value"), {"value": "geheim"})
    assert "geheim" not in str(caught.value)


def test_statements_are_counted_in_their_block_only(single: sa.Engine) -> None:
    with count_statements(single) as counter:
        with transaction(single, timeout_seconds=3) as connection:
            connection.execute(sa.text("SELECT 1"))
        assert counter.count == 2
    with single.connect() as connection:
        connection.execute(sa.text("SELECT 2"))
    assert counter.statements[1:] == ["SELECT 1"]


def test_the_engine_heals_after_a_restart_of_the_server() -> None:
    with Postgres() as server:
        engine = create_engine(server.url, application_name="b3lb-tests")
        with transaction(engine, timeout_seconds=3) as connection:
            connection.execute(sa.text("SELECT 1"))
        server.restart()
        with transaction(engine, timeout_seconds=3) as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
        engine.dispose()


def test_several_hosts_in_the_url_are_libpqs_business(database_url: str) -> None:
    """The first host refuses; target_session_attrs finds the primary."""
    url = sa.make_url(database_url)
    several = (
        f"postgresql://{url.username}:{url.password}@127.0.0.1:1,127.0.0.1:{url.port}/{url.database}"
        "?target_session_attrs=read-write"
    )
    engine = create_engine(several, application_name="b3lb-tests")
    with transaction(engine, timeout_seconds=3) as connection:
        assert connection.execute(sa.text("SELECT current_database()")).scalar_one() == url.database
    engine.dispose()


def test_a_read_only_server_is_transient(database_url: str) -> None:
    """A standby that was promoted away from us."""
    engine = create_engine(database_url, application_name="b3lb-tests")

    def write() -> None:
        with transaction(engine, timeout_seconds=3) as connection:
            connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            acquire(connection, "lease", holder="pod-a", ttl_seconds=5)

    with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        write()
    assert isinstance(caught.value.orig, psycopg.errors.ReadOnlySqlTransaction)
    assert is_transient(caught.value)
    engine.dispose()
