"""One container as a local process: starting it, signalling it, and how it ended."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from dev.kubelet import launcher
from dev.kubelet.mounts import Mount

POD_ROOT_VARIABLE = "B3LB_POD_ROOT"
MESSAGE_BYTES = 4096
LOG_MESSAGE_BYTES = 2048
LOG_MESSAGE_LINES = 80


@dataclass(frozen=True)
class Plan:
    """Everything that decides how a container's process is started."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(repr=False)
    working_directory: str
    pod_root: Path
    mounts: list[Mount]
    hostname: str
    private_mounts: bool
    termination_log: Path
    log_fallback: bool
    """Whether the end of the log is the termination message of a failure without one."""
    termination_path: str = "/dev/termination-log"
    """Where the container sees ``termination_log``, with private mounts."""
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def log(self) -> Path:
        """Standard output and error of all runs."""
        return self.pod_root / f"{self.name}.log"


@dataclass(frozen=True)
class Ending:
    """How a container ended."""

    exit_code: int
    reason: str
    message: str
    started_at: datetime
    finished_at: datetime
    container_id: str


def start_error(error: Exception) -> Ending:
    """The end of a container whose process could not be started at all."""
    now = datetime.now(UTC)
    return Ending(launcher.START_ERROR_CODE, "StartError", str(error), started_at=now, finished_at=now, container_id="")


class ContainerProcess:
    """A started container."""

    def __init__(self, plan: Plan, process: asyncio.subprocess.Process, *, log_start: int, error: Path) -> None:
        self.container_id = f"process://{uuid.uuid4().hex}"
        self.started_at = datetime.now(UTC)
        self.pid = process.pid
        self._plan = plan
        self._process = process
        self._log_start = log_start
        self._error = error
        self._out_of_memory = False

    @classmethod
    async def start(cls, plan: Plan) -> "ContainerProcess":
        """Starts a container; a command that does not exist is found out by :meth:`wait`.

        Raises:
            OSError: this machine cannot start another process or write the plan.
            ValueError: a variable contains a NUL character.
        """
        file, error = _prepare(plan)
        with plan.log.open("ab") as log:
            log_start = log.tell()
            process = await _launch(plan, file, output=log.fileno())
        return cls(plan, process, log_start=log_start, error=error)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the container's first process, as a runtime does; SIGKILL ends its whole group."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if number == signal.SIGKILL else os.kill)(self.pid, number)

    def kill_for_memory(self) -> None:
        """Kills the container as the kernel does when its cgroup has no memory left."""
        self._out_of_memory = True
        self.signal(signal.SIGKILL)

    async def wait(self) -> Ending:
        """Waits for the end; what the container's command left behind in its process group is killed."""
        code = await self._process.wait()
        finished_at = datetime.now(UTC)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _kill_those_who_see(self._plan)
        exit_code = code if code >= 0 else 128 - code
        reason, message = "Completed" if exit_code == 0 else "Error", ""
        start_error = self._error.read_text(encoding="utf-8") if exit_code == launcher.START_ERROR_CODE else ""
        if start_error:
            reason, message = "StartError", start_error
        elif self._out_of_memory and code == -signal.SIGKILL:
            reason = "OOMKilled"
        return Ending(
            exit_code=exit_code,
            reason=reason,
            message=message or self._message(failed=exit_code != 0),
            started_at=self.started_at,
            finished_at=finished_at,
            container_id=self.container_id,
        )

    def _message(self, *, failed: bool) -> str:
        text = read_head(self._plan.termination_log, MESSAGE_BYTES)
        if not text and failed and self._plan.log_fallback:
            text = read_tail(self._plan.log, start=self._log_start, size=LOG_MESSAGE_BYTES, lines=LOG_MESSAGE_LINES)
        return text


async def execute(plan: Plan, command: Sequence[str], *, purpose: str) -> int:
    """Runs a command with the environment and the view of a container that runs, and drops its output.

    Args:
        plan: The container's plan.
        command: Program and arguments.
        purpose: A name for its files, different for commands that may run at the same time.

    Returns:
        Its exit code, as a shell says it; 128 if it could not be started.

    Raises:
        OSError: this machine cannot start another process or write the plan.
    """
    log = plan.pod_root / "internal" / f"{plan.name}.{purpose}.termination-log"
    beside = replace(plan, name=f"{plan.name}.{purpose}", command=list(command), termination_log=log)
    file, _ = _prepare(beside)
    process = await _launch(beside, file, output=asyncio.subprocess.DEVNULL)
    try:
        code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        # Also when this is cancelled: whoever started it has to wait for its end.
        await process.wait()
    return code if code >= 0 else 128 - code


async def _launch(plan: Plan, file: Path, *, output: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        launcher.__file__,
        str(file),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=plan.environment,
        start_new_session=True,
    )


def _kill_those_who_see(plan: Plan) -> None:
    """Kills what a container with private mounts has left behind, in whatever process group and environment.

    A container's own processes are those that see its termination log; with a real one, they end with its first one.
    """
    if not plan.private_mounts:
        return
    mine = plan.termination_log.stat()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                seen = (process / "root" / plan.termination_path.lstrip("/")).stat()
                if (seen.st_dev, seen.st_ino) == (mine.st_dev, mine.st_ino):
                    os.kill(int(process.name), signal.SIGKILL)


def _prepare(plan: Plan) -> tuple[Path, Path]:
    """Writes what the launcher reads; returns the paths of its plan and of its error file."""
    internal = plan.pod_root / "internal"
    (internal / "root").mkdir(parents=True, exist_ok=True)
    plan.termination_log.write_bytes(b"")
    for source in (Path(mount.source) for mount in plan.mounts):
        # A subPath that nobody has created yet; anything else must be there.
        if source.is_relative_to(plan.pod_root / "volumes") and not source.exists():
            source.mkdir(parents=True)
    file, error = internal / f"{plan.name}.json", internal / f"{plan.name}.error"
    content = {
        "parent": os.getpid(),
        "command": plan.command,
        "directory": plan.working_directory,
        "hostname": plan.hostname,
        "private": plan.private_mounts,
        "mounts": [[mount.source, mount.target, mount.read_only] for mount in plan.mounts],
        "staging": str(internal / "root"),
        "error": str(error),
    }
    file.write_text(json.dumps(content), encoding="utf-8")
    return file, error


def read_head(path: Path, size: int) -> str:
    """The first bytes of a file as text; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""


def read_tail(path: Path, *, start: int, size: int, lines: int) -> str:
    """The last lines of a file as text; empty if it cannot be read.

    Args:
        path: The file.
        start: Offset of the first byte that counts.
        size: Bytes at most.
        lines: Lines at most.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - size))
            return b"".join(deque(file.readlines(), maxlen=lines)).decode(errors="replace")
    except OSError:
        return ""


def kill_leftovers(root: Path) -> int:
    """Kills every process of a pod, found by the pod's root in its environment; returns how many.

    Args:
        root: The pod's root, or a directory above the roots of several pods.
    """
    killed = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(POD_ROOT_VARIABLE, "")
            if value and Path(value).is_relative_to(root):
                process.kill()
                killed += 1
    return killed
