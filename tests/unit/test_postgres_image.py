"""The entry point that stands for the official PostgreSQL image's."""

from pathlib import Path

import pytest

from dev.postgres_image import Settings, image_entry, main, read_settings, server_command
from dev.postgres_programs import PostgresError


def test_user_and_database_have_the_defaults_of_the_official_image() -> None:
    assert read_settings({"POSTGRES_PASSWORD": "p"}) == Settings("postgres", "postgres", "p")
    assert read_settings({"POSTGRES_PASSWORD": "p", "POSTGRES_USER": "u"}) == Settings("u", "u", "p")
    assert read_settings({"POSTGRES_PASSWORD": "p", "POSTGRES_DB": "d"}) == Settings("postgres", "d", "p")


def test_values_may_lie_in_files(tmp_path: Path) -> None:
    for name in ("user", "database", "password"):
        (tmp_path / name).write_text(f"the {name}\n")
    files = {"POSTGRES_USER": "user", "POSTGRES_DB": "database", "POSTGRES_PASSWORD": "password"}
    variables = {f"{variable}_FILE": str(tmp_path / name) for variable, name in files.items()}
    assert read_settings(variables) == Settings("the user", "the database", "the password")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "set POSTGRES_PASSWORD"),
        ({"POSTGRES_PASSWORD": ""}, "set POSTGRES_PASSWORD"),
        ({"POSTGRES_PASSWORD": "geheim", "POSTGRES_PASSWORD_FILE": "f"}, "both POSTGRES_PASSWORD and POSTGRES_PASS"),
        ({"POSTGRES_PASSWORD_FILE": "/none"}, "the file of POSTGRES_PASSWORD_FILE cannot be read: FileNotFoundError"),
    ],
)
def test_wrong_settings_are_named_without_their_values(variables: dict[str, str], message: str) -> None:
    with pytest.raises(PostgresError, match=message) as caught:
        read_settings(variables)
    assert "geheim" not in str(caught.value)


def test_a_password_is_in_no_repr() -> None:
    assert "geheim" not in repr(read_settings({"POSTGRES_PASSWORD": "geheim"}))


def test_options_of_the_pod_come_last_and_win() -> None:
    command = server_command(Path("/bin"), Path("/data"), ["-c", "max_connections=9"], address="127.77.0.2")
    assert command[:5] == ["/bin/postgres", "-D", "/data", "-c", "listen_addresses=127.77.0.2"]
    assert command[-2:] == ["-c", "max_connections=9"]


def test_the_image_has_the_programs_and_ends_as_the_official_one() -> None:
    entry = image_entry()
    [programs] = entry["path"] if isinstance(entry["path"], list) else []
    assert {"postgres", "initdb", "pg_isready"} <= {path.name for path in Path(programs).iterdir()}
    assert entry["stopSignal"] == "SIGINT"


def test_another_command_is_run_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Replaced(Exception):  # noqa: N818 - it stands for the end of this program
        pass

    def replace(program: str, arguments: list[str]) -> None:
        raise Replaced(program, arguments)

    monkeypatch.setattr("os.execvp", replace)
    with pytest.raises(Replaced) as caught:
        main(["pg_isready", "--quiet"])
    assert caught.value.args == ("pg_isready", ["pg_isready", "--quiet"])
