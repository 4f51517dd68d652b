"""What the bundled database's pod asks of its volume before a server starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dev.helm import CHART

SCRIPT = CHART / "files" / "find-database.sh"


def look(
    volume: Path, *, data: str = "18/docker", mounts: str = "/proc/self/mounts"
) -> subprocess.CompletedProcess[str]:
    """Run the script as the pod does."""
    command = ["sh", "-c", SCRIPT.read_text(encoding="utf-8"), "find-database", str(volume), mounts]
    environment = {"PATH": os.defpath, "PGDATA": str(volume / data)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=False)


def make_database(directory: Path, version: str) -> None:
    """Make what the script recognizes a database by."""
    for name in ("global", "base/1"):
        (directory / name).mkdir(parents=True)
    for place in (directory, directory / "base" / "1"):
        (place / "PG_VERSION").write_text(f"{version}\n")


def test_an_empty_volume_gets_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert (look(tmp_path).returncode, look(tmp_path).stderr) == (0, "")


@pytest.mark.parametrize("data", ["18/docker", "data", "."])
def test_the_database_that_the_server_will_use_is_found_again(tmp_path: Path, data: str) -> None:
    make_database(tmp_path / data, "18")
    assert (look(tmp_path, data=data).returncode, look(tmp_path, data=data).stderr) == (0, "")


@pytest.mark.parametrize("place", [".", "data", "data/pgdata", "17/docker", "with space/docker"])
def test_no_new_database_begins_beside_one_in_another_directory(tmp_path: Path, place: str) -> None:
    make_database(tmp_path / place, "17")
    told = look(tmp_path)
    assert told.returncode == 1
    assert f"holds a database of PostgreSQL 17 in {tmp_path}" in told.stderr
    assert f"none in {tmp_path}/18/docker" in told.stderr
    assert "set database.bundled.extraEnv to [{name: PGDATA, value: " in told.stderr


@pytest.mark.parametrize("data", ["data", "data/pgdata"])
def test_a_directory_in_a_volume_of_the_image_is_refused(tmp_path: Path, data: str) -> None:
    volume, mounts = tmp_path / "volume", tmp_path / "mounts"
    mounts.write_text(f"overlay / overlay rw 0 0\n/dev/a {volume} ext4 rw 0 0\n/dev/b {volume}/data ext4 rw 0 0\n")
    told = look(volume, data=data, mounts=str(mounts))
    assert (told.returncode, told.stdout) == (1, "")
    assert f"{volume}/{data}, is in a volume of the image, {volume}/data, so the data would be gone" in told.stderr
    assert look(volume, mounts=str(mounts)).returncode == 0
    assert look(volume, data="database", mounts=str(mounts)).returncode == 0


def test_a_directory_outside_of_the_volume_is_refused(tmp_path: Path) -> None:
    told = look(tmp_path / "volume", data="/elsewhere")
    assert told.returncode == 1
    assert "/elsewhere, is not in the volume at" in told.stderr
