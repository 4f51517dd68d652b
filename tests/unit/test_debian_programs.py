"""Programs that only Debian has are found, installed by root, or named in one sentence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dev import debian
from dev.debian import debian_program
from dev.toolchain import ToolchainError


def test_a_program_of_the_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debian_program("chromium", "chromium") == program


def test_who_is_not_root_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolchainError, match=r"chromium is missing: install it \(Debian: apt-get install chromium\)"):
        debian_program("chromium", "chromium")


def test_root_installs_what_is_missing_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"apt-get": "/usr/bin/apt-get"}
    installed: list[str] = []

    def install(package: str) -> None:
        installed.append(package)
        there["promtool"] = "/usr/bin/promtool"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", there.get)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "_install", install)
    assert [debian_program("promtool", "prometheus") for _ in range(2)] == [Path("/usr/bin/promtool")] * 2
    assert installed == ["prometheus"]


def test_an_installation_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\necho http://mirror.example.org >&2\nexit 100\n")
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ToolchainError, match=r"^apt-get update failed with code 100: try it by hand$"):
        debian_program("chromium", "chromium")
