"""What has to be true of an image, seen from inside as its own user with a read-only root."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.images.engines import Configuration, Engine

USER = 65532
"""User and group of the images, and of the pods that the operator and the chart make."""

_LONGEST = 500
_PROBE = Path(__file__).with_name("probe.py")
_LABELS = tuple(
    f"org.opencontainers.image.{name}"
    for name in ("title", "description", "licenses", "version", "revision", "base.name")
)
_ALEMBIC_RUNS = "b3lb.db.migrations.env"
_CAIRO = "import ctypes; assert ctypes.CDLL('libcairo.so.2').cairo_version() > 11600"
_RENDERING = (
    ("python3", "-c", _CAIRO),
    ("ffmpeg", "-hide_banner", "-version"),
    ("ffprobe", "-hide_banner", "-version"),
    ("rsvg-convert", "--version"),
    ("sh", "-c", "fc-match sans 2>&1 | grep --invert-match --quiet error"),
)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A target of the Dockerfile and what is expected of it.

    Attributes:
        target: Its name, also that of the image.
        implementation: ``sys.implementation.name`` of its Python.
        programs: Programs that say their version.
        tools: Further commands that have to succeed.
        left_out: Modules that need what this image leaves out.
    """

    target: str
    implementation: str
    programs: tuple[str, ...]
    tools: tuple[tuple[str, ...], ...] = ()
    left_out: tuple[str, ...] = ()


IMAGES = (
    Image(
        target="b3lb",
        implementation="cpython",
        programs=("b3lb-operator", "b3lb-job", "b3lb-api", "b3lb", "kubectl-b3lb"),
        tools=(
            ("python3", "-c", "import psycopg; assert psycopg.pq.__impl__ == 'binary', psycopg.pq.__impl__"),
            *_RENDERING,
        ),
        left_out=(_ALEMBIC_RUNS,),
    ),
    Image(
        target="b3lb-pypy",
        implementation="pypy",
        programs=("b3lb-job",),
        tools=(
            ("python3", "-c", "import psycopg; assert psycopg.pq.__impl__ == 'python', psycopg.pq.__impl__"),
            *_RENDERING,
        ),
        left_out=("b3lb.dashboard", "b3lb.db.migrate", "b3lb.db.migrations"),
    ),
)


def check(engine: Engine, image: Image, name: str, *, version: str, forbidden: Sequence[str]) -> tuple[list[str], str]:
    """Run every check.

    Args:
        engine: What runs the image.
        image: What is expected.
        name: The image.
        version: Of b3lb, that the programs and the label have to say.
        forbidden: Strings that may stand nowhere in the image, such as hosts of private package indexes.

    Returns:
        What is wrong, one sentence each, and a line about what was seen.

    Raises:
        ImagesError: a command in the image failed.
    """
    configuration = engine.configuration(name)
    problems = judge_configuration(configuration, version=version, forbidden=forbidden)
    for program in image.programs:
        said = engine.run(name, [program, "--version"]).strip()
        if said.split()[-1:] != [version]:
            problems.append(f"{program} --version says {said!r} instead of {version}")
    for tool in image.tools:
        engine.run(name, tool)
    output = engine.run(name, ["python3", "-", ",".join(forbidden), *image.left_out], stdin=_PROBE.read_text())
    findings = json.loads(output.splitlines()[-1])
    problems += judge_findings(findings, implementation=image.implementation)
    seen = "{implementation} {version}, user {user}, {modules} modules imported in {import_seconds} s".format_map(
        findings
    )
    return problems, seen


def judge_configuration(configuration: Configuration, *, version: str, forbidden: Sequence[str]) -> list[str]:
    """What is wrong with how the image starts and with what it says of itself."""
    problems = []
    if configuration.user != f"{USER}:{USER}":
        problems.append(f"the user is {configuration.user!r} instead of {USER}:{USER}")
    if configuration.stop_signal != "SIGTERM":
        problems.append(f"the stop signal is {configuration.stop_signal!r} instead of SIGTERM")
    if configuration.entrypoint or configuration.command[:1] in {("/bin/sh",), ("sh",), ()}:
        problems.append(
            f"process 1 is {configuration.entrypoint + configuration.command!r} instead of a program of b3lb"
        )
    labels = configuration.labels
    problems += [f"the label {label} is missing" for label in _LABELS if not labels.get(label)]
    if labels.get("org.opencontainers.image.version") != version:
        problems.append(f"the label says another version than {version}")
    problems += [f"its configuration or history names {part}" for part in forbidden if part in configuration.text]
    return problems


def judge_findings(findings: Mapping[str, Any], *, implementation: str) -> list[str]:
    """What is wrong with what the probe found inside."""
    expected = {
        "implementation": implementation,
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
    wrong = [(key, findings[key], value) for key, value in expected.items() if findings[key] != value]
    return [f"{key} is {_cut(repr(found))} instead of {value!r}" for key, found, value in wrong]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
