"""Long-running child processes of the development environment and of the tests.

A child gets its own session and log file and never outlives this process: the kernel kills it when its parent ends,
also after ``kill -9`` (``PR_SET_PDEATHSIG``, prctl(2), set by util-linux' ``setpriv``). That signal is tied to the
*thread* that started the child, so every child is started by one thread that lives as long as this process.
"""

import contextlib
import http.client
import os
import pwd
import queue
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO

import psutil

LAST_LINES = 20
POLL_SECONDS = 0.05
_EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT = 10240
_LINE_BYTES = 400
_KILL_SECONDS = 10.0


class ProcessError(RuntimeError):
    """A child process did not start, did not become ready, or is not in the needed state."""


class _Starter:
    """The one thread that starts children, so that none of them loses its parent thread early."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._requests = queue.SimpleQueue()
        self._process_id = 0
        self._lock = threading.Lock()

    def run(self, action: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        with self._lock:
            # Threads do not survive fork(2): a forked child needs its own.
            if self._process_id != os.getpid():
                self._process_id = os.getpid()
                self._requests = queue.SimpleQueue()
                threading.Thread(
                    target=self._serve, args=(self._requests,), name="process-starter", daemon=True
                ).start()
        self._requests.put((action, future))
        return future.result()

    @staticmethod
    def _serve(
        requests: "queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]",
    ) -> None:
        while True:
            action, future = requests.get()
            try:
                future.set_result(action())
            except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
                future.set_exception(error)


_starter = _Starter()


def with_parent_death_signal(command: Sequence[str], *, user: str | None = None) -> list[str]:
    """The command, killed by the kernel as soon as the thread that started it ends.

    Args:
        command: Program and arguments.
        user: Name of the user to run it as; needs root.

    Raises:
        ProcessError: util-linux' ``setpriv`` is not installed, or the user does not exist.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ProcessError("the program setpriv is missing: install the package util-linux")
    prefix = [setpriv, "--pdeathsig", "KILL"]
    if user is not None:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise ProcessError(f"the user {user} does not exist on this machine") from None
        prefix += ["--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]
    return [*prefix, "--", *command]


def free_ports(count: int) -> list[int]:
    """Free TCP ports of 127.0.0.1, all different.

    They lie below the range of ephemeral ports, so that no outgoing connection takes one while its server is being
    restarted (a client that keeps trying could even connect to itself). They stay this process's until it ends, so that
    nobody else who asks here gets one before its server listens.

    Raises:
        ProcessError: there are not enough free ports.
    """
    highest = int(_EPHEMERAL_PORTS.read_text(encoding="ascii").split()[0]) if _EPHEMERAL_PORTS.exists() else 32768
    candidates = random.sample(range(_LOWEST_PORT, max(highest, _LOWEST_PORT + 2000)), k=2000)
    ports: list[int] = []
    for port in candidates:
        if len(ports) == count:
            return ports
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _claim(port)
                ports.append(port)
    raise ProcessError(f"there are no {count} free ports on 127.0.0.1")


def _claim(port: int) -> None:
    """Hold a name of the machine (unix(7), abstract sockets) until this process ends.

    Raises:
        OSError: another process has it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        claim.bind(f"\0b3lb-port-{port}")
        claim.detach()


def last_lines(path: Path, count: int = LAST_LINES) -> str:
    """The last lines of a text file, at most 400 bytes of each counted; empty if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - count * _LINE_BYTES))
            return "\n".join(deque(file.read().decode(errors="replace").splitlines(), maxlen=count))
    except FileNotFoundError:
        return ""


def http_answer(port: int, path: str) -> tuple[int, str]:
    """Returns status and text of a GET from a port of this machine; status 0 when nobody answers within 2 s."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def wait_until(check: Callable[[], bool], *, timeout: float, interval: float = POLL_SECONDS) -> bool:
    """Asks every ``interval`` seconds until the check holds; False when ``timeout`` seconds have passed."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True


class ManagedProcess:
    """A child process in its own session, writing to a log file.

    All methods may be called from any thread, but not at the same time.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str | None = None,
    ) -> None:
        """Describes the process; nothing is started yet.

        Args:
            name: What messages call it.
            command: Program and arguments; no secrets, everyone on the machine can read them.
            log: File for its standard output and error, appended to; the directory is created.
            environment: The whole environment; None passes that of this process on.
            directory: Working directory.
            user: Name of the user to run it as; needs root.
        """
        self.name = name
        self.command = list(command)
        self.log = log
        self.environment = None if environment is None else dict(environment)
        self.directory = directory
        self.user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._earlier_cpu_seconds = 0.0
        self._cpu_seconds = 0.0

    def __repr__(self) -> str:
        return f"ManagedProcess({self.name!r}, pid={self.pid})"

    @property
    def pid(self) -> int | None:
        """Process id while it has been started, also after its end until the next start."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended; True also while paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Exit code; negative is the number of the signal that ended it; None before its end."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Starts it.

        Raises:
            ProcessError: it runs already, or the program cannot be started.
        """
        if self.running:
            raise ProcessError(f"{self.name} runs already")
        self._earlier_cpu_seconds += self._cpu_seconds
        self._cpu_seconds = 0.0
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            try:
                self._process = _starter.run(lambda: self._spawn(log))
            except OSError as error:
                raise ProcessError(f"{self.name} cannot be started: {error}") from error

    def _spawn(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            with_parent_death_signal(self.command, user=self.user),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=self.environment,
            cwd=self.directory,
            start_new_session=True,
        )

    def wait_ready(self, check: Callable[[], bool], *, timeout: float, interval: float = POLL_SECONDS) -> None:
        """Waits until the check holds.

        Args:
            check: Whether it is ready; must not block long nor raise.
            timeout: Seconds to wait at most.
            interval: Seconds between two checks.

        Raises:
            ProcessError: it ended, or was not ready in time; with the last lines of its log.
        """
        if not wait_until(lambda: not self.running or check(), timeout=timeout, interval=interval):
            raise ProcessError(
                f"{self.name} was not ready after {timeout:g} s; its log ends with:\n{self._last_lines()}"
            )
        if not self.running:
            raise ProcessError(
                f"{self.name} ended with code {self.exit_code}; its log ends with:\n{self._last_lines()}"
            )

    def _last_lines(self) -> str:
        return last_lines(self.log) or "(nothing)"

    def wait(self, timeout: float) -> bool:
        """Waits for its end; False if it still runs after ``timeout`` seconds."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, *, timeout: float = 10.0, signal_number: signal.Signals = signal.SIGTERM) -> None:
        """Asks it to end, and kills it after ``timeout`` seconds; nothing happens if it does not run."""
        self.request_stop(signal_number)
        if not self.wait(timeout):
            self.kill()

    def request_stop(self, signal_number: signal.Signals = signal.SIGTERM) -> None:
        """Sends its process group the signal to end, lets it go on if it was paused, and does not wait."""
        self.cpu_seconds()
        self._signal(signal_number)
        self._signal_tree(signal.SIGCONT)

    def kill(self) -> None:
        """Kills it and its descendants at once (SIGKILL) and waits for their end."""
        self.cpu_seconds()
        descendants = self._signal_tree(signal.SIGKILL)
        self.wait(_KILL_SECONDS)
        wait_until(lambda: all(_ended(descendant) for descendant in descendants), timeout=_KILL_SECONDS)

    def pause(self) -> None:
        """Freezes it and its descendants (SIGSTOP).

        Raises:
            ProcessError: it does not run.
        """
        self._require_running()
        self._signal_tree(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it and its descendants go on after a pause (SIGCONT).

        Raises:
            ProcessError: it does not run.
        """
        self._require_running()
        self._signal_tree(signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """User and system time of it and its living descendants, all starts counted.

        Descendants that have ended count as soon as their parent has waited for them.
        """
        if self._process is not None and self.running:
            self._cpu_seconds = tree_cpu_seconds(self._process.pid)
        return self._earlier_cpu_seconds + self._cpu_seconds

    def resident_bytes(self) -> int:
        """Resident memory of its main process; 0 if it does not run."""
        if self._process is None or not self.running:
            return 0
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    def _require_running(self) -> None:
        if not self.running:
            raise ProcessError(f"{self.name} does not run")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or not self.running:
            return
        # It may end at any moment; whoever waits for it finds out.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _signal_tree(self, number: signal.Signals) -> list[psutil.Process]:
        """Signals its group and those descendants that have made a group of their own; returns the descendants."""
        if self._process is None or not self.running:
            return []
        descendants = _descendants(self._process.pid)
        self._signal(number)
        for descendant in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.send_signal(number)
        return descendants


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _ended(process: psutil.Process) -> bool:
    """Whether it is gone; a zombie is, too: its new parent may take its time to wait for it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def tree_cpu_seconds(pid: int) -> float:
    """User and system time in seconds of a process and its descendants, those it has waited for included."""
    total = 0.0
    try:
        members = [psutil.Process(pid), *_descendants(pid)]
    except psutil.NoSuchProcess:
        return 0.0
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
