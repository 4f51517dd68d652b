"""The memory of the cluster: events in any order, own writes, lists after a watch had to start anew."""

from __future__ import annotations

from typing import Any

from b3lb_operator.kinds import JOB, NODE, SECRET, Key, is_newer
from b3lb_operator.store import Change, Store

KEY = Key("farm", "one")


def manifest(version: int, name: str = "one", uid: str = "u1", **fields: Any) -> dict[str, Any]:
    metadata = {"namespace": "farm", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, **fields}


def new_store(changes: list[Change] | None = None) -> Store:
    noted: list[Change] = [] if changes is None else changes
    return Store(noted.append)


def test_an_older_event_never_replaces_a_newer_object() -> None:
    """The answer to an own write is there before the watch shows what was before it."""
    store = new_store()
    store.observe(NODE, "ADDED", manifest(5))
    store.accept(NODE, manifest(9, status={"load": 1}))
    store.observe(NODE, "MODIFIED", manifest(7))
    assert store.get(NODE, KEY) == manifest(9, status={"load": 1})


def test_every_change_is_told_once_whatever_way_it_comes_in() -> None:
    """The answer to a status write may hold a new spec before its own event comes, which is then too old."""
    changes: list[Change] = []
    store = new_store(changes)
    store.observe(NODE, "ADDED", manifest(5, spec={"state": "Active"}))
    store.accept(NODE, manifest(9, spec={"state": "Draining"}))
    store.observe(NODE, "MODIFIED", manifest(7, spec={"state": "Draining"}))
    store.observe(NODE, "MODIFIED", manifest(9, spec={"state": "Draining"}))
    store.relist(NODE, [], store.versions(NODE, "farm"))
    seen = [((change.old or {}).get("spec"), (change.new or {}).get("spec")) for change in changes]
    active, draining = {"state": "Active"}, {"state": "Draining"}
    assert seen == [(None, active), (active, draining), (draining, None)]


def test_the_same_event_again_tells_nothing_new() -> None:
    changes: list[Change] = []
    store = new_store(changes)
    store.observe(NODE, None, manifest(5))
    store.observe(NODE, None, manifest(5))
    assert len(changes) == 1


def test_a_late_deletion_of_the_object_before_does_not_remove_its_successor() -> None:
    store = new_store()
    store.observe(NODE, "ADDED", manifest(5))
    store.observe(NODE, "ADDED", manifest(12, uid="u2"))
    store.observe(NODE, "DELETED", manifest(11))
    assert store.get(NODE, KEY) == manifest(12, uid="u2")


def test_the_answer_to_a_write_does_not_bring_a_deleted_object_back() -> None:
    store = new_store()
    store.observe(NODE, "ADDED", manifest(5))
    store.observe(NODE, "DELETED", manifest(6))
    store.accept(NODE, manifest(5))
    assert store.get(NODE, KEY) is None


def test_nothing_of_a_secret_but_its_name_and_version_is_kept() -> None:
    store = new_store()
    store.observe(SECRET, "ADDED", manifest(5, data={"secret": "Z2VoZWlt"}, type="Opaque"))
    assert store.get(SECRET, KEY) == manifest(5)
    assert "Z2VoZWlt" not in repr(store.__dict__)


def test_of_a_job_all_is_kept_but_what_its_pods_are_made_of() -> None:
    store = new_store()
    kept = {"activeDeadlineSeconds": 300, "parallelism": 1}
    spec = {**kept, "template": {"spec": {"containers": [{"image": "b3lb"}]}}}
    store.observe(JOB, "ADDED", manifest(5, spec=spec, status={"active": 1}))
    assert store.get(JOB, KEY) == manifest(5, spec=kept, status={"active": 1})


def test_managed_fields_are_not_kept() -> None:
    store = new_store()
    event = manifest(5)
    event["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    store.observe(NODE, "ADDED", event)
    assert store.get(NODE, KEY) == manifest(5)
    assert "managedFields" in event["metadata"]


def test_a_list_removes_what_went_unseen_but_not_what_is_younger_than_it() -> None:
    store = new_store()
    store.observe(NODE, "ADDED", manifest(1, "gone"))
    store.observe(NODE, "ADDED", manifest(2, "stays"))
    store.observe(NODE, "ADDED", manifest(3, "changing"))
    known = store.versions(NODE, "farm")
    store.observe(NODE, "ADDED", manifest(8, "young"))
    store.observe(NODE, "MODIFIED", manifest(9, "changing"))
    store.relist(NODE, [manifest(2, "stays"), manifest(4, "unseen")], known)
    assert [key.name for key, _ in store.in_namespace(NODE, "farm")] == ["changing", "stays", "unseen", "young"]


def test_only_objects_of_the_namespace_are_listed() -> None:
    store = new_store()
    store.observe(NODE, "ADDED", manifest(1))
    assert list(store.in_namespace(NODE, "other")) == []


def test_resource_versions_are_compared_as_numbers() -> None:
    assert is_newer("10", "9")
    assert not is_newer("9", "10")
    assert not is_newer("9", "9")


def test_resource_versions_of_another_form_count_as_newer_when_they_differ() -> None:
    assert is_newer("abc", "9")
    assert not is_newer("abc", "abc")
