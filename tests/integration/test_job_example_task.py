"""The example package of a task of one's own: installed as a package, tested by its own tests, run as a pod runs it."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.integration.enqueued_runs import get, let_go, put
from tests.integration.job_runs import NAMESPACE, job

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "checksum-task"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example as pip installs it."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "checksum_task.py"):
        (copy / name).write_text((EXAMPLE / name).read_text())
    subprocess.run([*command, "--target", str(target), str(copy)], check=True, timeout=50)
    return target


def test_a_pod_finds_the_task_and_runs_it_with_progress_and_result(
    engine: sa.Engine, database_url: str, installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.mp4").write_text("a")
    run_id = put(engine, NAMESPACE, queue="archive", task="checksum-files", directory=str(tmp_path))
    attempt = let_go(engine, NAMESPACE, run_id, queue="archive")
    ended = job(database_url, "--run", str(run_id), B3LB_ATTEMPT=str(attempt), PYTHONPATH=str(installed))
    assert ended.returncode == 0, ended.stderr
    run = get(engine, NAMESPACE, run_id)
    assert (run.state, run.progress_percent, run.progress_message) == ("SUCCESS", 0.0, "a.mp4")
    assert run.result == {"complete": True, "files": 1, "sha256": {"a.mp4": hashlib.sha256(b"a").hexdigest()}}


def test_the_task_is_listed_once_its_package_is_installed(database_url: str, installed: Path) -> None:
    assert "checksum-files" in job(database_url, "--list", PYTHONPATH=str(installed)).stdout
    assert "checksum-files" not in job(database_url, "--list").stdout


def test_a_directory_that_is_not_there_is_a_failure_without_a_second_attempt(
    engine: sa.Engine, database_url: str, installed: Path
) -> None:
    run_id = put(engine, NAMESPACE, queue="archive", task="checksum-files", directory="/none")
    let_go(engine, NAMESPACE, run_id, queue="archive")
    ended = job(database_url, "--run", str(run_id), PYTHONPATH=str(installed))
    assert ended.returncode == 65
    assert json.loads(ended.stderr.splitlines()[-1])["error"] == "there is no directory /none"
    assert get(engine, NAMESPACE, run_id).state == "FAILURE"


def test_the_example_s_own_tests_pass(installed: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE / "tests")]
    ended = subprocess.run(
        [*command, "-c", os.devnull, str(EXAMPLE / "tests")],
        env=environment,
        cwd=EXAMPLE / "tests",
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "5 passed" in ended.stdout
