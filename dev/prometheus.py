"""Prometheus and promtool for tests: those of the PATH, or of Debian's package, which is unpacked and not installed.

Installing the package would start a server on the machine. The programs are kept in ``$XDG_CACHE_HOME/b3lb`` (or
``~/.cache/b3lb``). ``python -m dev.prometheus`` prints their directory.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import yaml

from dev.processes import ManagedProcess, free_ports
from dev.toolchain import ToolchainError, cache_directory

_PACKAGE = "prometheus"
_PROGRAMS = ("prometheus", "promtool")
_DOWNLOAD_SECONDS = 300
_SECONDS = 30


def prometheus_programs() -> Path:
    """Return the directory with ``prometheus`` and ``promtool``; on first use Debian's package is fetched, 45 MB.

    Raises:
        ToolchainError: They are not there, and cannot be had; the message says what to do.
    """
    found = shutil.which("promtool")
    if found is not None and shutil.which("prometheus") is not None:
        return Path(found).parent
    directory = cache_directory() / _PACKAGE
    programs = directory / "usr" / "bin"
    if not _complete(programs):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".unpacking-") as temporary:
            unpacked = _unpacked(Path(temporary))
            # Another process may have been faster; its programs are as good.
            with contextlib.suppress(OSError):
                unpacked.rename(directory)
    return programs


def _complete(programs: Path) -> bool:
    return all(os.access(programs / name, os.X_OK) for name in _PROGRAMS)


def _unpacked(directory: Path) -> Path:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ToolchainError(
            "prometheus and promtool are missing, and there is no apt-get to fetch them: put both on the PATH"
        )
    target = directory / "target"
    try:
        if _run(["apt-get", "download", "-qq", _PACKAGE], directory):
            # The lists of packages may be missing or old; only root can renew them.
            _run(["apt-get", "update", "-qq"], directory)
            _run(["apt-get", "download", "-qq", _PACKAGE], directory)
        for archive in directory.glob(f"{_PACKAGE}_*.deb"):
            _run(["dpkg-deb", "--extract", str(archive), str(target)], directory)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"prometheus and promtool cannot be fetched ({type(error).__name__})") from error
    if not _complete(target / "usr" / "bin"):
        raise ToolchainError(
            "prometheus and promtool are missing, and Debian's package cannot be fetched: run apt-get update as root "
            "and try again, or put both on the PATH"
        )
    return target


def _run(command: Sequence[str], directory: Path) -> int:
    # What apt-get says may name the address of a mirror; the package's absence says enough.
    return subprocess.run(
        command, cwd=directory, capture_output=True, timeout=_DOWNLOAD_SECONDS, check=False
    ).returncode


class Prometheus:
    """A server on a port of this machine; a context manager that ends it."""

    def __init__(
        self, configuration: Mapping[str, Any], directory: Path, *, rules: Mapping[str, str] | None = None
    ) -> None:
        """Write its files; it is not started yet.

        Args:
            configuration: As in
                https://prometheus.io/docs/prometheus/2.42/configuration/configuration/, without ``rule_files``.
            directory: Where its files go.
            rules: The texts of its rule files by their names.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_ports(1)[0]
        self.log = directory / "prometheus.log"
        for name, text in (rules or {}).items():
            (directory / name).write_text(text, encoding="utf-8")
        file = directory / "prometheus.yaml"
        file.write_text(yaml.safe_dump({**configuration, "rule_files": list(rules or {})}), encoding="utf-8")
        command = [
            str(prometheus_programs() / "prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self._process = ManagedProcess("prometheus", command, log=self.log, directory=directory)

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_ready(lambda: self._get("/-/ready")[0] == http.client.OK, timeout=_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now, each with ``metric`` (its labels) and ``value``.

        Raises:
            ValueError: Prometheus refuses the expression; the message is its own.
        """
        result: list[dict[str, Any]] = self.api("query", query=expression)["result"]
        return result

    def api(self, path: str, **parameters: str) -> Any:
        """Return ``data`` of an answer of ``/api/v1``, https://prometheus.io/docs/prometheus/2.42/querying/api/.

        Raises:
            ValueError: Prometheus refuses the request; the message is its own.
        """
        _, text = self._get(f"/api/v1/{path}?{urlencode(parameters)}")
        answer = json.loads(text)
        if answer["status"] != "success":
            raise ValueError(answer["error"])
        return answer["data"]

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()


def main() -> int:
    """Print the directory of the programs, fetched where they are missing; 1 if they cannot be had."""
    try:
        print(prometheus_programs())
    except ToolchainError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
