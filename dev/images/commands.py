"""Commands of the machine, run with a limit, whose failure is said in their own last words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

_LAST_LINES = 15


class ImagesError(RuntimeError):
    """An image cannot be built or checked; the message says what to do, or what the failed command said last."""


def say(message: str) -> None:
    """Write a line about the progress, to standard error."""
    print(message, file=sys.stderr, flush=True)


def run(
    command: Sequence[str],
    *,
    seconds: float,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run the command and return its standard output.

    Args:
        command: Program and arguments.
        seconds: Limit; the command is killed after it.
        stdin: What it reads; None means nothing.
        environment: All of its environment; None means ours.

    Raises:
        ImagesError: it is missing, took too long, or ended with another code than 0.
    """
    try:
        result = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise ImagesError(f"{command[0]} is missing") from error
    except subprocess.TimeoutExpired as error:
        raise ImagesError(f"{' '.join(command[:3])} … took more than {seconds:.0f} s") from error
    if result.returncode:
        lines = (result.stdout + result.stderr).strip().splitlines()
        said = "\n  ".join(lines[-_LAST_LINES:]) or "nothing"
        raise ImagesError(f"{' '.join(command[:3])} … ended with code {result.returncode} and said:\n  {said}")
    return result.stdout
