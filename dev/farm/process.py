"""A farm in a process of its own, for tests, demos and benchmarks."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dev.farm.client import FarmClient
from dev.farm.messages import READY_FILE, FarmFile, FarmNode

_ROOT: Final = Path(__file__).resolve().parents[2]
_POLL_SECONDS: Final = 0.02
_STOP_SECONDS: Final = 10


class FarmStartError(Exception):
    """The farm did not come up; the message has the end of what it printed."""


class Farm:
    """Starts a farm, and ends it with the context or with this process, however that ends.

    After the start ``nodes`` tells where the nodes are, and ``control`` is a client of the control port.

    Args:
        nodes: number of nodes.
        seed: the same seed gives the same farm.
        meetings: meetings on each node.
        attendees: mean number of attendees of a meeting.
        frozen: whether time stands still until ``control.step()``.
        step_seconds: seconds between two steps otherwise.
        algorithms: the checksum algorithms that nodes accept; none means all.
        start_time: simulated time at the start, ISO 8601 or "now"; None is a fixed one.
        directory: where ``farm.json`` and ``farm.log`` go; None is a temporary one that goes with the farm.
        start_seconds: seconds that the start may take.
    """

    def __init__(
        self,
        *,
        nodes: int = 5,
        seed: int = 1,
        meetings: int = 20,
        attendees: int = 15,
        frozen: bool = False,
        step_seconds: float = 5,
        algorithms: Iterable[str] = (),
        start_time: str | None = None,
        directory: Path | None = None,
        start_seconds: float = 60,
    ) -> None:
        self._options = [
            f"--nodes={nodes}",
            f"--seed={seed}",
            f"--meetings={meetings}",
            f"--attendees={attendees}",
            f"--step-seconds={step_seconds}",
            *(["--frozen"] if frozen else []),
            *(f"--algorithm={algorithm}" for algorithm in algorithms),
            *([f"--start-time={start_time}"] if start_time else []),
        ]
        self._directory = directory
        self._start_seconds = start_seconds
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control: FarmClient | None = None
        self.nodes: list[FarmNode] = []

    @property
    def control(self) -> FarmClient:
        """The client of the control port; the farm must have been started."""
        if self._control is None:
            raise RuntimeError("the farm has not been started")
        return self._control

    @property
    def pid(self) -> int:
        """The farm's process ID; the farm must have been started."""
        if self._process is None:
            raise RuntimeError("the farm has not been started")
        return self._process.pid

    def start(self) -> Self:
        """Starts the farm and waits until all its ports are open.

        Raises:
            FarmStartError: if it ends, or is not ready in time.
        """
        if self._directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="farm-")
        directory = self._directory or Path(self._temporary.name if self._temporary else "")
        directory.mkdir(parents=True, exist_ok=True)
        ready_file = directory / READY_FILE
        ready_file.unlink(missing_ok=True)
        log_file = directory / "farm.log"
        command = [sys.executable, "-m", "dev.farm", f"--directory={directory}", "--end-with-stdin", *self._options]
        with log_file.open("wb") as log:
            # The pipe to its standard input closes when this process ends, even if it is killed.
            self._process = subprocess.Popen(
                command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            content = self._wait_for(ready_file, log_file)
        except BaseException:
            self.stop()
            raise
        self.nodes = content.nodes
        self._control = FarmClient(content.control)
        return self

    def stop(self) -> None:
        """Ends the farm; does nothing if it has ended."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _wait_for(self, ready_file: Path, log_file: Path) -> FarmFile:
        deadline = time.monotonic() + self._start_seconds
        while not ready_file.exists():
            code = None if self._process is None else self._process.poll()
            if code is not None or time.monotonic() > deadline:
                output = log_file.read_text(encoding="utf-8", errors="replace")[-2000:]
                state = "is not ready in time" if code is None else f"ended with code {code}"
                raise FarmStartError(f"the farm {state}: {output}")
            time.sleep(_POLL_SECONDS)
        return FarmFile.model_validate_json(ready_file.read_bytes())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
