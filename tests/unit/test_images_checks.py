"""What `make images` finds wrong with an image, and how it reaches the package index and an engine."""

import dataclasses
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dev.images import commands, engines
from dev.images.checks import USER, judge_configuration, judge_findings
from dev.images.commands import ImagesError
from dev.images.engines import Buildah, Configuration, Docker, find_engine
from dev.images.secrets import build_secrets, index_hosts, parse_settings

LABELS = {
    f"org.opencontainers.image.{name}": "something"
    for name in ("title", "description", "licenses", "version", "revision", "base.name")
}
GOOD = Configuration(
    user=f"{USER}:{USER}",
    environment=("PATH=/opt/b3lb/bin:/usr/bin",),
    command=("b3lb-operator",),
    entrypoint=(),
    stop_signal="SIGTERM",
    labels=LABELS,
    text="{}",
)
FOUND: dict[str, Any] = {
    "implementation": "pypy",
    "user": USER,
    "group": USER,
    "process": 1,
    "capabilities": 0,
    "new_privileges": False,
    "failed": {},
    "without_byte_code": [],
    "writable": [],
    "compilers": [],
    "traces": [],
}


def judged(**changes: Any) -> list[str]:
    return judge_configuration(
        dataclasses.replace(GOOD, **changes), version="something", forbidden=["index.example.org"]
    )


def test_a_good_image_has_no_problems() -> None:
    assert judged() == []
    assert judge_findings(FOUND, implementation="pypy") == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"user": "b3lb"}, "the user is 'b3lb' instead of 65532:65532"),
        ({"user": ""}, "the user is '' instead of 65532:65532"),
        ({"stop_signal": "SIGKILL"}, "the stop signal is 'SIGKILL' instead of SIGTERM"),
        ({"command": ("/bin/sh", "-c", "b3lb-operator")}, "process 1 is ('/bin/sh', '-c', 'b3lb-operator')"),
        ({"command": ()}, "process 1 is ()"),
        ({"labels": {**LABELS, "org.opencontainers.image.version": "0.0.9"}}, "the label says another version"),
        ({"text": "RUN pip --index-url https://index.example.org/"}, "names index.example.org"),
    ],
)
def test_a_wrong_configuration_is_named(change: dict[str, Any], problem: str) -> None:
    (found,) = judged(**change)
    assert problem in found


def test_a_missing_label_is_named() -> None:
    labels = {key: value for key, value in LABELS.items() if not key.endswith("revision")}
    assert judged(labels=labels) == ["the label org.opencontainers.image.revision is missing"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("implementation", "cpython"),
        ("user", 0),
        ("process", 7),
        ("capabilities", 1024),
        ("new_privileges", True),
        ("failed", {"lxml": "ImportError: libxml2.so.2"}),
        ("without_byte_code", ["/usr/lib/python3.13/json/__init__.py"]),
        ("writable", ["/tmp"]),  # noqa: S108 - a finding, not a file
        ("compilers", ["gcc"]),
        ("traces", ["/etc/pip.conf"]),
    ],
)
def test_a_wrong_finding_is_named(key: str, value: Any) -> None:
    (problem,) = judge_findings({**FOUND, key: value}, implementation="pypy")
    assert problem.startswith(f"{key} is {value!r} instead of ")


def test_a_long_finding_is_cut() -> None:
    (problem,) = judge_findings({**FOUND, "traces": ["/etc/x"] * 10_000}, implementation="pypy")
    assert len(problem) < 600


def test_pips_settings_are_read_in_its_order_of_sources() -> None:
    text = "global.index-url='https://one.example.org/simple'\nglobal.cert='/etc/ca.pem'\n:env:.cert='/other.pem'\n\nnonsense\n"
    assert parse_settings(text) == {"index-url": "https://one.example.org/simple", "cert": "/other.pem"}


def test_the_build_gets_what_pip_needs_here_in_files_for_this_user_alone(tmp_path: Path) -> None:
    settings = {
        "index-url": "https://user:pass@index.example.org/simple",
        "extra-index-url": "https://a.example.org/simple\nhttps://b.example.org/simple",
        "cert": "/etc/ca.pem",
        "default-timeout": "180",
        "find-links": "/opt/wheels",
    }
    secrets = build_secrets(settings, tmp_path)
    assert secrets["cabundle"] == Path("/etc/ca.pem")
    assert secrets["pipconf"].read_text().splitlines() == [
        "[global]",
        "index-url = https://user:pass@index.example.org/simple",
        "extra-index-url = https://a.example.org/simple https://b.example.org/simple",
        "timeout = 180",
        "cert = /run/secrets/cabundle",
    ]
    assert stat.S_IMODE(secrets["pipconf"].stat().st_mode) == 0o600
    assert index_hosts(settings) == ["a.example.org", "b.example.org", "index.example.org"]


def test_without_settings_of_pip_there_are_no_secrets(tmp_path: Path) -> None:
    assert build_secrets({}, tmp_path) == {}
    assert index_hosts({}) == []
    assert list(tmp_path.iterdir()) == []


def test_a_failed_command_is_reported_with_its_last_words() -> None:
    with pytest.raises(ImagesError, match=r"sh -c echo .* ended with code 3 and said:\n  what is wrong"):
        commands.run(["sh", "-c", "echo what is wrong >&2; exit 3"], seconds=10)
    with pytest.raises(ImagesError, match="b3lb-no-such-program is missing"):
        commands.run(["b3lb-no-such-program"], seconds=10)
    with pytest.raises(ImagesError, match="took more than 0 s"):
        commands.run(["sleep", "5"], seconds=0.1)


def programs(
    monkeypatch: pytest.MonkeyPatch, *present: str, docker_answers: bool = False, root: bool = False
) -> list[str]:
    """Pretend that these programs are there; return the first words of the commands that are run."""
    ran: list[str] = []

    def run(command: list[str], **_: Any) -> str:
        ran.append(" ".join(command[:2]))
        if command[0] == "docker" and not docker_answers:
            raise ImagesError("Cannot connect to the Docker daemon")
        return ""

    monkeypatch.setattr(engines, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in present else None)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    return ran


def test_a_docker_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, "docker", "buildah", docker_answers=True, root=True)
    assert isinstance(find_engine(), Docker)


def test_root_without_a_docker_that_answers_takes_buildah(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = programs(monkeypatch, "docker", "buildah", "debootstrap", "unshare", root=True)
    assert isinstance(find_engine(), Buildah)
    assert ran == ["docker info"]


def test_root_gets_what_is_missing_from_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = programs(monkeypatch, "apt-get", "unshare", root=True)
    assert isinstance(find_engine(), Buildah)
    assert ran == ["apt-get update", "apt-get install"]


def test_another_user_without_docker_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, "buildah", "debootstrap", "unshare")
    with pytest.raises(ImagesError, match="start Docker, or run make images as root"):
        find_engine()


def test_root_without_apt_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, "unshare", root=True)
    with pytest.raises(ImagesError, match="buildah and debootstrap missing"):
        find_engine()


def test_make_kind_without_docker_says_what_it_needs(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "dev" / "kind.sh"
    for name in ("sh", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    result = subprocess.run(
        [tmp_path / "sh", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stderr) == (1, "kind: docker is missing: make kind needs Docker, kind and Helm\n")
