"""Runs a control plane until it is told to end: ``python -m dev.controlplane --directory DIR``."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from dev.controlplane.commands import PARTS
from dev.controlplane.plane import ControlPlane
from dev.processes import ProcessError
from dev.toolchain import ToolchainError

_CHECK_SECONDS = 1.0


def _run(directory: Path, stopped: threading.Event) -> int:
    with ControlPlane(directory) as plane:
        print(plane.kubeconfig, flush=True)
        while not stopped.wait(_CHECK_SECONDS):
            ended = [part for part in PARTS if not plane.process(part).running]
            if ended:
                raise ProcessError(f"{' and '.join(ended)} ended; the reasons are in {directory / 'log'}")
    return 0


def main() -> int:
    """Prints the path of the kubeconfig file when everything is ready; ends on SIGTERM or SIGINT.

    Returns:
        0 after a signal, 1 if a part did not start or ended by itself.
    """
    parser = argparse.ArgumentParser(prog="python -m dev.controlplane", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="work directory; objects in it are kept")
    arguments = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        return _run(arguments.directory, stopped)
    except (ProcessError, ToolchainError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
