"""Chains, groups, chunks and batches in real pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from b3lb.db.run_history import TaskRun, read_runs
from dev.environment import Environment, Installation
from dev.farm.process import Farm
from tests.e2e.conftest import assert_no_problems
from tests.e2e.run_scenario import WITH_TASKS, Runs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def installed(environment: Environment) -> Iterator[Installation]:
    """A release whose operator and pods have the task `work`."""
    with Installation(environment, "e2e-workflows", values=WITH_TASKS) as running:
        yield running
    assert_no_problems(running)


@pytest.fixture
def runs(installed: Installation, start_farm: Callable[..., Farm]) -> Iterator[Runs]:
    """The release, without runs."""
    made = Runs(installed, start_farm(nodes=1, frozen=True))
    yield made
    made.forget()


def enqueued(runs: Runs, directory: Path, workflow: dict[str, Any]) -> UUID:
    """Enqueue a workflow as people do."""
    file = directory / "workflow.yaml"
    file.write_text(yaml.safe_dump(workflow))
    return UUID(json.loads(runs.installation.b3lb("run", "--file", str(file), "-o", "json"))["id"])


def steps(runs: Runs, parent: UUID) -> list[TaskRun]:
    with runs.engine.connect() as connection:
        found = read_runs(connection, runs.installation.namespace, parent=parent, most=100)
    return sorted(found, key=lambda run: run.place or 0)


def step(**arguments: Any) -> dict[str, Any]:
    return {"task": "work", "arguments": arguments}


def test_a_chain_passes_results_on_and_another_stops_at_its_failure_while_a_group_sums_up(
    runs: Runs, tmp_path: Path
) -> None:
    runs.declare_queue(concurrency=4)
    receiving = {**step(number=10), "receives": "before"}
    chain = enqueued(
        runs, tmp_path, {"chain": [step(number=1), receiving, {**receiving, "arguments": {"number": 100}}]}
    )
    broken = enqueued(runs, tmp_path, {"chain": [step(number=1), step(end="permanent"), step(number=3)]})
    group = enqueued(runs, tmp_path, {"group": [step(number=number) for number in (1, 2, 3)]})
    assert runs.expect_state(chain, "SUCCESS", within=60).result == {"number": 111}
    assert runs.expect_state(broken, "FAILURE", within=60).error == "step 2 (work): FAILURE: the archive is damaged"
    assert [run.state for run in steps(runs, broken)] == ["SUCCESS", "FAILURE", "REVOKED"]
    assert runs.expect_state(group, "SUCCESS", within=60).result == {"results": [{"number": n} for n in (1, 2, 3)]}
    assert len(json.loads(runs.installation.b3lb("runs", "--of", str(group), "-o", "json"))) == 3


def test_a_thousand_items_by_a_hundred_are_each_worked_on_once_although_index_seven_is_killed(
    runs: Runs, tmp_path: Path
) -> None:
    runs.declare_queue(concurrency=4)
    chunks = {"task": "work", "items": list(range(1000)), "size": 100, "arguments": {"seconds": 2}}
    run_id = enqueued(runs, tmp_path, {"chunks": chunks})
    runs.expect("index 7 is at work", lambda: steps(runs, run_id)[7].state == "STARTED", within=60)
    runs.kill_pod(run_id, chunk=7)
    (name,) = runs.job_names()
    spec = runs.get("job", name.partition("/")[2])["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 10, 4)
    run = runs.expect_state(run_id, "SUCCESS", within=90)
    results = run.result["results"]
    assert [item for result in results for item in result["items"]] == list(range(1000))
    assert [result["attempt"] for result in results] == [1, 1, 1, 1, 1, 1, 1, 2, 1, 1]


def test_runs_that_share_a_pod_have_their_own_ends_and_when_it_dies_only_those_without_one_are_tried_again(
    runs: Runs,
) -> None:
    runs.declare_queue(suspend=True, batchSize=10, retry={"maxRetries": 3, "backoffSeconds": 1})
    fine, damaged = runs.put(number=1), runs.put(end="permanent")
    cut, never_begun = runs.put(seconds=6), runs.put(number=2)
    runs.patch("bbbqueue", "work", {"suspend": False})
    runs.expect_state(cut, "STARTED", within=60)
    (name,) = runs.job_names()
    assert runs.row(fine).result == {"number": 1}
    assert runs.row(damaged).error == "the archive is damaged"
    runs.kill_pod(UUID(name.rpartition("run-")[2].partition("-")[0]))
    runs.expect_state(cut, "SUCCESS", within=60)
    runs.expect_state(never_begun, "SUCCESS", within=60)
    assert [runs.row(run_id).attempts for run_id in (fine, damaged, cut, never_begun)] == [1, 1, 2, 2]
