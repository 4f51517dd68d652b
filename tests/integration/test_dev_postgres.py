"""The development PostgreSQL: what survives a stop, a restart and a crash."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dev import postgres
from dev import postgres_programs as module
from dev.postgres import Postgres
from dev.postgres_programs import PostgresError
from dev.processes import ProcessError, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres(preload=["pg_stat_statements"]) as running:
        yield running


def fetch(url: str, query: str) -> object:
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(query).fetchone()
        return None if row is None else row[0]


def fill(url: str, rows: int) -> None:
    with psycopg.connect(url, connect_timeout=5) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT * FROM generate_series(1, %s) AS number", [rows])


def test_data_and_address_survive_a_restart(server: Postgres) -> None:
    url = server.create_database("restarted")
    fill(url, 100)
    server.restart()
    assert fetch(url, "SELECT count(*) FROM numbers") == 100


def test_committed_data_survive_the_kill_of_all_processes(server: Postgres) -> None:
    url = server.create_database("killed")
    fill(url, 10_000)
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM numbers")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        fetch(url, "SELECT 1")
    server.restart()
    assert fetch(url, "SELECT count(*) FROM numbers") == 10_000


def test_a_stopped_server_is_gone_and_a_second_stop_is_no_error(server: Postgres) -> None:
    with psycopg.connect(server.url) as connection:
        server.stop()
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            connection.execute("SELECT 1")
    server.stop()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        fetch(server.url, "SELECT 1")
    server.start()
    assert fetch(server.url, "SELECT 1") == 1


def test_a_paused_server_answers_again_after_it_is_resumed(server: Postgres) -> None:
    server.pause()
    try:
        with pytest.raises(psycopg.errors.ConnectionTimeout), psycopg.connect(server.url, connect_timeout=2):
            pass
    finally:
        server.resume()
    assert fetch(server.url, "SELECT 1") == 1


def test_a_wrong_password_is_refused_and_the_right_one_is_not_shown(server: Postgres) -> None:
    password = psycopg.conninfo.conninfo_to_dict(server.url)["password"]
    assert isinstance(password, str)
    assert password not in repr(server)
    assert password not in repr(server.process.command)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        fetch(server.url.replace(password, "guess"), "SELECT 1")


def test_statements_are_counted_when_the_library_is_loaded(server: Postgres) -> None:
    url = server.create_database("statements")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        connection.execute("SELECT 4711 AS needle")
    assert fetch(url, "SELECT calls FROM pg_stat_statements WHERE query LIKE '%AS needle'") == 1


def test_a_database_name_needs_no_special_characters_avoided(server: Postgres) -> None:
    url = server.create_database('a "b"/c?d')
    assert fetch(url, "SELECT current_database()") == 'a "b"/c?d'
    with pytest.raises(psycopg.errors.DuplicateDatabase):
        server.create_database('a "b"/c?d')


def test_work_costs_processor_time_and_write_ahead_log_also_after_its_connection_ended(server: Postgres) -> None:
    url = server.create_database("work")
    seconds, wal = server.cpu_seconds(), server.wal_bytes()
    fill(url, 200_000)
    assert server.cpu_seconds() - seconds >= 0.02
    assert server.wal_bytes() - wal > 200_000 * 20
    total = server.cpu_seconds()
    server.restart()
    assert server.cpu_seconds() >= total


def test_settings_are_applied_and_fsync_can_be_switched_on() -> None:
    with Postgres(fsync=True, settings={"work_mem": "1MB"}) as server:
        assert fetch(server.url, "SHOW fsync") == "on"
        assert fetch(server.url, "SHOW work_mem") == "1MB"


def test_a_temporary_server_leaves_nothing_behind() -> None:
    with Postgres() as server:
        directory = Path(str(fetch(server.url, "SHOW data_directory"))).parent
        assert directory.exists()
    assert not directory.exists()
    with pytest.raises(ProcessError, match="was not started"):
        server.kill()


def test_a_directory_of_ones_own_can_be_closed_to_others_and_is_removed_on_request(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Postgres(tmp_path / "server") as server:
        data = Path(str(fetch(server.url, "SHOW data_directory")))
    assert data.exists()
    server.remove()
    assert not data.exists()
    assert not (tmp_path / "server").exists()


def test_a_server_ends_with_its_killed_parent_and_its_data_can_be_used_again(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from dev.postgres import Postgres; "
        "server = Postgres(Path(sys.argv[1])); server.start(); print(server.url, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "server")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        fill(url, 7)
        parent.kill()

    def refused() -> bool:
        try:
            fetch(url, "SELECT 1")
        except psycopg.OperationalError as error:
            return "refused" in str(error)
        return False

    assert wait_until(refused, timeout=10)
    again = Postgres(tmp_path / "server")
    try:
        again.start()
        assert fetch(again.url, "SELECT count(*) FROM numbers") == 7
    finally:
        again.remove()


def test_programs_that_others_cannot_reach_are_copied_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = module.installed_programs()
    reachable = module.reachable_by_everyone
    with tempfile.TemporaryDirectory() as public:
        Path(public).chmod(0o755)
        for user in (module, postgres):
            monkeypatch.setattr(user, "public_directory", lambda: Path(public))
        monkeypatch.setattr(module, "reachable_by_everyone", lambda path: path != installed and reachable(path))
        copied = module.reachable_programs(installed, for_other_user=True)
        assert copied.is_relative_to(public)
        assert module.reachable_programs(installed, for_other_user=True) == copied
        assert all(path.stat().st_mode & 0o022 == 0 for path in copied.rglob("*"))
        with Postgres() as server:
            assert fetch(server.url, "SELECT 1") == 1
            assert os.geteuid() != 0 or server.process.command[0] == str(copied / "postgres")
        copied.parents[2].chmod(0o777)
        with pytest.raises(PostgresError, match="belongs to somebody else"):
            module.reachable_programs(installed, for_other_user=True)


def test_a_failed_start_says_why_and_does_not_remove_data_of_ones_own(tmp_path: Path) -> None:
    with Postgres(tmp_path / "server") as server:
        fill(server.url, 7)
    with (
        pytest.raises(ProcessError, match="no_such_setting"),
        Postgres(tmp_path / "server", settings={"no_such_setting": "1"}),
    ):
        pass
    again = Postgres(tmp_path / "server")
    try:
        again.start()
        assert fetch(again.url, "SELECT count(*) FROM numbers") == 7
    finally:
        again.remove()
