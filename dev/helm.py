"""Runs Helm with homes of its own, so that nothing of the user's configuration is read or changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

CHART = Path(__file__).resolve().parent.parent / "charts" / "b3lb"
_SECONDS = 120


class HelmError(RuntimeError):
    """Helm failed; the message is what it wrote to standard error."""


class Helm:
    """The program, with a home and the rights of a kubeconfig file."""

    def __init__(self, program: Path, home: Path, kubeconfig: Path | None = None) -> None:
        """Describe how it is run.

        Args:
            program: Where it is, see ``dev.toolchain.helm_path``.
            home: Directory for its caches.
            kubeconfig: Whose rights to use; None is nobody's, which is enough to render.
        """
        self._program = program
        self._environment = {
            "PATH": os.defpath,
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig or home / "none"),
        }

    def run(self, *arguments: str) -> str:
        """Run a command and return its standard output.

        Raises:
            HelmError: It failed, or took longer than two minutes.
        """
        try:
            result = subprocess.run(
                [self._program, *arguments],
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise HelmError(f"helm {arguments[0]} took longer than {_SECONDS} s") from None
        if result.returncode != 0:
            raise HelmError(result.stderr.strip())
        return result.stdout
