"""What of the database layer needs no database: which errors pass, which schemas fit, what can be stored, imports."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import psycopg
import psycopg.errors
import pytest
import sqlalchemy.exc
from hypothesis import given
from hypothesis import strategies as st

from b3lb.db.engine import connection_parameters, create_engine
from b3lb.db.errors import MESSAGE_CHARACTERS, InvalidDatabaseURLError, describe, is_transient
from b3lb.db.schema import SchemaRange, judge
from b3lb.db.statements import dump, storable_text
from b3lb.nesting import nesting


def wrapped(error: psycopg.Error, *, invalidated: bool = False) -> sqlalchemy.exc.DBAPIError:
    return sqlalchemy.exc.DBAPIError("SELECT 1", {"a": "geheim"}, error, connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (psycopg.OperationalError("connection failed"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.CannotConnectNow(), True),
        (psycopg.errors.QueryCanceled(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.TooManyConnections(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.LockNotAvailable(), True),
        (psycopg.errors.ReadOnlySqlTransaction(), True),
        (psycopg.errors.IdleInTransactionSessionTimeout(), True),
        (psycopg.errors.UniqueViolation(), False),
        (psycopg.errors.UndefinedTable(), False),
        (psycopg.errors.InsufficientPrivilege(), False),
        (psycopg.errors.DivisionByZero(), False),
        (psycopg.DataError("NUL"), False),
    ],
)
def test_what_passes_by_itself_is_transient(error: psycopg.Error, transient: bool) -> None:
    assert is_transient(error) is transient
    assert is_transient(wrapped(error)) is transient
    assert is_transient(wrapped(error, invalidated=True))


def test_other_exceptions_are_not_transient() -> None:
    assert not is_transient(ValueError("x"))
    assert not is_transient(sqlalchemy.exc.ArgumentError("x"))
    assert is_transient(sqlalchemy.exc.TimeoutError("pool"))


def test_an_error_is_described_in_one_short_line_without_secrets() -> None:
    error = wrapped(psycopg.OperationalError("failed for password=geheim\n\tis it there?\n\n" + "x" * 1000))
    line = describe(error)
    assert line.startswith("failed for password=[redacted]; is it there?; xxx")
    assert len(line) == MESSAGE_CHARACTERS
    assert describe(psycopg.OperationalError()) == "OperationalError"
    assert describe(ValueError("plain")) == "plain"


@pytest.mark.parametrize(
    ("found", "program", "message"),
    [
        (None, 1, "no schema yet"),
        (SchemaRange(version=1, oldest_program=1), 2, "the database is too old: its schema is 1, this program needs 2"),
        (SchemaRange(version=4, oldest_program=3), 2, "this program is too old: it was made for schema 2"),
    ],
)
def test_a_schema_that_does_not_fit_names_the_side_that_is_too_old(
    found: SchemaRange | None, program: int, message: str
) -> None:
    assert message in str(judge(found, program=program))


@given(version=st.integers(1, 20), older=st.integers(0, 19), program=st.integers(1, 20))
def test_a_program_runs_exactly_within_the_databases_range(version: int, older: int, program: int) -> None:
    found = SchemaRange(version=version, oldest_program=max(1, version - older))
    assert (judge(found, program=program) is None) == (found.oldest_program <= program <= found.version)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_whatever_is_dumped_is_json_that_postgresql_can_store(value: Any) -> None:
    text = dump(value)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert dump(json.loads(text)) == text


def test_times_bytes_and_other_values_have_a_form() -> None:
    value = {"at": datetime(2026, 11, 23, tzinfo=UTC), "raw": b"\x00\xff", "t": (1,), 5: {7}, "x": ValueError("why")}
    assert json.loads(dump(value)) == {
        "at": "2026-11-23T00:00:00+00:00",
        "raw": "\\x00ff",
        "t": [1],
        "5": [7],
        "x": "why",
    }


@given(st.text(st.characters()))
def test_storable_texts_stay_as_they_are(text: str) -> None:
    stored = storable_text(text)
    assert storable_text(stored) == stored
    assert "\x00" not in stored
    if "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text):
        assert stored == text


def test_every_connection_notices_a_dead_peer_and_a_silent_server() -> None:
    parameters = connection_parameters("b3lb-test")
    assert parameters["application_name"] == "b3lb-test"
    assert parameters["connect_timeout"] == 5
    idle = parameters["keepalives_idle"] + parameters["keepalives_interval"] * parameters["keepalives_count"]
    assert parameters["keepalives"] == 1
    assert idle <= 30
    assert parameters["tcp_user_timeout"] <= 30_000


def test_a_url_that_libpq_does_not_understand_is_refused_without_repeating_it() -> None:
    for url in ("mysql://u:geheim@h/d", "postgresql://u:geheim%zz@h/d", "", "postgresql+psycopg://u:geheim@h/d"):
        with pytest.raises(InvalidDatabaseURLError) as caught:
            create_engine(url, application_name="x")
        assert "geheim" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_what_the_jobs_import_pulls_in_neither_alembic_nor_pydantic_nor_kubernetes() -> None:
    modules = ("engine", "leases", "node_states", "task_runs", "ticks", "schema", "errors", "mirror")
    program = (
        "import sys;"
        + "".join(f"import b3lb.db.{name};" for name in modules)
        + "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    forbidden = {"alembic", "pydantic", "pydantic_settings", "kopf", "kubernetes", "aiohttp", "yarl", "structlog"}
    assert set(result.stdout.split()) & forbidden == set()


def depth(value: object) -> int:
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(
    st.recursive(
        st.none() | st.text('[]{}"\\\n'), lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{}"\\'), inner)
    )
)
def test_the_levels_of_json_are_counted_whatever_stands_in_its_texts(value: object) -> None:
    assert nesting(dump(value)) == depth(value)
