"""A farm in a process of its own, for tests, demos and benchmarks."""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dev.farm.client import FarmClient
from dev.farm.messages import READY_FILE, FarmFile, FarmNode
from dev.processes import ManagedProcess, ProcessError

_ROOT: Final = Path(__file__).resolve().parents[2]
_POLL_SECONDS: Final = 0.02
_STOP_SECONDS: Final = 10


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
        tenants: (slug, sub-id) of the API secrets by which a load balancer creates the meetings;
            :func:`dev.farm.tenants.tenant_secrets` makes many. None means that clients create all meetings directly.
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
        tenants: Iterable[tuple[str, int]] = (),
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
            *(f"--secret={slug}-{sub_id:03d}" for slug, sub_id in tenants),
            *([f"--start-time={start_time}"] if start_time else []),
        ]
        self._directory = directory
        self._start_seconds = start_seconds
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: ManagedProcess | None = None
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
        pid = None if self._process is None else self._process.pid
        if pid is None:
            raise RuntimeError("the farm has not been started")
        return pid

    def start(self) -> Self:
        """Starts the farm and waits until all its ports are open.

        Raises:
            ProcessError: it runs already, it ends, or it is not ready in time.
        """
        if self._process is not None:
            raise ProcessError("the farm runs already")
        if self._directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="farm-")
        directory = self._directory or Path(self._temporary.name if self._temporary else "")
        ready_file = directory / READY_FILE
        ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "dev.farm", f"--directory={directory}", *self._options]
        self._process = ManagedProcess("the farm", command, log=directory / "farm.log", directory=_ROOT)
        try:
            self._process.start()
            self._process.wait_ready(ready_file.exists, timeout=self._start_seconds, interval=_POLL_SECONDS)
            content = FarmFile.model_validate_json(ready_file.read_bytes())
        except BaseException:
            self.stop()
            raise
        self.nodes = content.nodes
        self._control = FarmClient(content.control)
        return self

    def stop(self) -> None:
        """Ends the farm; does nothing if it has ended."""
        if self._process is not None:
            self._process.stop(timeout=_STOP_SECONDS)
            self._process = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
