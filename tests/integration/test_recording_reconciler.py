"""The operator's way with recordings, on real rows and a fake API server: shown, steered, and cancelled by deletion."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.resources import API_VERSION
from b3lb_operator.database import Database
from b3lb_operator.events import EventRecorder
from b3lb_operator.kinds import QUEUE, RECORDING, Manifest
from b3lb_operator.kube import ForbiddenError
from b3lb_operator.reconcilers.recordings import AT_ONCE_SECONDS, RECHECK_SECONDS, RETRY_SECONDS, RecordingReconciler
from b3lb_operator.status import StatusWriter
from b3lb_operator.store import Change, Store
from tests.integration.database_farm import Farm
from tests.integration.render_plan_stage import Stage
from tests.integration.run_stage import FakeDatabase
from tests.unit.operator_fakes import FakeKube, key, manifest_of

pytestmark = pytest.mark.integration

T = TypeVar("T")
NAMESPACE = "farm"
GROUP_PATH = f"/apis/{API_VERSION}"


class Fixture:
    """The queue `record`, the profile `hd`, and recordings of the namespace `farm`."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.stage = Stage(farm)
        farm.run("UPDATE record_profiles SET namespace = 'farm'")
        self.kube = FakeKube()
        self.kube.objects[GROUP_PATH] = {"metadata": {}, "resources": [{"name": "bbbrecordings"}]}
        self.kube.objects["/api/v1/namespaces/farm"] = {"metadata": {}, "status": {"phase": "Active"}}
        self.changes: list[Change] = []
        self.now = 0.0
        self.start()

    def start(self, missed: Collection[str] = ()) -> None:
        """Begin anew, as an operator that knows nothing."""
        self.store = Store(self.changes.append)
        self.store.observe(QUEUE, None, manifest_of(QUEUE, "record", {"tasks": ["render-record"], "schedule": None}))
        self.watch()
        self.database = FakeDatabase(self.farm.engine)
        self.events = EventRecorder(self.kube, instance="test")
        writer = StatusWriter(self.kube, self.store, self.events, clock=lambda: self.now)
        self.reconciler = RecordingReconciler(
            kube=self.kube,
            store=self.store,
            database=cast("Database", self.database),
            writer=writer,
            events=self.events,
            missed=missed,
        )
        self.reconciler.begin(NAMESPACE)

    def watch(self) -> None:
        """Let the store see all objects as they are."""
        prefix = RECORDING.path(NAMESPACE)
        live = [item for path, item in self.kube.objects.items() if path.startswith(f"{prefix}/")]
        self.store.relist(RECORDING, live, self.store.versions(RECORDING, NAMESPACE))

    async def step(self) -> float | None:
        self.watch()
        return await self.reconciler.reconcile(NAMESPACE)

    async def settle(self) -> None:
        """Look until nothing is left to do."""
        for _ in range(6):
            if await self.step() == RECHECK_SECONDS:
                return
        raise AssertionError("there is always something to do")

    def upload(self, name: str = "r-1", **fields: Any) -> Any:
        found = self.stage.upload(name, **fields)
        self.farm.run("UPDATE record_sets SET namespace = 'farm' WHERE id = :id", id=found)
        return found

    def live(self, name: str = "r-1") -> Manifest:
        return self.kube.object(RECORDING, name)

    def status(self, name: str = "r-1") -> Any:
        return self.live(name).get("status", {})

    def edit(self, name: str = "r-1", **spec: Any) -> None:
        live = self.live(name)
        self.kube.put(RECORDING, {**live, "spec": {**live["spec"], **spec}})

    def delete(self, name: str = "r-1") -> None:
        del self.kube.objects[RECORDING.path(NAMESPACE, name)]

    def names(self) -> set[str]:
        prefix = f"{RECORDING.path(NAMESPACE)}/"
        return {path.removeprefix(prefix) for path in self.kube.objects if path.startswith(prefix)}

    def rows(self, statement: str) -> Any:
        return self.farm.rows(statement)

    def happened(self) -> list[str]:
        backlog = self.events._backlog
        return [backlog.get_nowait()["reason"] for _ in range(backlog.qsize())]


@pytest.fixture
def fixture(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Fixture:
    found = Fixture(farm)
    store = FakeKube._store

    def dated(self: FakeKube, path: str, manifest: Manifest) -> Manifest:
        manifest["metadata"].setdefault("creationTimestamp", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        return store(self, path, manifest)

    monkeypatch.setattr(FakeKube, "_store", dated)
    return found


async def test_an_upload_gets_an_object_with_a_status_and_a_second_look_writes_nothing(fixture: Fixture) -> None:
    fixture.upload()
    assert await fixture.step() == AT_ONCE_SECONDS
    await fixture.settle()
    status = fixture.status()
    assert (status["phase"], status["recordId"], status["tenant"]) == ("Pending", "r-1", "UNI")
    assert (status["queuePosition"], status["progressPercent"], status["attempts"]) == (1, 0, 0)
    assert status["videos"] == [{"profile": "hd", "state": "PENDING", "attempts": 0, "warnings": 0}]
    assert status["expiresAt"] > status["uploadedAt"]
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Rendered", "False", "Waiting")
    assert fixture.live()["metadata"]["labels"]["b3lb.io/tenant"] == "uni"
    assert "finalizers" not in fixture.live()["metadata"]
    assert fixture.rows("SELECT object_uid, namespace FROM record_sets") == [
        (fixture.live()["metadata"]["uid"], "farm")
    ]
    assert fixture.happened() == ["RecordingUploaded"]
    writes = len(fixture.kube.writes)
    fixture.start()
    await fixture.settle()
    assert (len(fixture.kube.writes), fixture.happened()) == (writes, [])


async def test_nothing_is_done_before_the_live_objects_are_known(fixture: Fixture) -> None:
    fixture.upload()
    fixture.reconciler = RecordingReconciler(
        kube=fixture.kube,
        store=fixture.store,
        database=cast("Database", fixture.database),
        writer=StatusWriter(fixture.kube, fixture.store, fixture.events, clock=lambda: 0.0),
        events=fixture.events,
    )
    assert await fixture.step() is None
    assert fixture.names() == set()


async def test_without_a_database_it_waits(fixture: Fixture) -> None:
    fixture.database.away = True
    assert await fixture.step() == RETRY_SECONDS


async def test_edits_reach_the_rows(fixture: Fixture) -> None:
    fixture.upload()
    await fixture.settle()
    fixture.edit(priority=9, paused=True)
    await fixture.settle()
    assert fixture.rows("SELECT priority, paused FROM record_sets") == [(9, True)]
    status = fixture.status()
    assert (status["phase"], status["observedGeneration"]) == ("Paused", 2)
    assert "queuePosition" not in status
    fixture.edit(paused=False, cancel=True)
    await fixture.settle()
    assert fixture.status()["phase"] == "Cancelled"
    assert fixture.rows("SELECT state FROM task_runs") == [("REVOKED",)]
    assert fixture.happened() == ["RecordingUploaded", "Cancelled"]
    fixture.edit(cancel=False, retry=1)
    await fixture.settle()
    assert fixture.status()["phase"] == "Pending"
    assert sorted(fixture.rows("SELECT state FROM task_runs")) == [("PENDING",), ("REVOKED",)]


async def test_progress_is_written_every_ten_seconds_and_an_end_at_once(fixture: Fixture) -> None:
    fixture.upload()
    await fixture.settle()
    fixture.farm.run("UPDATE records SET state = 'RENDERING', progress_percent = 10, attempts = 1")
    fixture.farm.run("UPDATE record_sets SET state = 'RENDERING', rendering_at = now()")
    await fixture.settle()
    assert (fixture.status()["phase"], fixture.status()["progressPercent"]) == ("Rendering", 10)
    fixture.farm.run("UPDATE records SET progress_percent = 42")
    fixture.now += 4
    assert await fixture.step() == pytest.approx(6)
    assert fixture.status()["progressPercent"] == 10
    fixture.now += 6
    await fixture.step()
    assert fixture.status()["progressPercent"] == 42
    fixture.farm.run("UPDATE records SET state = 'FAILED', finished_at = now(), reason = 'Timeout', message = 'slow'")
    fixture.farm.run("UPDATE record_sets SET state = 'FAILED', failed_at = now(), reason = 'Timeout', message = 'slow'")
    await fixture.step()
    assert (fixture.status()["phase"], fixture.status()["message"]) == ("Failed", "slow")
    assert fixture.happened() == ["RecordingUploaded", "RenderingStarted", "RenderingFailed"]


async def rendered(fixture: Fixture) -> None:
    fixture.upload()
    await fixture.settle()
    fixture.farm.run(
        "UPDATE records SET state = 'RENDERED', finished_at = now(), nonce = 'n', file_key = 'k', file_bytes = 1, "
        "file_sha256 = repeat('a', 64)"
    )
    fixture.farm.run("UPDATE record_sets SET state = 'RENDERED', rendered_at = now()")
    await fixture.settle()


async def test_what_is_rendered_is_shown_for_an_hour_and_then_goes_without_being_cancelled(fixture: Fixture) -> None:
    await rendered(fixture)
    status = fixture.status()
    assert (status["phase"], status["progressPercent"]) == ("Rendered", 100)
    assert status["conditions"][0]["status"] == "True"
    assert fixture.happened() == ["RecordingUploaded", "Rendered"]
    fixture.farm.run("UPDATE record_sets SET rendered_at = now() - interval '2 hours'")
    await fixture.settle()
    assert fixture.names() == {"r-1"}
    fixture.live()["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    fixture.kube.put(RECORDING, fixture.live())
    await fixture.settle()
    assert fixture.names() == set()
    assert fixture.rows("SELECT state, object_uid, dismissed FROM record_sets") == [("RENDERED", None, False)]
    fixture.farm.run("UPDATE record_sets SET legal_hold = true")
    await fixture.settle()
    assert fixture.status()["legalHold"] is True
    assert fixture.happened() == []


async def test_a_deletion_cancels_deletes_no_media_and_the_object_comes_back_only_with_a_retry(
    fixture: Fixture,
) -> None:
    fixture.upload()
    await fixture.settle()
    fixture.happened()
    fixture.delete()
    await fixture.settle()
    assert fixture.happened() == ["Cancelled"], "although nothing is there any more that could say so"
    assert fixture.names() == set()
    assert fixture.rows("SELECT state, reason, archive_key FROM record_sets") == [("FAILED", "Cancelled", "archive")]
    assert fixture.rows("SELECT state FROM records") == [("CANCELLED",)]
    await fixture.settle()
    assert fixture.names() == set()
    fixture.kube.put(RECORDING, manifest_of(RECORDING, "r-1", {"retry": 1}, uid="by hand"))
    await fixture.settle()
    assert fixture.status()["phase"] == "Pending"
    assert fixture.rows("SELECT object_uid, retry FROM record_sets") == [("by hand", 1)]


async def test_a_deletion_while_the_operator_was_down_is_seen_at_its_start(fixture: Fixture) -> None:
    fixture.upload()
    await fixture.settle()
    fixture.delete()
    fixture.start()
    await fixture.settle()
    assert fixture.rows("SELECT state, reason FROM record_sets") == [("FAILED", "Cancelled")]


async def test_that_the_watch_is_late_is_no_deletion(fixture: Fixture) -> None:
    fixture.upload()
    await fixture.settle()
    fixture.store._remove(RECORDING, key("r-1"))
    await fixture.reconciler.reconcile(NAMESPACE)
    await fixture.settle()
    assert fixture.status()["phase"] == "Pending"


@pytest.mark.parametrize("gone", ["definition", "namespace", "definition before the start"])
async def test_objects_that_go_with_their_definition_or_namespace_cancel_nothing(fixture: Fixture, gone: str) -> None:
    fixture.upload()
    await fixture.settle()
    fixture.delete()
    if gone == "definition":
        fixture.kube.objects[GROUP_PATH]["resources"] = []
    elif gone == "namespace":
        fixture.kube.objects["/api/v1/namespaces/farm"]["status"]["phase"] = "Terminating"
    else:
        fixture.start(missed={"bbbrecordings"})
    await fixture.step()
    assert fixture.rows("SELECT state FROM record_sets") == [("UPLOADED",)]
    await fixture.settle()
    assert fixture.status()["phase"] == "Pending"


@pytest.mark.parametrize("gone", [False, True], ids=["deleting", "deleted"])
async def test_a_recording_that_is_deleted_is_told_of_on_its_object(fixture: Fixture, gone: bool) -> None:
    fixture.upload(state="FAILED")
    await fixture.settle()
    fixture.happened()
    fixture.farm.run("UPDATE record_sets SET state = 'DELETING', deleting_at = now()")
    if gone:
        fixture.farm.run("DELETE FROM records")
        fixture.farm.run("DELETE FROM record_sets")
    await fixture.settle()
    assert (fixture.names(), fixture.happened()) == (set(), ["RecordingDeleted"])


async def test_a_recording_that_waits_for_its_queues_window_says_until_when(fixture: Fixture) -> None:
    now = datetime.now(UTC)
    opens, closes = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (3, 5))
    spec = {"tasks": ["render-record"], "schedule": None, "window": {"start": opens, "end": closes}}
    fixture.store.observe(QUEUE, None, manifest_of(QUEUE, "record", spec, resourceVersion="99"))
    fixture.upload()
    await fixture.settle()
    words = f"waits for the window of BBBQueue record, {opens} to {closes} (Etc/UTC), which opens at "
    assert fixture.status()["message"].startswith(words)
    assert fixture.status()["message"].endswith(f"T{opens}:00Z")


async def test_an_object_without_a_recording_goes(fixture: Fixture) -> None:
    fixture.kube.put(RECORDING, manifest_of(RECORDING, "nobody", {"retry": 1}))
    fixture.upload("r-2", state="DELETING")
    fixture.kube.put(RECORDING, manifest_of(RECORDING, "r-2", {}))
    await fixture.settle()
    assert fixture.names() == set()


async def test_that_an_object_cannot_be_made_keeps_nothing_from_being_rendered(fixture: Fixture) -> None:
    fixture.upload()
    fixture.kube.failure = lambda method, _path: ForbiddenError("quota") if method == "POST" else None
    assert await fixture.step() == RETRY_SECONDS
    assert fixture.rows("SELECT state FROM task_runs") == [("PENDING",)]
    fixture.kube.failure = lambda _method, _path: None
    await fixture.settle()
    assert fixture.names() == {"r-1"}


async def test_what_it_waits_for_is_said(fixture: Fixture) -> None:
    fixture.upload()
    suspended = manifest_of(QUEUE, "record", {"tasks": ["render-record"], "suspend": True}, resourceVersion="2")
    fixture.store.observe(QUEUE, "MODIFIED", suspended)
    await fixture.settle()
    assert "suspended" in fixture.status()["message"]
    fixture.store.observe(
        QUEUE, "DELETED", {**suspended, "metadata": {**suspended["metadata"], "resourceVersion": "3"}}
    )
    fixture.now += 10
    await fixture.settle()
    assert "no BBBQueue" in fixture.status()["message"]


async def test_a_thousand_uploads_are_shown(fixture: Fixture) -> None:
    with transaction(fixture.farm.engine, timeout_seconds=10) as connection:
        connection.execute(
            sa.text(
                "INSERT INTO record_sets (namespace, record_id, meeting_id, ended_at, install_id) SELECT 'farm', "
                "'r-' || i, '', now(), gen_random_uuid() FROM generate_series(1, 1000) i"
            )
        )
    for _ in range(12):
        if await fixture.step() == RECHECK_SECONDS:
            break
    assert len(fixture.names()) == 1000
    assert {item["status"]["phase"] for item in map(fixture.live, fixture.names())} == {"Pending"}
    writes = len(fixture.kube.writes)
    assert writes == 2000
    await fixture.step()
    assert len(fixture.kube.writes) == writes
