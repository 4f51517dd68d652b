"""What others add to a BBBQueue's CronJob is undone, too, and where nobody changed it nothing is written."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from b3lb_operator.kinds import Manifest
from tests.unit.operator_fakes import queue_manifest
from tests.unit.test_operator_queue import Fixture

POD = ("jobTemplate", "spec", "template", "spec")


def with_field(manifest: Manifest, path: tuple[str | int, ...], value: Any) -> Manifest:
    """Return a CronJob with one more field in its spec."""
    changed = copy.deepcopy(manifest)
    holder: Any = changed["spec"]
    for name in path[:-1]:
        holder = holder[name]
    assert path[-1] not in holder
    holder[path[-1]] = value
    return changed


ADDITIONS = pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*POD, "hostNetwork"), True),
        ((*POD, "nodeSelector"), {"a": "nowhere"}),
        ((*POD, "initContainers"), [{"name": "other", "image": "x"}]),
        ((*POD, "containers", 0, "envFrom"), [{"secretRef": {"name": "x"}}]),
        ((*POD, "containers", 0, "securityContext", "runAsUser"), 0),
        (("jobTemplate", "spec", "suspend"), True),
    ],
)


@ADDITIONS
async def test_fields_that_others_add_are_undone_and_then_it_rests(path: tuple[str | int, ...], value: Any) -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    wanted = fixture.cron_job["spec"]
    changed = with_field(fixture.cron_job, path, value)
    # Server-side apply leaves fields of other managers in place.
    fixture.put_cron_job(changed)
    await fixture.reconcile()
    assert fixture.cron_job["spec"] == wanted
    fixture.put_cron_job(fixture.cron_job)
    fixture.kube.requests.clear()
    await fixture.reconcile()
    assert fixture.kube.requests == []


async def test_what_was_added_while_no_operator_ran_is_undone_by_the_next_one() -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    wanted = fixture.cron_job["spec"]
    successor = Fixture(queue_manifest())
    successor.put_cron_job(with_field(fixture.cron_job, (*POD, "hostPID"), value=True))
    await successor.reconcile()
    assert successor.cron_job["spec"] == wanted


async def test_a_restart_changes_nothing_in_a_cron_job_that_is_as_it_should_be() -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    successor = Fixture(queue_manifest())
    successor.put_cron_job(fixture.cron_job)
    await successor.reconcile()
    assert successor.cron_job["metadata"]["generation"] == fixture.cron_job["metadata"]["generation"]
    successor.kube.requests.clear()
    await successor.reconcile()
    assert successor.cron_job_writes == []
