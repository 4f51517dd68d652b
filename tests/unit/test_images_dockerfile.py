"""The Dockerfile says what the rest of the repository says, and builds from what it names alone."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from b3lb import __version__
from b3lb_operator.manifests.cronjob import RUN_AS
from dev.images.checks import IMAGES, USER

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LOCKS = ("build", "image", "image-pypy")


def test_the_dockerfile_is_clean_by_hadolint() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    result = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_every_base_image_is_an_argument_pinned_by_version_and_digest() -> None:
    defaults = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {f"${{{name}}}" for name in defaults}
    for image in defaults.values():
        assert re.fullmatch(r"docker\.io/library/\w+:[\d.]+[\w.-]*-slim-trixie@sha256:[0-9a-f]{64}", image)


def test_the_targets_are_those_that_are_built_and_checked() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert [stage for stage in stages if stage.startswith("b3lb")] == [image.target for image in IMAGES]


def test_the_images_run_as_the_user_of_the_pods() -> None:
    assert set(re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)) == {f"{RUN_AS}:{RUN_AS}"}
    assert USER == RUN_AS


def test_the_default_of_the_version_is_that_of_the_package() -> None:
    assert set(re.findall(r"^ARG VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)) == {__version__}


def test_commands_are_programs_and_not_shells() -> None:
    commands = re.findall(r"^(?:CMD|ENTRYPOINT) (.*)$", DOCKERFILE, re.MULTILINE)
    assert len(commands) == len(IMAGES)
    assert all(command.startswith('["b3lb') for command in commands)


def test_there_is_no_heredoc_which_older_buildah_cannot_read() -> None:
    assert "<<" not in DOCKERFILE


def test_all_that_is_copied_is_let_through_and_nothing_else() -> None:
    copied = {
        source.rstrip("/")
        for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for source in sources.split()
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line.removeprefix("!").rstrip("/") for line in lines if line.startswith("!")} == copied
    assert "*" in lines
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_with_hashes_and_names_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = [
        entry for entry in text.replace("\\\n", " ").splitlines() if entry and not entry.lstrip().startswith("#")
    ]
    assert entries
    assert all(re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "://" not in text


@pytest.mark.parametrize("name", LOCKS)
def test_the_images_get_the_versions_that_the_tests_run_with(name: str) -> None:
    """But for those that PyPy's image overrides."""
    overridden = {"pydantic", "pydantic-core", "pydantic-settings", "cryptography"} if name == "image-pypy" else set()
    tested = pins("dev")
    for package, version in pins(name).items():
        assert package in overridden or tested[package] == version, package


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def test_the_shell_scripts_can_be_parsed() -> None:
    shell = shutil.which("sh")
    assert shell is not None
    for script in ("dev/kind.sh", "dev/images/enter.sh", "dev/lock.sh"):
        subprocess.run([shell, "-n", ROOT / script], check=True, timeout=10)
