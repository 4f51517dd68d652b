"""The finalizer of nodes, and when a deleted node may go."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from b3lb.db.mirror import NodeMirror
from b3lb.db.unpolled import Unpolled
from b3lb.health import GuardState, Reason
from b3lb.resources.conditions import format_time
from b3lb_operator.kinds import NODE, Manifest
from b3lb_operator.kube import UnavailableError
from b3lb_operator.reconcilers.node import FINALIZER, NodeReconciler, node_status, release_reason
from b3lb_operator.store import Store
from b3lb_operator.view import View
from tests.unit.operator_fakes import (
    NOW,
    FakeKube,
    key,
    node_manifest,
    node_row,
    node_state,
    snapshot_of,
    view_of,
)

DELETED_AT = NOW - timedelta(seconds=60)


def deleted(
    *, at: datetime = DELETED_AT, status: dict[str, Any] | None = None, annotations: Any = None, **spec: Any
) -> Manifest:
    """Return a node that is being deleted, as it is once its status says so."""
    metadata = {
        "deletionTimestamp": format_time(at),
        "finalizers": [FINALIZER],
        "generation": 2,
        "annotations": annotations or {},
    }
    drain = {"startedAt": format_time(at), "deadlineAt": format_time(at + timedelta(hours=1))}
    return node_manifest(status={"drain": drain, "conditions": [], **(status or {})}, metadata=metadata, **spec)


def condition(type_: str, status: str, reason: str = "X", *, since: datetime = NOW) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": "",
        "lastTransitionTime": format_time(since),
        "observedGeneration": 2,
    }


def test_a_good_poll_after_the_deletion_that_found_no_meetings_lets_it_go() -> None:
    manifest = deleted()
    assert release_reason(manifest, view_of(node_row(manifest))) == "no meetings"


def test_meetings_hold_it() -> None:
    manifest = deleted()
    assert release_reason(manifest, view_of(node_row(manifest, state=node_state(meetings=1)))) is None


def test_a_poll_from_before_the_deletion_proves_nothing() -> None:
    manifest = deleted()
    assert release_reason(manifest, view_of(node_row(manifest), tick_at=DELETED_AT - timedelta(seconds=1))) is None


def test_a_poll_in_the_second_of_the_deletion_proves_nothing_for_times_are_cut() -> None:
    manifest = deleted()
    assert release_reason(manifest, view_of(node_row(manifest), tick_at=DELETED_AT)) is None


def test_a_node_that_was_drained_before_still_needs_a_poll_after_the_deletion() -> None:
    manifest = deleted(
        status={
            "drain": {
                "startedAt": format_time(NOW - timedelta(minutes=30)),
                "deadlineAt": format_time(NOW + timedelta(minutes=30)),
            },
            "conditions": [condition("Drained", "True", "NoMeetings")],
        }
    )
    row = node_row(manifest)
    assert release_reason(manifest, view_of(row, tick_at=DELETED_AT - timedelta(seconds=1))) is None
    assert release_reason(manifest, view_of(row, tick_at=DELETED_AT + timedelta(seconds=1))) == "no meetings"


def test_a_suspect_node_is_not_believed() -> None:
    manifest = deleted()
    row = node_row(manifest, state=node_state(failures=1))
    assert release_reason(manifest, view_of(row)) is None


def test_while_the_mass_failure_guard_holds_nobody_is_believed() -> None:
    manifest = deleted()
    snapshot = snapshot_of(node_row(manifest))
    cluster = snapshot.clusters["default"]
    held = {"default": type(cluster)(1, "default", cluster.uid, 1, GuardState(since=NOW, failed=3, polled=3))}
    guarded = type(snapshot)(snapshot.now, snapshot.heartbeats, held, snapshot.nodes)
    view = View.of(guarded, age=timedelta(0), error="", now=NOW)
    assert release_reason(manifest, view) is None


def left_out(row: NodeMirror, **ids: list[int]) -> View:
    """Return a view whose last tick, after the deletion, left out the nodes of ``ids``."""
    snapshot = snapshot_of(row)
    unpolled = Unpolled.from_summary({"unpolled": ids})
    beat = dataclasses.replace(snapshot.heartbeats["check-nodes"], unpolled=unpolled)
    return View.of(dataclasses.replace(snapshot, heartbeats={"check-nodes": beat}), age=timedelta(0), error="", now=NOW)


@pytest.mark.parametrize("kind", ["undecryptable", "unfinished"])
@pytest.mark.parametrize("drained_before", [False, True])
def test_a_tick_that_did_not_poll_this_very_node_proves_nothing(kind: str, *, drained_before: bool) -> None:
    conditions = [condition("Drained", "True", "NoMeetings")] if drained_before else []
    manifest = deleted(status={"conditions": conditions})
    row = node_row(manifest, id=7)
    assert release_reason(manifest, left_out(row, **{kind: [3, 7]})) is None
    assert release_reason(manifest, left_out(row, **{kind: [3, 8]})) == "no meetings"


def test_a_node_whose_secret_the_jobs_cannot_read_is_unknown_and_gets_no_new_meetings() -> None:
    manifest = node_manifest()
    status = node_status(manifest, left_out(node_row(manifest), undecryptable=[1]))
    assert status is not None
    assert [(item["type"], item["status"], item["reason"]) for item in status["conditions"]] == [
        ("Ready", "Unknown", "SecretUnreadable"),
        ("Schedulable", "Unknown", "SecretUnreadable"),
        ("LoadReported", "Unknown", "SecretUnreadable"),
    ]


def test_a_node_that_can_be_polled_waits_for_its_first_poll_as_after_the_loss_of_the_database() -> None:
    manifest = deleted()
    assert release_reason(manifest, view_of(node_row(manifest, state=None))) is None
    assert release_reason(manifest, view_of(node_row(manifest, state=node_state(meetings=3)))) is None
    assert release_reason(manifest, view_of(node_row(manifest, state=node_state()))) == "no meetings"


@pytest.mark.parametrize("fields", [{"blocked_reason": "SecretNotFound"}, {"desired_state": "Disabled"}])
def test_a_node_that_cannot_be_polled_and_never_was_goes_at_once(fields: dict[str, Any]) -> None:
    manifest = deleted()
    assert release_reason(manifest, view_of(node_row(manifest, state=None, **fields))) == "not polled, and never was"


def test_the_message_says_when_a_node_that_is_down_goes() -> None:
    manifest = deleted()
    down = node_state(ready=False, proven=False, failures=2, reason=Reason.DNS, ready_changed_at=DELETED_AT)
    status = node_status(manifest, view_of(node_row(manifest, state=down)))
    assert status is not None
    latest = format_time(DELETED_AT + timedelta(minutes=10))
    assert f"the node goes at {latest} at the latest" in status["conditions"][-1]["message"]
    row = node_row(manifest, state=dataclasses.replace(down, ready_changed_at=NOW - timedelta(minutes=10)))
    assert release_reason(manifest, view_of(row)) == "not Ready for 600 s"


def test_the_end_of_the_drains_time_lets_it_go_whatever_runs() -> None:
    manifest = deleted(at=NOW - timedelta(seconds=3600))
    row = node_row(manifest, state=node_state(meetings=5))
    assert release_reason(manifest, view_of(row)) == "the drain's time is over"


def test_the_end_of_the_drains_time_needs_no_database() -> None:
    manifest = deleted(at=NOW - timedelta(seconds=3600))
    view = View.of(None, age=timedelta(0), error="away", now=NOW)
    assert release_reason(manifest, view) == "the drain's time is over"


def test_the_drains_time_counts_from_the_deletion_although_the_operator_saw_it_late() -> None:
    late = {"startedAt": format_time(NOW), "deadlineAt": format_time(NOW + timedelta(hours=1))}
    manifest = deleted(at=NOW - timedelta(seconds=100), status={"drain": late}, drain={"deadlineSeconds": 90})
    row = node_row(manifest, state=node_state(meetings=5))
    assert release_reason(manifest, view_of(row)) == "the drain's time is over"


@pytest.mark.parametrize(("polled", "seconds", "goes"), [(False, 149, False), (False, 151, True), (True, 151, False)])
def test_a_node_that_no_queue_polls_any_more_goes_when_its_last_poll_is_stale(
    *, polled: bool, seconds: int, goes: bool
) -> None:
    manifest = deleted(at=NOW - timedelta(seconds=seconds))
    row = node_row(manifest, state=node_state(meetings=3), written_at=NOW - timedelta(hours=1))
    for tick_at in (NOW - timedelta(seconds=seconds + 1), NOW - timedelta(hours=1)):
        view = view_of(row, tick_at=tick_at)
        assert (release_reason(manifest, view, polled=polled) is not None) is goes
    assert release_reason(manifest, view_of(row, tick_at=NOW - timedelta(seconds=100)), polled=polled) is None
    assert release_reason(manifest, view_of(row, tick_at=NOW - timedelta(hours=1), error="away"), polled=polled) is None


@pytest.mark.parametrize(("minutes", "reason"), [(9, None), (11, "not Ready for 600 s")])
def test_ten_minutes_not_ready_let_it_go(minutes: int, reason: str | None) -> None:
    manifest = deleted(status={"conditions": [condition("Ready", "False", since=NOW - timedelta(minutes=5))]})
    changed_at = NOW - timedelta(minutes=minutes)
    state = node_state(ready=False, failures=9, meetings=4, ready_changed_at=changed_at)
    assert release_reason(manifest, view_of(node_row(manifest, state=state))) == reason


def test_a_blocked_node_with_known_meetings_goes_ten_minutes_after_it_was_blocked() -> None:
    status = {"conditions": [condition("Ready", "False", "SecretNotFound", since=NOW - timedelta(minutes=11))]}
    manifest = deleted(status=status)
    row = node_row(manifest, state=node_state(meetings=4), blocked_reason="SecretNotFound", blocked_message="gone")
    assert release_reason(manifest, view_of(row)) == "not Ready for 600 s"


def test_a_node_of_which_nothing_was_heard_for_long_is_not_called_unhealthy() -> None:
    """Stale is Unknown: the health checks are ill, not the node."""
    manifest = deleted()
    state = node_state(ready=False, failures=9, meetings=4, ready_changed_at=NOW - timedelta(minutes=30))
    old = NOW - timedelta(minutes=20)
    row = node_row(manifest, state=state, written_at=old)
    assert release_reason(manifest, view_of(row, tick_at=old)) is None


@pytest.mark.parametrize(
    "row_of",
    [
        lambda manifest: node_row(manifest, generation=1),
        lambda manifest: node_row(manifest, uid="another"),
        lambda manifest: node_row(manifest, name="other"),
    ],
)
def test_a_row_that_does_not_know_of_the_deletion_yet_proves_nothing(row_of: Callable[[Manifest], NodeMirror]) -> None:
    manifest = deleted()
    assert release_reason(manifest, view_of(row_of(manifest))) is None


def test_what_was_read_before_the_database_went_away_proves_nothing() -> None:
    manifest = deleted()
    assert release_reason(manifest, view_of(node_row(manifest), error="away")) is None


@pytest.mark.parametrize(("value", "goes"), [("true", True), ("false", False), ("", False)])
def test_the_force_annotation_lets_it_go_at_once(value: str, *, goes: bool) -> None:
    manifest = deleted(annotations={"b3lb.io/force-delete": value})
    reason = release_reason(manifest, View.of(None, age=timedelta(0), error="away", now=NOW))
    assert (reason is not None) is goes


def test_a_node_with_a_spec_that_cannot_be_read_goes_when_it_was_never_polled() -> None:
    manifest = {**deleted(), "spec": {}}
    row = node_row(manifest, state=None, blocked_reason="InvalidSpec", blocked_message="spec.secretRef: missing")
    assert release_reason(manifest, view_of(row)) == "not polled, and never was"


def test_the_status_waits_for_a_row_that_lags_behind_but_not_for_a_database_that_is_away() -> None:
    manifest = node_manifest(metadata={"generation": 3}, state="Cordoned")
    row = node_row(manifest, generation=2)
    assert node_status(manifest, view_of(row)) is None
    status = node_status(manifest, view_of(row, error="away"))
    assert status is not None
    assert {item["type"]: item["reason"] for item in status["conditions"]}["Schedulable"] == "Cordoned"


def lagging(view: View, **spec: Any) -> dict[str, str]:
    """Return the conditions of a Ready node whose change to ``spec`` is not stored, with their generations."""
    ready = {"type": "Ready", "status": "True", "reason": "Responding", "observedGeneration": 2}
    status = {"observedGeneration": 2, "conditions": [{**ready, "lastTransitionTime": "2026-03-01T11:00:00Z"}]}
    found = node_status({**node_manifest(metadata={"generation": 3}, **spec), "status": status}, view)
    assert found is not None
    assert found["observedGeneration"] == 3
    return {
        item["type"]: f"{item['status']}/{item['reason']}@{item['observedGeneration']}" for item in found["conditions"]
    }


@pytest.mark.parametrize(
    ("state", "conditions"),
    [
        ("Cordoned", {"Ready": "True/Responding@2", "Schedulable": "False/Cordoned@3"}),
        ("Draining", {"Ready": "True/Responding@2", "Schedulable": "False/Draining@3", "Drained": "Unknown/Pending@3"}),
        ("Disabled", {"Ready": "False/Disabled@3", "Schedulable": "False/Disabled@3"}),
        ("Active", {"Ready": "True/Responding@2", "Schedulable": "True/Schedulable@3"}),
    ],
)
@pytest.mark.parametrize("late", [True, False])
def test_of_a_change_that_cannot_be_stored_the_wish_counts_at_once_and_the_rest_is_of_the_node_as_it_was(
    state: str, conditions: dict[str, str], *, late: bool
) -> None:
    row = node_row(node_manifest(), generation=2, state=node_state(meetings=0))
    uids = {row.uid} if late else set()
    view = dataclasses.replace(view_of(row), late=uids, storing_error="" if late else "cannot execute INSERT")
    found = lagging(view, state=state)
    assert {type_: found[type_] for type_ in conditions} == conditions


def test_a_change_that_cannot_be_stored_says_why() -> None:
    manifest = node_manifest(metadata={"generation": 3}, weightPercent=50)
    view = dataclasses.replace(view_of(node_row(manifest, generation=2)), storing_error="it is read-only")
    status = node_status(manifest, view)
    assert status is not None
    assert status["conditions"][0]["message"].endswith(
        "the change of the spec is not in the database yet: it is read-only"
    )


def test_a_node_that_was_not_polled_before_a_change_that_cannot_be_stored_is_unknown() -> None:
    row = node_row(node_manifest(), generation=2, desired_state="Disabled")
    view = dataclasses.replace(view_of(row), storing_error="it is read-only")
    assert lagging(view)["Ready"] == "Unknown/Pending@3"


def test_a_change_that_cannot_be_stored_keeps_no_node_from_being_stale() -> None:
    row = node_row(node_manifest(), generation=2, written_at=NOW - timedelta(hours=1))
    view = view_of(row, tick_at=NOW - timedelta(seconds=155))
    assert lagging(dataclasses.replace(view, storing_error="it is read-only"))["Ready"] == "Unknown/Stale@2"


def test_a_spec_that_cannot_be_read_is_a_condition() -> None:
    manifest = {**node_manifest(), "spec": {"host": 5}}
    status = node_status(manifest, view_of())
    assert status is not None
    assert [(item["type"], item["status"], item["reason"]) for item in status["conditions"]] == [
        ("Ready", "False", "InvalidSpec"),
        ("Schedulable", "False", "InvalidSpec"),
    ]


class Fixture:
    """A reconciler on an API server in memory with one node and its namespace in it."""

    def __init__(self, manifest: Manifest, view: View | None = None) -> None:
        self.kube = FakeKube()
        self.kube.objects["/api/v1/namespaces/farm"] = {"metadata": {"name": "farm"}}
        self.store = Store(lambda _: None)
        self.store.observe(NODE, "ADDED", self.kube.put(NODE, manifest))
        self.reconciler = NodeReconciler(self.kube, self.store, lambda _: view or view_of())

    async def reconcile(self) -> float | None:
        return await self.reconciler.reconcile(key("one"))

    @property
    def finalizers(self) -> Any:
        return self.kube.object(NODE, "one")["metadata"].get("finalizers", [])


async def test_every_node_gets_the_finalizer_once_beside_those_of_others() -> None:
    fixture = Fixture(node_manifest(metadata={"finalizers": ["others/own"]}))
    assert await fixture.reconcile() is None
    assert fixture.finalizers == ["others/own", FINALIZER]
    assert await fixture.reconcile() is None
    assert len(fixture.kube.writes) == 1


async def test_a_node_that_may_go_loses_our_finalizer_only() -> None:
    manifest = deleted()
    manifest["metadata"]["finalizers"] = [FINALIZER, "others/own"]
    fixture = Fixture(manifest, view_of(node_row(manifest)))
    assert await fixture.reconcile() is None
    assert fixture.finalizers == ["others/own"]


async def test_a_node_that_may_not_go_is_looked_at_again_soon() -> None:
    manifest = deleted()
    fixture = Fixture(manifest, view_of(node_row(manifest, state=node_state(meetings=1))))
    assert await fixture.reconcile() == 5
    assert fixture.kube.writes == []


async def test_a_terminating_namespace_is_not_held_up() -> None:
    manifest = deleted()
    fixture = Fixture(manifest, view_of(node_row(manifest, state=node_state(meetings=1))))
    fixture.kube.objects["/api/v1/namespaces/farm"]["metadata"]["deletionTimestamp"] = format_time(NOW)
    assert await fixture.reconcile() is None
    assert fixture.finalizers == []


async def test_a_deleted_node_that_others_hold_is_none_of_our_business() -> None:
    manifest = deleted()
    manifest["metadata"]["finalizers"] = ["others/own"]
    fixture = Fixture(manifest)
    assert await fixture.reconcile() is None
    assert fixture.kube.requests == []


async def test_a_node_that_went_meanwhile_is_no_error() -> None:
    fixture = Fixture(node_manifest())
    fixture.kube.objects.clear()
    assert await fixture.reconcile() is None
    fixture.store.observe(NODE, "DELETED", node_manifest(metadata={"resourceVersion": "99"}))
    assert await fixture.reconcile() is None


@pytest.mark.looptime
async def test_an_api_server_that_is_away_is_the_queues_business() -> None:
    fixture = Fixture(node_manifest())
    fixture.kube.failure = lambda _method, _path: UnavailableError("away")
    with pytest.raises(UnavailableError):
        await fixture.reconcile()
