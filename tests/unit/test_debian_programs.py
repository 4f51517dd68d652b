"""Programs that only Debian has are found, installed by root, or named in one sentence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from dev import debian
from dev.debian import RENDERING, Part, debian_program, ensure
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

    def install(packages: Sequence[str]) -> None:
        installed.extend(packages)
        there["promtool"] = "/usr/bin/promtool"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", there.get)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "_install", install)
    assert [debian_program("promtool", "prometheus") for _ in range(2)] == [Path("/usr/bin/promtool")] * 2
    assert installed == ["prometheus"]


def test_of_several_parts_each_missing_package_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Part(name, package, lambda: False) for name, package in (("a", "x"), ("b", "x"), ("c", "y"))]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    sentence = r"^a, b and c are missing: install them \(Debian: apt-get install x y\)$"
    with pytest.raises(ToolchainError, match=sentence):
        ensure([*parts, Part("d", "z", lambda: True)])


def test_the_packages_of_rendering_are_those_of_the_images() -> None:
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    lists = [line.split() for line in dockerfile.splitlines() if line.lstrip().startswith("ffmpeg ")]
    assert len(lists) == 2
    for packages in lists:
        assert {part.package for part in RENDERING} <= set(packages)


def test_an_installation_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\necho http://mirror.example.org >&2\nexit 100\n")
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ToolchainError, match=r"^apt-get update failed with code 100: try it by hand$"):
        debian_program("chromium", "chromium")
