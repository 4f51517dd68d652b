"""Documents and requests of a real operator: true within seconds, refused precisely, and without secrets."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from uuid import uuid4

import pytest

from b3lb.db.engine import count_statements
from b3lb.db.work import read_work
from dev.controlplane import ControlPlane
from dev.farm.process import Farm
from dev.postgres import Postgres
from tests.integration.operator_cluster import (
    OperatorCluster,
    api_secret,
    bbb_cluster,
    bbb_node,
    bbb_queue,
    bbb_secret,
    bbb_tenant,
)

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

TOKEN = "the-token-of-this-very-test"
KEY = f"k1:{base64.b64encode(bytes(range(32))).decode()}"
SECONDS = 5.0
"""Documents are at most two seconds old."""


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(nodes=1, meetings=4, attendees=3, frozen=True, tenants=[("UNI", 1)]) as running:
        yield running


@pytest.fixture
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> Iterator[OperatorCluster]:
    environment = {"B3LB_CONTROL_TOKEN": TOKEN, "B3LB_ENCRYPTION_KEYS": KEY}
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path, environment=environment) as running:
        yield running
    assert running.problems() == []
    assert TOKEN not in running.log.read_text()


def ask(cluster: OperatorCluster, path: str) -> tuple[int, Any]:
    """Return status and JSON of a document."""
    url = f"http://127.0.0.1:{cluster.port}/control/v1{path}"
    request = urllib.request.Request(url, headers={"X-B3LB-Token": TOKEN})
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310 - our own address
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def first(cluster: OperatorCluster, path: str) -> dict[str, Any]:
    """Return the only object of a list, {} while there is none."""
    items = ask(cluster, path)[1].get("items") or [{}]
    assert len(items) == 1
    return dict(items[0])


def annotate(cluster: OperatorCluster, queue: str, name: str, content: object) -> None:
    """Put a request on a BBBQueue as a person does."""
    text = content if isinstance(content, str) else json.dumps(content)
    cluster.kubectl("annotate", "bbbqueue", queue, f"request.b3lb.io/{name}={text}")


def requests_of(cluster: OperatorCluster, queue: str) -> list[str]:
    found = cluster.get("bbbqueue", queue)["metadata"].get("annotations", {})
    return [name for name in found if name.startswith("request.b3lb.io/")]


def tick(cluster: OperatorCluster) -> None:
    """Let a pod of the core queue do its work once, in a process of this machine."""
    names = ("B3LB_DATABASE_URL", "B3LB_ENCRYPTION_KEYS")
    environment = {name: cluster._environment[name] for name in names}
    more = {"PATH": os.environ["PATH"], "B3LB_NAMESPACE": cluster.namespace}
    command = [sys.executable, "-m", "b3lb_jobs", "core", "--once"]
    done = subprocess.run(command, env={**environment, **more}, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_documents_are_true_within_seconds_and_hold_no_secret(cluster: OperatorCluster, farm: Farm) -> None:
    (node,) = farm.nodes
    cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node), bbb_queue(), bbb_tenant(), bbb_secret())
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=10)
    cluster.expect("the API secret is there", lambda: bool(cluster.get("secret", "uni-001-api-secret")), within=10)
    tick(cluster)
    cluster.expect(
        "the node's meetings are shown", lambda: first(cluster, "/nodes").get("meetings") == 4, within=SECONDS
    )
    shown = first(cluster, "/nodes")
    assert (shown["name"], shown["ready"], shown["host"], shown["state"]) == (node.name, "True", "127.0.0.1", "Active")
    assert 0 <= shown["lastGoodPollSeconds"] < 60
    assert first(cluster, "/clusters")["nodesReady"] == 1
    cluster.expect("the runs are counted", lambda: first(cluster, "/queues")["succeeded1h"] == 2, within=SECONDS)
    queue = first(cluster, "/queues")
    assert (queue["name"], queue["suspended"], queue["up"], queue["failed24h"]) == ("core", True, False, 0)
    cluster.patch("bbbqueue", "core", {"spec": {"priority": 7}})
    cluster.expect("the queue's priority", lambda: first(cluster, "/queues")["priority"] == 7, within=SECONDS)
    runs = ask(cluster, "/runs?state=success")[1]["items"]
    assert {run["task"] for run in runs} == {"check-nodes", "update-secrets-lists"}
    assert ask(cluster, f"/runs/{runs[0]['id']}")[1]["id"] == runs[0]["id"]
    assert {item["success"] for item in ask(cluster, "/stats")[1]["items"]} == {1}
    meetings = ask(cluster, "/meetings?secret=uni-001")[1]
    assert meetings["totals"]["meetings"] == farm.control.tenant("UNI").meetings > 0
    assert first(cluster, "/tenants")["meetings"] == meetings["totals"]["meetings"]
    assert ask(cluster, "/ping")[1]["problems"] == []
    assert_no_secret(cluster, node.secret)


def assert_no_secret(cluster: OperatorCluster, secret: str) -> None:
    """Search everything that can be asked for all that must not be in it."""
    generated = cluster.get("secret", "uni-001-api-secret")["data"]["secret"]
    run = ask(cluster, "/runs?limit=1")[1]["items"][0]["id"]
    forbidden = {
        "a node's API secret": secret,
        "a tenant's API secret": base64.b64decode(generated).decode(),
        "the encryption key": KEY.removeprefix("k1:"),
        "the database's URL": cluster._environment["B3LB_DATABASE_URL"],
        "the token": TOKEN,
        "passwords of meetings": "PW>",
        "names of passwords": "assword",
    }
    paths = ["/ping", "/queues", "/active-queues", "/active", "/scheduled", "/registered", "/stats", "/runs", "/nodes"]
    paths += [f"/runs/{run}", "/clusters", "/tenants", "/accounting", "/meetings?secret=uni-001", "/overview"]
    for path in paths:
        status, content = ask(cluster, path)
        assert status == 200, (path, content)
        text = json.dumps(content, ensure_ascii=False)
        assert [what for what, value in forbidden.items() if value in text] == [], path


def test_a_request_is_done_once_and_taken_away_and_a_refused_one_is_an_event(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_cluster(), bbb_queue())
    cluster.expect("the queue is shown", lambda: bool(first(cluster, "/queues")), within=10)
    run, bad, back, purge = (str(uuid4()) for _ in range(4))
    assert ask(cluster, f"/requests/{run}")[0] == 404
    annotate(cluster, "core", run, {"run": {"task": "check-nodes", "arguments": {"a": 1}, "priority": 9}})
    seconds = cluster.expect("the annotation is gone", lambda: requests_of(cluster, "core") == [], within=SECONDS)
    print(f"a request took {seconds:.1f} s")
    found = ask(cluster, f"/runs/{run}")[1]
    assert (found["state"], found["arguments"], found["priority"]) == ("PENDING", {"a": 1}, 9)
    assert ask(cluster, f"/requests/{run}")[1]["state"] == "done"
    # The queue is suspended, so the run waits.
    cluster.expect("the run waits", lambda: first(cluster, "/queues")["waiting"] == 1, within=SECONDS)
    cluster.expect("the run comes next", lambda: first(cluster, "/scheduled").get("id") == run, within=SECONDS)
    annotate(cluster, "core", bad, {"run": {"task": "render"}})
    cluster.expect("the refusal is an Event", lambda: ("core", "RequestRefused") in cluster.events(), within=SECONDS)
    refused = ask(cluster, f"/requests/{bad}")[1]
    assert (refused["state"], refused["message"]) == (
        "refused",
        "the queue does not have the task 'render'; it has check-nodes",
    )
    annotate(cluster, "core", back, {"revoke": run})
    cluster.expect("it is revoked", lambda: ask(cluster, f"/runs/{run}")[1]["state"] == "REVOKED", within=SECONDS)
    annotate(cluster, "core", purge, {"purge": True})
    cluster.expect(
        "the purge found nothing", lambda: ask(cluster, f"/requests/{purge}")[1].get("revoked") == 0, within=SECONDS
    )
    cluster.expect("all annotations are gone", lambda: requests_of(cluster, "core") == [], within=SECONDS)


def test_a_look_at_the_work_takes_three_statements(cluster: OperatorCluster) -> None:
    with count_statements(cluster.engine) as counter, cluster.engine.connect() as connection:
        read_work(connection, [cluster.namespace])
    assert counter.count == 3
