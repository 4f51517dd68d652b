"""Where Prometheus comes from, and what somebody reads who has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev import prometheus
from dev.toolchain import ToolchainError

PROGRAMS = ("prometheus", "promtool")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of the PATH; the cache is the test's own."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return directory


def program(file: Path, script: str = "exit 0") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    file.chmod(0o755)


def test_the_programs_of_the_path_are_taken(path: Path) -> None:
    for name in PROGRAMS:
        program(path / name)
    assert prometheus.prometheus_programs() == path


def test_debians_package_is_unpacked_into_the_cache_once(path: Path) -> None:
    program(path / "apt-get", f'echo "$1" >> {path}/record; [ "$1" = update ] || : > prometheus_2_amd64.deb')
    made = " ".join(f'"$3/usr/bin/{name}"' for name in PROGRAMS)
    program(path / "dpkg-deb", f'/bin/mkdir -p "$3/usr/bin"; for f in {made}; do : > $f; /bin/chmod 755 $f; done')
    first = prometheus.prometheus_programs()
    assert first == path.parent / "cache" / "b3lb" / "prometheus" / "usr" / "bin"
    assert prometheus.prometheus_programs() == first
    assert (path / "record").read_text().split() == ["download"]


def test_a_package_that_cannot_be_fetched_is_an_error_that_says_what_to_do_and_names_no_mirror(path: Path) -> None:
    program(path / "apt-get", "echo https://mirror.example.org >&2; exit 100")
    program(path / "dpkg-deb")
    with pytest.raises(ToolchainError, match="run apt-get update as root") as caught:
        prometheus.prometheus_programs()
    assert "mirror" not in str(caught.value)


@pytest.mark.usefixtures("path")
def test_without_apt_the_message_says_to_put_them_on_the_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert prometheus.main() == 1
    assert "put both on the PATH" in capsys.readouterr().err
