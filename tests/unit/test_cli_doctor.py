"""``b3lb doctor``: what it says of what the API server knows, how it shows findings, and how it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from b3lb.findings import Check, Finding, Group
from b3lb_cli import cli, examination
from b3lb_cli.cluster_checks import KINDS, ClusterLook, Reply, check_cluster
from b3lb_cli.doctor import as_text
from b3lb_cli.outcome import CommandError, ExitCode
from tests.unit.commands import b3lb
from tests.unit.control_documents import listing
from tests.unit.fake_plane import BEARER, TOKEN, FakePlane, fake_plane, status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSWERS = Check(Group.NODES, "NodeAnswers")
SCHEMA = Check(Group.DATABASE, "DatabaseSchema")


def ok(content: Any) -> Reply:
    return Reply(200, content)


def items(*objects: dict[str, Any]) -> Reply:
    return ok({"items": list(objects)})


def named(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "b3lb"}, **fields}


def pod(**status: Any) -> dict[str, Any]:
    return named("b3lb-operator-x", status=status)


def look(**replies: Any) -> ClusterLook:
    """Return what an API server says of an installation that is well."""
    values: dict[str, Any] = {
        "namespace": "b3lb",
        "version": ok({"gitVersion": "v1.34.1"}),
        "kinds": ok({"resources": [{"name": kind} for kind in KINDS]}),
        "services": items(named("b3lb-operator")),
        "deployments": items(named("b3lb-operator", spec={"replicas": 1}, status={"availableReplicas": 1})),
        "pods": items(pod(containerStatuses=[{"restartCount": 0, "state": {"running": {}}}])),
        "events": items(),
        "token": Reply(200),
    }
    return ClusterLook(**{**values, **replies})


def judge(*, answered: bool = False, **replies: Any) -> dict[str, Finding]:
    found = check_cluster(look(**replies), now=NOW, answered=answered)
    return {item.check: item for item in found}


def test_an_installation_that_is_well_has_a_line_for_each_part() -> None:
    findings = judge()
    assert {item.status for item in findings.values()} == {"ok"}
    assert findings["ApiServer"].message == "Kubernetes v1.34.1"
    assert set(findings) == {
        "ApiServer",
        "DefinitionServed",
        "OperatorDeployment",
        "OperatorPods",
        "OperatorService",
        "OperatorToken",
        "WarningEvents",
        "YourRights",
    }
    assert "DefinitionServed" not in judge(answered=True)


def test_without_a_service_an_operator_that_answers_at_its_address_is_a_warning_only() -> None:
    assert judge(answered=True, services=items())["OperatorService"].status == "warning"


@pytest.mark.parametrize("token", [None, Reply(403), Reply(404)])
def test_a_token_that_was_given_in_another_way_is_no_failure(token: Reply | None) -> None:
    assert judge(answered=True, token=token)["OperatorToken"].status == "warning"


WAITING = [{"restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
RESTARTED = [{"restartCount": 4, "state": {"running": {}}, "lastState": {"terminated": {"reason": "OOMKilled"}}}]
EVENT = {"reason": "FailedCreate", "involvedObject": {"kind": "Job", "name": "core-1"}, "count": 3}


@pytest.mark.parametrize(
    ("replies", "check", "status", "message"),
    [
        ({"version": Reply(problem="no answer")}, "ApiServer", "failed", "the API server cannot be used: no answer"),
        ({"kinds": Reply(404)}, "DefinitionServed", "failed", "the API server does not serve b3lb.io/v1alpha1"),
        (
            {"kinds": ok({"resources": [{"name": kind} for kind in KINDS[1:]]})},
            "DefinitionServed",
            "failed",
            "the API server does not serve bbbclusters",
        ),
        ({"services": items()}, "OperatorService", "failed", "there is no Service of an operator here"),
        ({"token": None}, "OperatorToken", "failed", "the Service names no Secret with a token"),
        ({"token": Reply(404)}, "OperatorToken", "failed", "the Secret with the operator's token is not there"),
        ({"token": Reply(403)}, "OperatorToken", "failed", "you may not read the Secret with the operator's token"),
        (
            {"deployments": items(named("b3lb-operator", spec={"replicas": 0}))},
            "OperatorDeployment",
            "failed",
            "it is scaled to 0",
        ),
        (
            {"deployments": items(named("b3lb-operator", spec={"replicas": 2}, status={"availableReplicas": 1}))},
            "OperatorDeployment",
            "warning",
            "1 of 2 pods are available",
        ),
        (
            {"deployments": items(named("b3lb-operator", spec={}, status={}))},
            "OperatorDeployment",
            "failed",
            "none of its pods is available",
        ),
        (
            {"pods": items(pod(containerStatuses=WAITING))},
            "OperatorPods",
            "failed",
            "its container waits: CrashLoopBackOff",
        ),
        (
            {"pods": items(pod(containerStatuses=RESTARTED))},
            "OperatorPods",
            "warning",
            "it was restarted 4 times, last by OOMKilled",
        ),
        ({"pods": items(pod(phase="Pending"))}, "OperatorPods", "failed", "it has not started: Pending"),
        ({"pods": Reply(403)}, "YourRights", "unknown", "you may not list pods, so these were not looked at"),
        (
            {"events": items({**named("e"), **EVENT, "lastTimestamp": "2026-03-01T11:30:00Z"})},
            "WarningEvents",
            "warning",
            "in the last hour: FailedCreate at job/core-1, 3 times",
        ),
    ],
)
def test_each_fault_has_its_line_and_a_remedy(replies: dict[str, Any], check: str, status: str, message: str) -> None:
    finding = judge(**replies)[check]
    assert (finding.status, finding.message) == (status, message)
    assert finding.remedy


def test_events_of_yesterday_are_none() -> None:
    old = (NOW - timedelta(hours=5)).isoformat()
    assert judge(events=items({**named("e"), **EVENT, "lastTimestamp": old}))["WarningEvents"].status == "ok"


def test_findings_are_shown_by_group_with_what_failed_first_and_what_to_do() -> None:
    text = as_text(
        [
            ANSWERS.ok("1 of 2 nodes answer getMeetings"),
            SCHEMA.ok("schema 6 serves this version"),
            ANSWERS.failed("Refused: no", remedy="look at it", namespace="b3lb", object="bbbnode/bbb1"),
        ]
    )
    assert text == (
        "Nodes\n"
        "  FAILED   NodeAnswers bbbnode/bbb1 in b3lb: Refused: no\n"
        "           do: look at it\n"
        "  ok       NodeAnswers: 1 of 2 nodes answer getMeetings\n"
        "\n"
        "Database\n"
        "  ok       DatabaseSchema: schema 6 serves this version\n"
        "\n"
        "1 failed, 0 warnings, 0 unknown, 2 ok\n"
    )


class Operator:
    """Answers with findings, or not at all."""

    def __init__(self, *findings: Finding, problem: str = "") -> None:
        self.findings, self.problem = findings, problem

    def get(self, path: str, **query: object) -> dict[str, Any]:
        assert (path, query) == ("/doctor", {"namespace": "b3lb"})
        if self.problem:
            raise CommandError(ExitCode.AWAY, self.problem)
        return {"kind": "FindingList", "items": [finding.document() for finding in self.findings]}


def run(monkeypatch: pytest.MonkeyPatch, operator: Operator, *arguments: str) -> int:
    monkeypatch.setattr(examination, "_look", lambda _options: look())
    monkeypatch.setattr(examination, "operator", lambda _options: operator)
    return cli.main(["doctor", "-n", "b3lb", *arguments])


def test_a_warning_alone_is_exit_code_0_and_progress_goes_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Operator(SCHEMA.warning("old", remedy="upgrade"))) == 0
    output, errors = capsys.readouterr()
    assert output.startswith("Database\n  WARNING  DatabaseSchema: old\n           do: upgrade\n")
    assert errors.splitlines()[0] == "asking the API server …"


def test_a_failure_is_exit_code_1_and_programs_get_the_items_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = ANSWERS.failed("no", remedy="do it", namespace="b3lb", object="bbbnode/one")
    assert run(monkeypatch, Operator(failed), "-o", "json") == 1
    output, errors = capsys.readouterr()
    document = json.loads(output)
    assert document["kind"] == "FindingList"
    assert document["items"][-1] == failed.document()
    assert "something is wrong: 1 failed" in errors


def test_an_operator_that_does_not_answer_is_a_failure_beside_what_the_api_server_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Operator(problem="the operator is not ready: no database")) == 1
    output, _ = capsys.readouterr()
    assert "FAILED   OperatorAnswers: the operator is not ready: no database; so nothing is known" in output
    assert "ok       DefinitionServed: all 7 kinds are served" in output


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakePlane]:
    """An API server that knows the installation, with an operator behind it."""
    for name in [name for name in os.environ if name.startswith(("B3LB_", "KUBE"))]:
        monkeypatch.delenv(name)
    with fake_plane() as made:
        known = look()
        made.answers = {
            "/version": (200, known.version.content),
            "/apis/b3lb.io/v1alpha1": (200, known.kinds.content),
            "/apis/apps/v1/namespaces/b3lb/deployments": (200, known.deployments.content),
            "/api/v1/namespaces/b3lb/pods": (200, known.pods.content),
            "/api/v1/namespaces/b3lb/events": (200, known.events.content),
        }
        made.documents["/doctor"] = listing("FindingList", SCHEMA.ok("schema 6 serves this version").document())
        monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig(tmp_path)))
        yield made


def test_a_kubeconfig_is_enough(plane: FakePlane) -> None:
    code, out, err = b3lb("doctor")
    assert (code, err.count("\n")) == (0, 2)
    assert "ok       OperatorToken service/b3lb-operator in b3lb: the Secret with the operator's token is there" in out
    assert "ok       DatabaseSchema: schema 6 serves this version" in out
    assert out.endswith("0 failed, 0 warnings, 0 unknown, 8 ok\n")
    assert plane.asked[-1][0] == "/doctor"
    for secret in (TOKEN, BEARER):
        assert secret not in out + err


def test_what_a_person_may_not_read_is_said_and_the_rest_is_shown(plane: FakePlane) -> None:
    plane.answers["/api/v1/namespaces/b3lb/pods"] = status(403, "forbidden")
    plane.answers["/api/v1/namespaces/b3lb/secrets/b3lb-control"] = status(403, "forbidden")
    code, out, _ = b3lb("doctor")
    assert code == 1
    assert "UNKNOWN  YourRights namespace/b3lb in b3lb: you may not list pods, so these were not looked at" in out
    assert "FAILED   OperatorToken service/b3lb-operator in b3lb: you may not read the Secret" in out
    assert "FAILED   OperatorAnswers: forbidden" in out


def test_an_operator_of_another_version_whose_answer_makes_no_sense_is_a_failure(plane: FakePlane) -> None:
    plane.documents["/doctor"] = listing("FindingList", {"status": "ok"})
    code, out, _ = b3lb("doctor", "-o", "yaml")
    assert code == 1
    assert "is it of the same version as this command?" in out


def test_a_document_survives_the_way_from_the_operator_to_the_command() -> None:
    finding = ANSWERS.failed("no", remedy="do it", namespace="b3lb", object="bbbnode/one")
    assert Finding.from_document(finding.document()) == finding
    newer = {**finding.document(), "group": "Storage", "status": "odd"}
    assert (Finding.from_document(newer).group, Finding.from_document(newer).status) == (Group.CLUSTER, "unknown")
    with pytest.raises(ValueError, match="lacks check or message"):
        Finding.from_document({"check": "NodeAnswers"})
