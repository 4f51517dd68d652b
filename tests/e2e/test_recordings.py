"""A recording from the server that pushes it to its deletion, in pods, with a render killed on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from dev.environment import Environment, Installation
from dev.recording_scenario import FrontEnd, PushingServer, fetch, recording_values
from dev.recordings.options import Options
from tests.e2e.conftest import assert_no_problems, remove
from tests.e2e.leaks import known_values, leaks
from tests.e2e.renders import RENDER_SECONDS, render_processes
from tests.migrated import create_migrated_database

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

NAMESPACE = "e2e-recordings"
LECTURE = Options(seconds=6, slides=2, screen_shares=0, external_meeting="UNI-001-lecture")
LONG = replace(LECTURE, seconds=40, meeting=f"{'ab' * 20}-1700000000001")


def values() -> dict[str, Any]:
    """Return those of a release that does nothing but recordings."""
    taken = recording_values(preset="ultrafast", framesPerSecond=10)
    taken["queues"]["record"]["spec"]["retry"] = {"maxRetries": 3, "backoffSeconds": 1}
    return {**taken, "queues": {**taken["queues"], "core": {"enabled": False}, "statistics": {"enabled": False}}}


@pytest.fixture(scope="module")
def installation(environment: Environment) -> Iterator[Installation]:
    """A release that takes recordings."""
    with Installation(environment, NAMESPACE, values=values(), create_database=create_migrated_database) as running:
        assert running.wait_until(FrontEnd(running).is_ready, timeout=60)
        yield running
        remove(running)
        found = leaks(running, known_values(running))
    assert_no_problems(running)
    assert found == []


@pytest.fixture(scope="module")
def server(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> PushingServer:
    """A BigBlueButton server without recordings."""
    return PushingServer(tmp_path_factory.mktemp("server") / "disk", installation)


@pytest.fixture
def front_end(installation: Installation) -> FrontEnd:
    """Where the server pushes to and players come to."""
    return FrontEnd(installation)


def stored(environment: Environment, record_set: str) -> set[str]:
    """Return the names of the files in the storage that are a record set's, without its folders."""
    folders = (environment.directory / "volumes").glob(f"*/recordsets/{NAMESPACE}/{record_set}")
    return {path.name for folder in folders for path in folder.rglob("*") if path.is_file()}


def wait_for(installation: Installation, front_end: FrontEnd, record_id: str, state: str) -> dict[str, Any]:
    """Wait until a recording is in a state, and return what is shown of it."""
    seen: list[dict[str, Any]] = []

    def reached() -> bool:
        seen.append(front_end.show(record_id))
        return bool(seen[-1]["state"] == state)

    assert installation.wait_until(reached, timeout=RENDER_SECONDS), seen[-1]
    return seen[-1]


def test_a_pushed_recording_is_rendered_played_and_deleted(
    installation: Installation, environment: Environment, server: PushingServer, front_end: FrontEnd
) -> None:
    record_id = server.publish(LECTURE)
    pushed = server.push()
    assert pushed.returncode == 0, pushed.stderr
    shown = wait_for(installation, front_end, record_id, "RENDERED")
    assert shown["tenant"] == "UNI"
    (link,) = front_end.links(record_id)
    status, headers, body = fetch(link)
    assert (status, headers["content-type"], len(body)) == (200, "video/mp4", shown["videos"][0]["bytes"])
    status, headers, part = fetch(link, range_header="bytes=100-299")
    assert (status, headers["content-range"], part) == (206, f"bytes 100-299/{len(body)}", body[100:300])
    assert fetch(f"{link}/poster")[2].startswith(b"\x89PNG")
    assert "archive.tar" in stored(environment, shown["recordSet"])
    phase = installation.kubectl("get", "bbbrecording", record_id, "-o", "jsonpath={.status.phase}")
    assert phase == "Rendered"

    deleted = json.loads(installation.b3lb("recordings", "delete", record_id, "--wait", "-o", "json"))
    assert deleted["state"] == "SUCCESS"
    assert stored(environment, shown["recordSet"]) == set()
    with pytest.raises(OSError, match="404"):
        fetch(link)
    gone = ("get", "bbbrecordings", "-o", "name")
    assert installation.wait_until(lambda: record_id not in installation.kubectl(*gone), timeout=20)


def test_a_render_whose_pod_is_killed_is_done_once_by_the_next_one(
    installation: Installation, environment: Environment, server: PushingServer, front_end: FrontEnd
) -> None:
    record_id = server.publish(LONG)
    assert server.push(record_id).returncode == 0
    (video,) = wait_for(installation, front_end, record_id, "RENDERING")["videos"]
    assert installation.wait_until(
        lambda: any(process.name() == "ffmpeg" for process in render_processes(video["run"])), timeout=20
    )
    for process in render_processes(video["run"]):
        process.kill()
    shown = wait_for(installation, front_end, record_id, "RENDERED")
    (video,) = shown["videos"]
    assert (video["state"], video["attempts"]) == ("RENDERED", 2)
    assert len(front_end.links(record_id)) == 1
    files = stored(environment, shown["recordSet"])
    assert len([name for name in files if name.endswith(".mp4")]) == 1, files
