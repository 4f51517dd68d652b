"""What the doctor says of definitions, of the operator's rights, and of queues, from facts that tests make up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml

from b3lb.findings import Finding
from b3lb.resources import RESOURCES, BBBQueueSpec
from b3lb.tasks import TASKS
from b3lb_operator.doctor.definitions import DefinitionFacts, check_definitions
from b3lb_operator.doctor.queues import QueueState, check_queues
from b3lb_operator.doctor.rights import RULES, RightsFacts, Rule, check_rights, expand, missing_rights
from b3lb_operator.kinds import CRON_JOB, Manifest
from b3lb_operator.manifests.cronjob import cron_job_name
from b3lb_operator.manifests.queue_metrics import queue_sample
from b3lb_operator.manifests.queue_status import QueueFacts
from b3lb_operator.resolve import parse_spec
from dev.environment import REPOSITORY
from tests.unit.operator_fakes import NAMESPACE, NOW, manifest_of, queue_manifest

SERVED = frozenset(resource.plural for resource in RESOURCES)


def published() -> dict[str, Any]:
    """Return the schemas of the CRDs of this version, as an API server publishes them."""
    found = {}
    for path in (REPOSITORY / "crds").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        found[spec["names"]["kind"]] = spec["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def test_definitions_of_this_version_are_well() -> None:
    served, schema = check_definitions(DefinitionFacts(served=SERVED, schemas=published()))
    assert (served.status, served.message) == ("ok", "all 7 kinds of b3lb.io are served as v1alpha1")
    assert (schema.status, schema.message) == ("ok", "their fields are those of this version")


def test_a_definition_that_is_not_served_fails_with_the_command_that_brings_it() -> None:
    (finding, *_) = check_definitions(DefinitionFacts(served=SERVED - {"bbbqueues"}, schemas=published()))
    assert (finding.status, finding.object) == ("failed", "customresourcedefinition/bbbqueues.b3lb.io")
    assert "kubectl apply --server-side -f crds/" in finding.remedy


def test_an_older_definition_fails_and_a_newer_one_warns() -> None:
    schemas = published()
    del schemas["BBBQueue"]["properties"]["spec"]["properties"]["retry"]["properties"]["maxRetries"]
    schemas["BBBNode"]["properties"]["spec"]["properties"]["further"] = {"type": "string"}
    _, newer, older = sorted(
        check_definitions(DefinitionFacts(served=SERVED, schemas=schemas)), key=lambda finding: finding.object
    )
    assert (newer.status, newer.object) == ("warning", "customresourcedefinition/bbbnodes.b3lb.io")
    assert "ignores spec.further" in newer.message
    assert older.status == "failed"
    assert "lacks spec.retry.maxRetries: what it lacks is dropped" in older.message


def test_an_api_server_that_does_not_answer_makes_definitions_and_rights_unknown() -> None:
    (definitions,) = check_definitions(DefinitionFacts(error="away"))
    rights = check_rights(RightsFacts(namespace=NAMESPACE, error="away"))
    assert (definitions.status, rights.status) == ("unknown", "unknown")
    assert definitions.message == rights.message == "the API server was not asked: away"


def role_rules() -> list[dict[str, Any]]:
    """Return the rules of the Role that the operator gets."""
    objects = yaml.safe_load_all((REPOSITORY / "deploy" / "rbac.yaml").read_text(encoding="utf-8"))
    (role,) = (item for item in objects if item["kind"] == "Role")
    rules: list[dict[str, Any]] = role["rules"]
    return rules


def test_what_the_doctor_asks_for_is_exactly_what_the_role_allows() -> None:
    given = [
        Rule(group, tuple(rule["resources"]), tuple(rule["verbs"]), tuple(rule.get("resourceNames", ())))
        for rule in role_rules()
        for group in rule["apiGroups"]
    ]
    assert set(expand(RULES)) == set(expand(given))


def test_all_rights_are_found_in_the_role_and_in_that_of_an_administrator() -> None:
    assert missing_rights(role_rules()) == []
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    assert missing_rights([everything]) == []
    assert check_rights(RightsFacts(namespace=NAMESPACE, rules=[everything])).status == "ok"


@pytest.mark.parametrize(
    ("rule", "missing"),
    [
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, True),
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"], "resourceNames": ["one"]}, True),
        ({"apiGroups": ["apps"], "resources": ["pods"], "verbs": ["list"]}, True),
        ({"apiGroups": [""], "resources": ["*"], "verbs": ["list"]}, False),
    ],
)
def test_a_rule_counts_only_for_its_groups_verbs_and_names(rule: dict[str, Any], missing: bool) -> None:
    others = [item for item in role_rules() if item["resources"] != ["pods"]]
    assert [str(right) for right in missing_rights([*others, rule])] == (["list pods"] if missing else [])


def test_a_missing_right_fails_and_is_unknown_where_the_api_server_does_not_tell_all() -> None:
    failed = check_rights(RightsFacts(namespace=NAMESPACE, rules=role_rules()[1:]))
    assert failed.status == "failed"
    assert failed.message.startswith("the operator may not list bbbclusters.b3lb.io, watch bbbclusters.b3lb.io")
    assert "and " in failed.message.rpartition(",")[2]
    unknown = check_rights(RightsFacts(namespace=NAMESPACE, rules=role_rules()[1:], incomplete="a webhook decides"))
    assert unknown.status == "unknown"


def queue_state(
    name: str = "core",
    *,
    ready: tuple[str, str, str] = ("True", "Scheduled", "it runs"),
    cron_job: dict[str, Any] | None = None,
    age: timedelta = timedelta(hours=1),
    succeeded: timedelta | None = timedelta(seconds=40),
    **spec: Any,
) -> QueueState:
    """Return a queue that runs each minute and succeeded a moment ago, unless told otherwise."""
    status, reason, message = ready
    condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
    manifest: Manifest = {**queue_manifest(name, **spec), "status": {"conditions": [condition]}}
    parsed = parse_spec(BBBQueueSpec, manifest)
    assert isinstance(parsed, BBBQueueSpec)
    made = manifest_of(CRON_JOB, cron_job_name(name), {"suspend": parsed.suspend, **(cron_job or {})})
    made["metadata"]["creationTimestamp"] = (NOW - age).isoformat()
    made["status"] = {"lastScheduleTime": (NOW - timedelta(seconds=50)).isoformat()}
    if succeeded is not None:
        made["status"]["lastSuccessfulTime"] = (NOW - succeeded).isoformat()
    sample = queue_sample(
        QueueFacts(spec=parsed, generation=1, cron_job=made), namespace=NAMESPACE, queue=name, old={}, now=NOW
    )
    return QueueState(manifest=manifest, spec=parsed, cron_job=None if cron_job == {} else made, sample=sample)


def of_queues(*queues: QueueState, nodes: int = 1) -> dict[tuple[str, str], Finding]:
    found = check_queues(queues, nodes={NAMESPACE: nodes}, now=NOW)
    return {(item.check, item.object or item.message): item for item in found}


ALL = list(TASKS)


def test_a_queue_that_runs_is_well() -> None:
    findings = of_queues(queue_state(tasks=ALL))
    assert {item.status for item in findings.values()} == {"ok"}
    assert findings["QueueSuccess", "bbbqueue/core"].message == "its last run succeeded 40 s ago"
    assert findings["QueueSchedule", "bbbqueue/core"].message == 'CronJob b3lb-core runs at "* * * * *" (Etc/UTC)'
    assert findings["TaskRouting", "every task is in exactly one queue"]


@pytest.mark.parametrize(
    ("queue", "check", "status", "message"),
    [
        (
            queue_state(ready=("False", "Suspended", "no new pods"), suspend=True),
            "QueueReady",
            "warning",
            "no new pods",
        ),
        (queue_state(ready=("False", "JobsFailing", "why")), "QueueReady", "failed", "JobsFailing: why"),
        (queue_state(ready=("Unknown", "Pending", "not yet")), "QueueReady", "unknown", "not yet"),
        (queue_state(cron_job={}), "QueueSchedule", "failed", "there is no CronJob b3lb-core"),
        (
            queue_state(cron_job={"suspend": True}),
            "QueueSchedule",
            "failed",
            "CronJob b3lb-core is suspended although the queue is not",
        ),
        (
            queue_state(succeeded=timedelta(minutes=4)),
            "QueueSuccess",
            "failed",
            "its last success was 4 m ago, more than 3 periods",
        ),
        (
            queue_state(succeeded=None),
            "QueueSuccess",
            "failed",
            "no run succeeded since its CronJob was made 60 m ago",
        ),
        (
            queue_state(succeeded=None, age=timedelta(seconds=30)),
            "QueueSuccess",
            "unknown",
            "no run succeeded since its CronJob was made 30 s ago",
        ),
    ],
)
def test_each_fault_of_a_queue_has_its_line(queue: QueueState, check: str, status: str, message: str) -> None:
    finding = of_queues(queue)[check, "bbbqueue/core"]
    assert (finding.status, finding.message) == (status, message)


def test_a_task_in_two_queues_fails_and_one_in_none_warns_unless_it_polls_nodes() -> None:
    twice = of_queues(queue_state(tasks=ALL), queue_state("other", tasks=["update-statistics"], schedule="*/5 * * * *"))
    told = twice["TaskRouting", "bbbqueue/other"]
    assert (told.status, told.message) == (
        "failed",
        "update-statistics is in several queues: core, other; only the oldest runs it",
    )
    nowhere = of_queues(queue_state(tasks=["check-nodes", "update-secrets-lists"]))
    assert nowhere["TaskRouting", "no BBBQueue has the task update-statistics"].status == "warning"
    assert of_queues()["TaskRouting", "no BBBQueue has the task check-nodes"].status == "failed"
    assert of_queues(nodes=0)["TaskRouting", "no BBBQueue has the task check-nodes"].status == "warning"
