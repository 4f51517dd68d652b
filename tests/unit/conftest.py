"""Fixtures of the tests of commands that ask an operator."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.fake_plane import FakePlane, fake_plane


@pytest.fixture(scope="module")
def module_plane() -> Iterator[FakePlane]:
    """An API server that the test plays, shared by a file's tests."""
    with fake_plane() as plane:
        yield plane


@pytest.fixture
def named_plane(module_plane: FakePlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakePlane:
    """The same, named by a kubeconfig, and by nothing else in the environment."""
    for name in [name for name in os.environ if name.startswith(("B3LB_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(module_plane.kubeconfig(tmp_path)))
    return module_plane
