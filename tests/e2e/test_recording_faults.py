"""Faults on the way of a recording: rendered once or failed with a reason, published once, no archive lost.

One release with a bucket of a real S3 server lives through all of them. FFmpeg is frozen while something happens in the
middle of a render, so that no test depends on how fast it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from b3lb.storage.layout import record_set_prefix
from b3lb.storage.s3 import S3Storage
from dev.environment import Environment, Installation
from dev.recording_scenario import FrontEnd, PushingServer, fetch, recording_values
from dev.recordings.options import Options
from dev.s3 import S3Server
from dev.scenario import API_VERSION
from tests.e2e.conftest import assert_no_problems, remove
from tests.e2e.leaks import known_values, leaks
from tests.e2e.renders import encoder, videos, wait_for_state
from tests.migrated import create_migrated_database

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

NAMESPACE = "e2e-recording-faults"
BUCKET = "recordings"
LECTURE = Options(seconds=4, slides=2, screen_shares=0, external_meeting="UNI-001-lecture")
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
AWAY_SECONDS = float(os.environ.get("B3LB_TEST_S3_AWAY_SECONDS", "4"))
"""So long S3 is away, twice; B3LB_TEST_S3_AWAY_SECONDS asks for another time."""

DATABASE_AWAY_SECONDS = 4
UPLOAD_SECONDS = 60
PADDING_BYTES = 10 << 20


def values(server: S3Server) -> dict[str, Any]:
    """Return those of a release that does nothing but recordings, in a bucket."""
    taken = recording_values(preset="ultrafast", framesPerSecond=10)
    bucket = server.bucket(BUCKET)
    s3 = {
        "bucket": bucket.name,
        "endpoint": bucket.endpoint,
        "region": bucket.region,
        "partMiB": 5,
        "accessKeyId": bucket.access_key_id,
        "secretAccessKey": bucket.secret_access_key,
    }
    taken["queues"]["record"]["spec"]["retry"] = {"maxRetries": 9, "backoffSeconds": 1}
    queues = {**taken["queues"], "core": {"enabled": False}, "statistics": {"enabled": False}}
    return {**taken, "storage": {"type": "s3", "s3": s3}, "queues": queues}


@dataclass(frozen=True)
class Farm:
    """A release with a bucket, and a server that pushes to it."""

    installation: Installation
    s3: S3Server
    server: PushingServer
    disk: Path

    @property
    def front_end(self) -> FrontEnd:
        """Where the server pushes to."""
        return FrontEnd(self.installation)

    @property
    def storage(self) -> S3Storage:
        """The bucket."""
        return self.s3.storage(BUCKET)

    def push(self, number: int) -> str:
        """Publish a recording on the server and push it; return its ID."""
        record_id = self.server.publish(lecture(number))
        pushed = self.server.push(record_id)
        assert pushed.returncode == 0, pushed.stderr
        return record_id

    def encoder(self, record_id: str) -> psutil.Process:
        """Wait until a recording's only video is being encoded, and return FFmpeg."""
        (video,) = wait_for_state(self.installation, record_id, "RENDERING")
        return encoder(self.installation, str(video["run_id"]))

    def rendered(self, record_id: str) -> dict[str, Any]:
        """Wait until a recording is RENDERED, and return its only video."""
        (video,) = wait_for_state(self.installation, record_id, "RENDERED")
        return video

    def patch_queue(self, **spec: Any) -> None:
        """Change the queue of recordings."""
        self.installation.kubectl("patch", "bbbqueue", "record", "--type=merge", "-p", json.dumps({"spec": spec}))

    def assert_stored_once(self, record_id: str) -> None:
        """The storage has the archive as it was pushed, one video with its picture where there is one, and no more."""
        rows = videos(self.installation, record_id)
        with self.storage.open(rows[0]["archive_key"]) as archive:
            assert hashlib.sha256(archive.read()).hexdigest() == rows[0]["archive_sha256"]
        prefix = record_set_prefix(NAMESPACE, rows[0]["record_set_id"])
        published = {row[key] for row in rows for key in ("file_key", "poster_key") if row[key] is not None}
        expected = {rows[0]["archive_key"], f"{prefix}manifest.json", *published}
        assert self.installation.wait_until(lambda: self._keys(prefix) == expected, timeout=10), self._keys(prefix)
        assert [found for found in self.storage.unfinished(before=FUTURE) if (found.key or "").startswith(prefix)] == []
        links = self.front_end.links(record_id)
        assert len(links) == len({row["file_key"] for row in rows} - {None})
        for link in links:
            assert len(fetch(link)[2]) in {row["file_bytes"] for row in rows}

    def _keys(self, prefix: str) -> set[str]:
        return {found.key for found in self.storage.list(prefix)}


def lecture(number: int) -> Options:
    """Return a lecture of its own."""
    return replace(LECTURE, meeting=f"{number:040x}-1700000000000")


@pytest.fixture(scope="module")
def farm(environment: Environment, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A release that takes recordings; at the end there is no word of an error that nobody expects, and no secret."""
    given = values(s3_server)
    with Installation(environment, NAMESPACE, values=given, create_database=create_migrated_database) as running:
        assert running.wait_until(FrontEnd(running).is_ready, timeout=60)
        disk = tmp_path_factory.mktemp("server") / "disk"
        yield Farm(running, s3_server, PushingServer(disk, running), disk)
        remove(running)
        found = leaks(running, known_values(running))
    assert_no_problems(running)
    assert found == []


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """Keep a process from working on."""
    process.suspend()
    yield
    if process.is_running():
        process.resume()


def processes_of(address: str, program: str) -> list[psutil.Process]:
    """Return the processes of a program in the pod with this address."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        line, variables = process.info["cmdline"] or [], process.info["environ"] or {}
        if variables.get("POD_IP") == address and any(program in word for word in line):
            found.append(process)
    return found


def evict(installation: Installation, pod: str) -> None:
    """Take a pod off its node as a drain does."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{installation.namespace}/pods/{pod}/eviction"
    installation.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def test_a_front_end_killed_in_an_upload_and_an_operator_killed_in_the_render_cost_nothing(farm: Farm) -> None:
    """The server's script pushes again, and there is one recording, rendered at the first attempt."""
    record_id = farm.server.publish(lecture(1))
    (farm.disk / "published" / record_id / "padding").write_bytes(os.urandom(PADDING_BYTES))
    address = urlsplit(farm.front_end.url or "").hostname or ""
    with ThreadPoolExecutor(1) as thread:
        pushing = thread.submit(farm.server.push, record_id, curl="limit-rate = 8M")
        begun = farm.installation.wait_until(lambda: [*farm.storage.unfinished(before=FUTURE)] != [], timeout=20)
        assert begun
        for process in processes_of(address, "b3lb-api"):
            process.kill()
        pushed = pushing.result(UPLOAD_SECONDS)
    assert pushed.returncode == 0, pushed.stderr
    assert f"{record_id}: attempt 1 of" in pushed.stderr
    assert f"{record_id}: taken" in pushed.stderr

    with frozen(farm.encoder(record_id)):
        farm.installation.operator.kill()
    video = farm.rendered(record_id)
    assert (video["attempts"], video["run_attempts"]) == (1, 1)
    assert farm.installation.wait_until(lambda: farm.installation.answers("/readyz"), timeout=15)
    farm.assert_stored_once(record_id)


def test_a_storage_that_goes_away_in_the_fetch_and_in_the_publication_is_waited_for(farm: Farm) -> None:
    farm.patch_queue(suspend=True)
    record_id = farm.push(2)
    farm.s3.process.kill()
    farm.patch_queue(suspend=False)
    (video,) = wait_for_state(farm.installation, record_id, "RENDERING")
    time.sleep(AWAY_SECONDS)
    assert videos(farm.installation, record_id)[0]["progress_percent"] == 0
    farm.s3.__enter__()
    with frozen(farm.encoder(record_id)):
        farm.s3.process.kill()
    time.sleep(AWAY_SECONDS)
    assert videos(farm.installation, record_id)[0]["set_state"] == "RENDERING"
    farm.s3.__enter__()
    began = time.monotonic()
    video = farm.rendered(record_id)
    print(f"\nrendered {time.monotonic() - began:.1f} s after S3 was back, at attempt {video['run_attempts']}")
    farm.assert_stored_once(record_id)


def test_a_drained_node_and_a_restarted_database_in_the_render_cost_the_drained_pod_only(farm: Farm) -> None:
    installation = farm.installation
    record_id = farm.push(3)
    with frozen(farm.encoder(record_id)):
        selector = f"--selector=b3lb.io/record-id={record_id}"
        pod = installation.kubectl("get", "pods", selector, "-o", "jsonpath={.items[*].metadata.name}")
        evict(installation, pod)
        names = ("get", "pods", "-o", "name")
        assert installation.wait_until(lambda: f"pod/{pod}" not in installation.kubectl(*names).split(), timeout=10)
    with frozen(farm.encoder(record_id)):
        installation.environment.postgres.kill()
    time.sleep(DATABASE_AWAY_SECONDS)
    installation.environment.postgres.restart()
    video = farm.rendered(record_id)
    assert (video["attempts"], video["run_attempts"]) == (2, 1)
    farm.assert_stored_once(record_id)


def profile(name: str, **limits: str) -> Mapping[str, Any]:
    """Return a default profile whose pods get very little of something."""
    spec = {
        "runtime": "cpython",
        "default": True,
        "resources": {"requests": limits, "limits": limits},
    }
    return {"apiVersion": API_VERSION, "kind": "BBBRecordProfile", "metadata": {"name": name}, "spec": spec}


def test_a_pod_without_memory_and_one_without_disk_fail_with_their_reasons_and_the_good_video_stays(farm: Farm) -> None:
    farm.patch_queue(retry={"maxRetries": 1, "backoffSeconds": 1})
    items = [profile("little-memory", memory="40Mi"), profile("little-disk", **{"ephemeral-storage": "64Ki"})]
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    farm.installation.kubectl("apply", "-f", "-", input=manifests)
    record_id = farm.push(4)
    rows = {row["profile"]: row for row in wait_for_state(farm.installation, record_id, "FAILED")}
    disk, memory = rows.pop("little-disk"), rows.pop("little-memory")
    (good,) = rows.values()
    assert (good["state"], good["attempts"]) == ("RENDERED", 1)
    assert (disk["state"], disk["reason"], disk["run_attempts"]) == ("FAILED", "DiskFull", 2)
    assert "exceeds the limit" in disk["message"]
    assert (memory["state"], memory["reason"], memory["run_attempts"]) == ("FAILED", "OutOfMemory", 2)
    assert memory["memory_steps"] == 1
    assert good["set_reason"] in {"DiskFull", "OutOfMemory"}
    farm.assert_stored_once(record_id)
    farm.installation.kubectl("delete", "bbbrecordprofiles", "little-memory", "little-disk")
