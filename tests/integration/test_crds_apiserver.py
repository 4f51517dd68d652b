"""The CRDs, the examples and the built CronJob on a real API server."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from b3lb.resources import BBBNodeSpec, BBBQueueSpec
from b3lb.resources.base import Schema
from b3lb_operator.manifests.cronjob import JobDefaults, QueueIdentity, build_cronjob
from b3lb_operator.manifests.facts import Freshness, NodeFacts, NodeRecord
from b3lb_operator.manifests.node_status import build_node_status
from dev.controlplane import ControlPlane
from tests.integration.crd_cluster import CLUSTER, ROOT, Cluster, RefusedError, changed, crd_cluster
from tests.states import healthy

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

NODE: dict[str, Any] = {
    "apiVersion": "b3lb.io/v1alpha1",
    "kind": "BBBNode",
    "metadata": {"name": "bbb1"},
    "spec": {"host": "bbb1.example.org", "secretRef": {"name": "bbb1"}},
}
QUEUE: dict[str, Any] = {
    "apiVersion": "b3lb.io/v1alpha1",
    "kind": "BBBQueue",
    "metadata": {"name": "core"},
    "spec": {"tasks": ["check-nodes"], "schedule": "* * * * *", "tickSeconds": 15},
}
SCHEDULES = """
0-59/59 0-23 1-31 1-12 0-6|5/10,7 00,23 ? jan-DEC sun-Sat|1-1 * * MAR-APR MON-5|@daily|@often|a * * * *|* * * *
60 * * * *|* 24 * * *|* * 0 * *|* * 32 * *|* * * 0 *|* * * 13 *|* * * * 7|* * * FRI *|* * * * JAN|0 0 1 1 0
*/0 * * * *|1-2-3 * * * *|5-4 * * * *|* * * * SAT-SUN|* * * DEC-JAN *|59 23 31 12 6
"""
API_EXAMPLE = "e.g. https://bbb1.example.org/bigbluebutton/api"

NODE_COLUMNS = ["NAME", "STATE", "READY", "SCHEDULABLE", "LOAD", "CPU", "MEETINGS", "ATTENDEES", "REASON", "AGE"]
CLUSTER_COLUMNS = ["NAME", "NODES", "MEETINGS", "ATTENDEES", "HEADROOM", "MASS", "FAILURE", "READY", "REASON", "AGE"]
QUEUE_COLUMNS = ["NAME", "SCHEDULE", "TICK", "SUSPEND", "DEPTH", "ACTIVE", "LAST", "SUCCESS", "READY", "REASON", "AGE"]


@pytest.fixture(scope="module")
def cluster(plane_with_definitions: ControlPlane) -> Cluster:
    """A control plane with the CRDs, and a namespace that enforces restricted pods."""
    return crd_cluster(plane_with_definitions, "definitions")


def url(address: str) -> dict[str, Any]:
    """Return a node with an apiUrl instead of a host."""
    return changed(NODE, without="host", apiUrl=address)


def at(schedule: str, **spec: Any) -> dict[str, Any]:
    """Return a queue with a task that may have any schedule."""
    return changed(QUEUE, without="tickSeconds", tasks=["another"], schedule=schedule, **spec)


def on_demand(**spec: Any) -> dict[str, Any]:
    """Return a queue without a schedule."""
    return {**QUEUE, "spec": {"tasks": ["render"], **spec}}


def test_the_definitions_are_accepted_as_structural(cluster: Cluster) -> None:
    definitions = cluster.read("customresourcedefinitions")["items"]
    assert {definition["metadata"]["name"] for definition in definitions} >= {
        "bbbclusters.b3lb.io",
        "bbbnodes.b3lb.io",
        "bbbqueues.b3lb.io",
        "bbbrecordprofiles.b3lb.io",
        "bbbsecrets.b3lb.io",
        "bbbtenants.b3lb.io",
    }
    for definition in definitions:
        conditions = {entry["type"]: entry["status"] for entry in definition["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert "NonStructuralSchema" not in conditions


def test_the_definitions_are_applied_on_the_client_too(cluster: Cluster) -> None:
    """`kubectl apply -f crds/` stores them in an annotation, which has a limit."""
    assert "bbbnodes.b3lb.io" in cluster("apply", "--dry-run=server", "-f", str(ROOT / "crds"))


@pytest.mark.parametrize("name", ["minimal.yaml", "production.yaml"])
def test_the_examples_apply_without_a_warning(cluster: Cluster, name: str) -> None:
    path = str(ROOT / "examples" / name)
    objects = len(list(yaml.safe_load_all((ROOT / "examples" / name).read_text())))
    applied = cluster("apply", "--warnings-as-errors", "--dry-run=server", "-f", path)
    assert len(applied.splitlines()) == objects


def test_defaults_appear_in_what_is_stored(cluster: Cluster) -> None:
    assert cluster.dry_run(CLUSTER)["spec"] == {
        "checksumAlgorithm": "sha256",
        "health": {"healthyAfter": 2, "timeoutSeconds": 5, "unhealthyAfter": 3},
        "load": {"attendeeFactor": 1, "cpuMaximum": 5000, "cpuTerms": 6, "meetingFactor": 30},
        "lostMeetings": {"endAfterSeconds": 86400},
        "massFailureGuard": {"maximumSeconds": 600, "minimumNodes": 3, "sharePercent": 50},
    }
    half = changed(CLUSTER, health={"timeoutSeconds": 9}, tls={"caSecretRef": {"name": "ca"}})
    stored = cluster.dry_run(half)["spec"]
    assert stored["health"] == {"healthyAfter": 2, "timeoutSeconds": 9, "unhealthyAfter": 3}
    assert stored["tls"] == {"caSecretRef": {"key": "ca.crt", "name": "ca"}}
    assert cluster.dry_run(NODE)["spec"] == {
        "clusterRef": {"name": "default"},
        "drain": {"deadlineSeconds": 3600},
        "host": "bbb1.example.org",
        "secretRef": {"key": "secret", "name": "bbb1"},
        "state": "Active",
        "weightPercent": 100,
    }
    assert cluster.dry_run(QUEUE)["spec"] == {
        "batchSize": 1,
        "concurrency": 1,
        "failedJobsHistoryLimit": 5,
        "maxInFlight": 100,
        "priority": 5,
        "retry": {"backoffSeconds": 10, "maxRetries": 3, "maximumSeconds": 600},
        "schedule": "* * * * *",
        "successfulJobsHistoryLimit": 3,
        "suspend": False,
        "tasks": ["check-nodes"],
        "tickSeconds": 15,
    }


@pytest.mark.parametrize(
    "manifest",
    [
        url("https://bbb1.example.org/bigbluebutton/api"),
        url("https://bbb1.example.org/bigbluebutton/api/"),
        url("http://127.0.0.1:8080/bigbluebutton/api"),
        url("https://[2001:db8::1]:8443/bigbluebutton/api"),
        changed(NODE, host="127.0.0.1"),
        changed(NODE, host="bbb1", loadUrl="http://bbb1:9100/load", maxMeetings=1, weightPercent=1000),
        url("https://bbb1.example.org:1/api"),
        url("https://bbb1.example.org:65535/api"),
        changed(NODE, host="255.255.255.255", loadUrl="http://[2001:db8::1]:9100/load"),
        at("*/5 0-8,20-23 * JAN-MAR MON", timeZone="America/Port-au-Prince"),
        at("@hourly"),
        at("0-59/59 00,07-09,5-5 ? jan,Feb-12 sun-SAT/2,3"),
        at("5/10  22-23,0-5 * * MON-5"),
        at(",".join(["50-59"] * 15) + " * * * *"),
        changed(QUEUE, resources={"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"ephemeral-storage": "1e9"}}),
        changed(QUEUE, name="q" * 40),
        {**QUEUE, "spec": {"tasks": ["render"], "rateLimit": "10/m", "priority": 9, "concurrency": 4}},
        {**QUEUE, "spec": {"tasks": ["render"], "autoscaling": {"minReplicas": 3, "maxReplicas": 10}}},
        {**QUEUE, "spec": {"tasks": ["render"], "autoscaling": {"maxReplicas": 1}}},
    ],
    ids=lambda manifest: json.dumps(manifest["spec"])[:60],
)
def test_what_is_valid_is_taken_by_the_api_server_and_by_the_types(cluster: Cluster, manifest: dict[str, Any]) -> None:
    models: dict[str, type[Schema]] = {"BBBNode": BBBNodeSpec, "BBBQueue": BBBQueueSpec}
    models[manifest["kind"]].model_validate(cluster.dry_run(manifest)["spec"])


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (changed(NODE, without="host"), "write exactly one of host (e.g. bbb1.example.org) and apiUrl"),
        (changed(NODE, apiUrl="https://bbb1.example.org/api"), "write exactly one of host"),
        (changed(NODE, host="https://bbb1.example.org"), "host must be a DNS name or an IPv4 address"),
        (changed(NODE, host="bbb1.example.org:8443"), "for http, a port, another path or an IPv6 address write apiUrl"),
        (changed(NODE, host="999.999.1.1"), "an IPv4 address (four numbers from 0 to 255), e.g. bbb1.example.org"),
        (changed(NODE, host="1.2.3"), "host must be a DNS name or an IPv4 address (four numbers from 0 to 255)"),
        (changed(NODE, host="010.1.1.1"), "host must be a DNS name or an IPv4 address"),
        (changed(NODE, host="0x7f.1"), "host must be a DNS name or an IPv4 address"),
        (changed(NODE, host="2001:db8::1"), "write apiUrl instead, e.g. https://[2001:db8::1]/bigbluebutton/api"),
        (url("https://a:99999/api"), "the port of apiUrl must be from 1 to 65535: write such a port, or none for 443"),
        (url("https://a:65536/api"), "the port of apiUrl must be from 1 to 65535"),
        (url("https://a:0/api"), "the port of apiUrl must be from 1 to 65535"),
        (url("https://a:99999999999999999999/api"), "the port of apiUrl must be from 1 to 65535"),
        (url("https://a:x/api"), "apiUrl must be an absolute URL"),
        (url("https://999.999.1.1/api"), "the host of apiUrl must be a DNS name, an IPv4 address"),
        (url("https://[2001:db8::g]/api"), "spec.apiUrl: Invalid value"),
        (url("https://[fe80::1%25eth0]/api"), "or an IPv6 address in brackets"),
        (changed(NODE, loadUrl="http://a:70000/load"), "the port of loadUrl must be from 1 to 65535"),
        (changed(NODE, loadUrl="http://1.2/load"), "the host of loadUrl must be a DNS name"),
        (url("bbb1.example.org/bigbluebutton/api"), f"begins with http:// or https://, {API_EXAMPLE}"),
        (url("ftp://bbb1.example.org/bigbluebutton/api"), "apiUrl must be an absolute URL"),
        (url("https:///bigbluebutton/api"), "apiUrl must be an absolute URL"),
        (url("https://bbb1.example.org/bigbluebutton/"), f"apiUrl must end in /api, {API_EXAMPLE}"),
        (url("https://me:secret@bbb1.example.org/api"), "must not contain credentials"),
        (url("https://bbb1.example.org/api?x=/api"), "must not contain credentials, a query"),
        (url("https://bbb1.example.org/x#/api"), "must not contain credentials, a query, a fragment"),
        (url("https://bbb1.example.org/big blue button/api"), "a fragment, blanks or control characters"),
        (url("https://bbb1.example.org/\x07/api"), "apiUrl must not contain credentials, a query, a fragment, blanks"),
        (url("https://bbb1.example.org/api\n"), "blanks or control characters: write only scheme, host, port and path"),
        (url("https://[::ffff:192.0.2.1]/api"), "(of an IPv4-mapped one, ::ffff:…, write the IPv4 address itself)"),
        (url("https://[::FFFF:c000:201]/api"), "(of an IPv4-mapped one, ::ffff:…, write the IPv4 address itself)"),
        (url("https://bbb1.example.org/" + "x" * 2048 + "/api"), "2048"),
        (changed(NODE, loadUrl="/b3lb/load"), "loadUrl must be an absolute URL"),
        (changed(NODE, loadUrl="https://bbb1.example.org/load?a"), "loadUrl must not contain"),
        (changed(NODE, without="secretRef"), "spec.secretRef: Required value"),
        (changed(NODE, secretRef={"key": "x"}), "spec.secretRef.name: Required value"),
        (changed(NODE, secretRef={"name": "No_Name"}), "spec.secretRef.name"),
        (changed(NODE, state="Off"), 'supported values: "Active", "Cordoned", "Draining", "Disabled"'),
        (changed(NODE, weightPercent=0), "spec.weightPercent"),
        (changed(NODE, weightPercent=1001), "spec.weightPercent"),
        (changed(NODE, weightPercent=1.5), "spec.weightPercent"),
        (changed(NODE, maxMeetings=0), "spec.maxMeetings"),
        (changed(NODE, drain={"deadlineSeconds": -1}), "spec.drain.deadlineSeconds"),
        (changed(NODE, hosst="bbb1"), 'unknown field "spec.hosst"'),
        (changed(CLUSTER, checksumAlgorithm="md5"), 'supported values: "sha1", "sha256", "sha384", "sha512"'),
        (changed(CLUSTER, health={"timeoutSeconds": 0}), "spec.health.timeoutSeconds"),
        (changed(CLUSTER, health={"timeoutSeconds": 31}), "spec.health.timeoutSeconds"),
        (changed(CLUSTER, health={"unhealthyAfter": 0}), "spec.health.unhealthyAfter"),
        (changed(CLUSTER, health={"healthyAfter": 21}), "spec.health.healthyAfter"),
        (changed(CLUSTER, massFailureGuard={"sharePercent": 101}), "spec.massFailureGuard.sharePercent"),
        (changed(CLUSTER, load={"cpuTerms": 11}), "spec.load.cpuTerms"),
        (changed(CLUSTER, lostMeetings={"endAfterSeconds": -1}), "spec.lostMeetings.endAfterSeconds"),
        (changed(CLUSTER, lostMeetings={"endAfterSeconds": 2592001}), "spec.lostMeetings.endAfterSeconds"),
        (changed(CLUSTER, tls={"caSecretRef": {}}), "spec.tls.caSecretRef.name: Required value"),
        (changed(QUEUE, without="tasks"), "spec.tasks: Required value"),
        (changed(QUEUE, tasks=[]), "spec.tasks"),
        (changed(QUEUE, tasks=["a", "a"]), "must not have the same task twice"),
        (changed(QUEUE, tasks=[f"t{number}" for number in range(21)]), "spec.tasks: Too many: 21"),
        (changed(QUEUE, tasks=["Check Nodes"]), "spec.tasks[0]"),
        (changed(QUEUE, without="schedule"), 'check-nodes needs schedule: "* * * * *"'),
        (changed(QUEUE, without="schedule", tasks=["a"]), 'tickSeconds needs schedule: "* * * * *"'),
        (changed(QUEUE, rateLimit="10/d"), "spec.rateLimit"),
        (changed(QUEUE, priority=10), "spec.priority"),
        (changed(QUEUE, concurrency=0), "spec.concurrency"),
        (changed(QUEUE, concurrency=4), "concurrency must be 1 beside a schedule"),
        (changed(QUEUE, autoscaling={"maxReplicas": 4}), "autoscaling must stand alone: leave out schedule"),
        (on_demand(autoscaling={"maxReplicas": 4}, concurrency=2), "and leave out concurrency"),
        (on_demand(autoscaling={"minReplicas": 5, "maxReplicas": 4}), "minReplicas must not be more than maxReplicas"),
        (on_demand(autoscaling={"minReplicas": 0, "maxReplicas": 4}), "spec.autoscaling.minReplicas"),
        (on_demand(autoscaling={"minReplicas": 3}), "spec.autoscaling.maxReplicas: Required value"),
        (changed(QUEUE, retry={"maxRetries": -1}), "spec.retry.maxRetries"),
        (
            changed(QUEUE, softTimeLimitSeconds=300, timeLimitSeconds=300),
            "softTimeLimitSeconds must be less than timeLimitSeconds",
        ),
        (changed(QUEUE, window={"start": "20:00", "end": "06:00"}), "window must stand without schedule"),
        (on_demand(window={"start": "20:00", "end": "20:00"}), "start and end must differ"),
        (on_demand(window={"start": "20:00", "end": "24:00"}), "spec.window.end"),
        (on_demand(window={"start": "20:00"}), "spec.window.end: Required value"),
        (changed(QUEUE, schedule="every minute"), "schedule must have the five fields of cron"),
        (changed(QUEUE, schedule="* * * *"), "schedule must have the five fields of cron"),
        (changed(QUEUE, schedule="0 * * * * *"), "schedule must have the five fields of cron"),
        (changed(QUEUE, schedule="@every 30s"), "or be one of @hourly"),
        (changed(QUEUE, schedule="TZ=UTC * * * * *"), "a time zone is written in timeZone"),
        (changed(QUEUE, schedule="*/5 * * * *"), 'tickSeconds needs schedule: "* * * * *"'),
        (changed(QUEUE, tickSeconds=7), 'supported values: "5", "10", "15", "20", "30", "60"'),
        (at("99 * * * *"), "minute (0-59), hour (0-23), day of month (1-31), month (1-12 or JAN-DEC)"),
        (at("* * * * 7"), "day of week (0-6 or SUN-SAT; Sunday is 0)"),
        (at("1,,2 * * * *"), "schedule must have the five fields of cron"),
        (at("* 22-5 * * *"), "a range in schedule must not run backwards: write two, e.g. 22-23,0-5 for 22-5"),
        (at("* * * * fri-MON"), "a range in schedule must not run backwards"),
        (changed(QUEUE, without="tickSeconds", schedule="*/5 * * * *"), 'check-nodes needs schedule: "* * * * *"'),
        (
            changed(QUEUE, tasks=["a", "check-nodes"], without="tickSeconds", schedule="@hourly"),
            "BBBQueue of their own",
        ),
        (changed(QUEUE, timeZone="Local"), "timeZone must be a name of the IANA time zone database"),
        (changed(QUEUE, timeZone="+02:00"), "e.g. Europe/Berlin or Etc/UTC"),
        (changed(QUEUE, maxInFlight=0), "spec.maxInFlight"),
        (changed(QUEUE, image="two words"), "spec.image"),
        (changed(QUEUE, resources={"limits": {"memory": "much"}}), "spec.resources.limits.memory"),
        (changed(QUEUE, resources={"limits": {"gpu": 1}}), "write only cpu, memory and ephemeral-storage"),
        (changed(QUEUE, failedJobsHistoryLimit=-1), "spec.failedJobsHistoryLimit"),
        (changed(QUEUE, name="q" * 41), "metadata.name must have at most 40 characters"),
    ],
    ids=lambda value: json.dumps(value["spec"])[:60] if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_refused_with_what_to_write(cluster: Cluster, manifest: dict[str, Any], words: str) -> None:
    assert words in cluster.refusal(manifest)


@pytest.mark.parametrize("schedule", SCHEDULES.strip().replace("\n", "|").split("|"))
def test_a_schedule_is_taken_in_a_queue_exactly_when_a_cron_job_takes_it(cluster: Cluster, schedule: str) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "job", "image": "example/b3lb:1"}]}}
    spec = {"schedule": schedule, "jobTemplate": {"spec": {"template": template}}}
    job = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "probe"}, "spec": spec}
    assert taken(cluster, at(schedule)) == taken(cluster, job)


def taken(cluster: Cluster, manifest: dict[str, Any]) -> bool:
    """Whether the API server accepts a manifest."""
    try:
        cluster.dry_run(manifest)
    except RefusedError:
        return False
    return True


def test_explain_describes_every_field(cluster: Cluster) -> None:
    assert "DNS name or IPv4 address of the server" in cluster("explain", "bbbnodes.spec.host")
    assert "e.g. Europe/Berlin" in cluster("explain", "bbbq.spec.timeZone")
    whole = cluster("explain", "bbbclusters.spec", "--recursive")
    assert "caSecretRef" in whole
    assert "<no description>" not in cluster("explain", "bbbnodes.spec") + cluster("explain", "bbbnodes.status")


def test_the_category_lists_all_kinds_with_columns_from_the_built_status(cluster: Cluster) -> None:
    for manifest in (CLUSTER, NODE, QUEUE):
        cluster("apply", "-f", "-", manifest=manifest)
    stored = cluster.read("bbbnode", "bbb1")
    status = node_status(stored)
    patch = json.dumps({"status": status})
    cluster("patch", "bbbnode", "bbb1", "--subresource=status", "--type=merge", "-p", patch)
    assert cluster.read("bbbnode", "bbb1")["status"] == status
    listed = cluster("get", "b3lb")
    assert "bbbcluster.b3lb.io/default" in listed
    assert "bbbqueue.b3lb.io/core" in listed
    header, row = cluster("get", "bbbn").splitlines()
    assert header.split() == NODE_COLUMNS
    assert row.split()[:-1] == ["bbb1", "Active", "True", "True", "91", "0", "1", "61", "Schedulable"]
    assert "gets new meetings" in cluster("get", "bbbnodes", "-o", "wide")
    assert cluster("get", "bbbc").splitlines()[0].split() == CLUSTER_COLUMNS
    assert cluster("get", "bbbq").splitlines()[0].split() == QUEUE_COLUMNS
    assert cluster("wait", "--for=condition=Ready", "bbbnode/bbb1", "--timeout=5s")
    by_cluster = ("get", "bbbnodes", "-o", "name", "--field-selector")
    assert cluster(*by_cluster, "spec.clusterRef.name=default").split() == ["bbbnode.b3lb.io/bbb1"]
    assert cluster(*by_cluster, "spec.clusterRef.name=other") == ""


def node_status(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the status of a healthy node."""
    now = datetime.now(UTC)
    state = healthy(ready_changed_at=now, meetings=1, attendees=61, cpu=12)
    facts = NodeFacts(
        spec=BBBNodeSpec.model_validate(stored["spec"]),
        generation=stored["metadata"]["generation"],
        freshness=Freshness(tick_started_at=now, tick_finished_at=now, read_at=now),
        record=NodeRecord(revision=1, state=state, load=91.2, observed_at=now),
    )
    return build_node_status(facts, old={}, now=now)


@pytest.fixture
def cron_job(cluster: Cluster) -> dict[str, Any]:
    """The CronJob of a queue that exists."""
    cluster("apply", "-f", "-", manifest=QUEUE)
    queue = cluster.read("bbbqueue", "core")
    return build_cronjob(
        BBBQueueSpec.model_validate(queue["spec"]),
        identity=QueueIdentity(namespace=cluster.namespace, name="core", uid=queue["metadata"]["uid"]),
        defaults=JobDefaults(image="example/b3lb:1", database_secret="db", encryption_secret="keys"),
    )


def test_the_api_server_takes_the_built_cron_job_as_it_is(cluster: Cluster, cron_job: dict[str, Any]) -> None:
    stored = cluster.dry_run(cron_job)
    assert difference(cron_job, stored) == []


def test_the_pods_of_the_built_cron_job_meet_the_restricted_standard(
    cluster: Cluster, cron_job: dict[str, Any]
) -> None:
    template = cron_job["spec"]["jobTemplate"]["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "probe"}}
    assert cluster.dry_run(pod)["metadata"]["name"] == "probe"
    careless = copy.deepcopy(pod)
    del careless["spec"]["containers"][0]["securityContext"]
    assert 'violates PodSecurity "restricted' in cluster.refusal(careless)


def difference(desired: Any, stored: Any, path: str = "") -> list[str]:
    """Return the paths at which something that was asked for is not what is stored."""
    if isinstance(desired, dict):
        inner = stored if isinstance(stored, dict) else {}
        return [found for key in desired for found in difference(desired[key], inner.get(key), f"{path}.{key}")]
    if isinstance(desired, list) and isinstance(stored, list) and len(desired) == len(stored):
        pairs = enumerate(zip(desired, stored, strict=True))
        return [found for index, (one, other) in pairs for found in difference(one, other, f"{path}[{index}]")]
    return [] if desired == stored else [path]
