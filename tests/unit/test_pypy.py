"""The tests under PyPy: where they cannot run, one sentence says so, and only that may be passed over."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dev import pypy
from dev.images.commands import ImagesError

_main: Callable[[Sequence[str]], int] = runpy.run_module("tests.pypy.__main__")["main"]


def _user(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "geteuid", lambda: 1000)


def _without_debian(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "geteuid", lambda: 0)
    patch.setattr(shutil, "which", lambda _: None)


def _without_mounts(patch: pytest.MonkeyPatch) -> None:
    def refuse(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1, stderr=b"unshare: unshare failed: Operation not permitted")

    patch.setattr(os, "geteuid", lambda: 0)
    patch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    patch.setattr(subprocess, "run", refuse)


MACHINES = [
    (_user, "only root can make: run this as root"),
    (_without_debian, "there is neither debootstrap nor apt-get"),
    (_without_mounts, "this root may not mount file systems and make devices"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("machine", "sentence"), MACHINES)
def test_where_they_cannot_run_one_line_says_why_and_nothing_is_fetched(
    machine: Callable[[pytest.MonkeyPatch], None],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine(monkeypatch)
    assert _main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(("machine", "sentence"), MACHINES)
def test_who_passes_over_such_a_machine_is_told_in_one_line(
    machine: Callable[[pytest.MonkeyPatch], None],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine(monkeypatch)
    assert _main(["--if-possible"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "left out: " in line
    assert sentence in line


def test_another_fault_is_not_passed_over(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ImagesError("debootstrap ended with code 1")

    monkeypatch.setattr(pypy, "_check_machine", lambda: None)
    monkeypatch.setattr(pypy, "debian_program", lambda *_: Path("/usr/sbin/debootstrap"))
    monkeypatch.setattr(pypy, "debian_mirror", list)
    monkeypatch.setattr(pypy, "run", fail)
    assert _main(["--if-possible"]) == 1
    assert "debootstrap ended with code 1" in capsys.readouterr().err
