"""What the doctor says of servers, from answers that tests make up."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from b3lb.bbb.client import NodeTarget
from b3lb.findings import Finding
from b3lb.health import LoadReason, LoadReport, Observation, Reason
from b3lb.resources import BBBNodeSpec
from b3lb.resources.conditions import ConditionStatus
from b3lb.resources.reasons import NODE_REASONS
from b3lb_operator.doctor.certificates import Certificate
from b3lb_operator.doctor.nodes import NodeEntry, check_nodes
from b3lb_operator.doctor.probes import NodeProbe
from b3lb_operator.doctor.remedies import NODE_REMEDIES, NodePlace, node_remedy
from b3lb_operator.resolve import parse_spec
from tests.unit.operator_fakes import NAMESPACE, NOW, node_manifest

GOOD = Observation(Reason.RESPONDING, "", 1, 5, LoadReport(2500), 0.1)
RESPONDING = ("True", "Responding", "")
CERTIFICATE = Certificate(
    not_before=NOW - timedelta(days=60),
    not_after=NOW + timedelta(days=30),
    names=("one.example.org",),
    issuer="An Authority",
    self_signed=False,
)


def failing(reason: Reason, message: str) -> Observation:
    return Observation(reason, message, 0, 0, LoadReport(None, LoadReason.UNREACHABLE, message), 0.1)


def entry(
    name: str = "one",
    *,
    ready: tuple[str, str, str] = RESPONDING,
    schedulable: tuple[str, str, str] = ("True", "Schedulable", ""),
    asked: bool = True,
    algorithm: str = "sha256",
    **probe: Any,
) -> NodeEntry:
    """Return a node that is well, unless told otherwise."""
    conditions = [
        {"type": type_, "status": status, "reason": reason, "message": message}
        for type_, (status, reason, message) in (("Ready", ready), ("Schedulable", schedulable))
    ]
    manifest = node_manifest(name, status={"conditions": conditions})
    spec = parse_spec(BBBNodeSpec, manifest)
    assert isinstance(spec, BBBNodeSpec)
    target = NodeTarget(
        name=name,
        api_url=spec.api_url,
        load_url=spec.load_url,
        secret="a-secret",
        algorithm=algorithm,
        ca_certificates=None,
        timeout_seconds=5,
    )
    values: dict[str, Any] = {"observation": GOOD, "certificate": CERTIFICATE, "meetings": frozenset({f"{name}-m"})}
    made = NodeProbe(namespace=NAMESPACE, target=target, **{**values, **probe})
    return NodeEntry(manifest=manifest, spec=spec, probe=made if asked else None)


def of_nodes(*entries: NodeEntry) -> dict[tuple[str, str], Finding]:
    return {(item.check, item.object): item for item in check_nodes(entries, now=NOW)}


def test_servers_that_are_well_are_counted_in_one_line_for_each_check() -> None:
    findings = of_nodes(entry("one"), entry("two"))
    assert {check: item.message for (check, _), item in findings.items()} == {
        "NodeAnswers": "2 of 2 nodes answer getMeetings",
        "NodeCertificate": "2 of 2 nodes have a good certificate",
        "NodeClock": "2 of 2 nodes have the right time",
        "NodeChecksum": "2 of 2 nodes take a strong checksum algorithm",
        "NodeLoad": "2 of 2 nodes report their load",
        "NodeIdentity": "2 of 2 nodes are servers of their own",
    }
    assert {item.status for item in findings.values()} == {"ok"}


@pytest.mark.parametrize(
    ("ill", "check", "status", "message"),
    [
        (entry(observation=failing(Reason.REFUSED, "it refuses")), "NodeAnswers", "failed", "Refused: it refuses"),
        (entry(observation=None), "NodeAnswers", "unknown", "it was not asked to the end in time"),
        (
            entry(asked=False, ready=("False", "SecretNotFound", "no Secret")),
            "NodeAnswers",
            "failed",
            "SecretNotFound: no Secret",
        ),
        (
            entry(asked=False, ready=("False", "Disabled", "")),
            "NodeAnswers",
            "warning",
            "it is Disabled, so that nobody asks it",
        ),
        (
            entry(ready=("Unknown", "Stale", "no tick")),
            "NodeAnswers",
            "failed",
            "the server answers, but its BBBNode says Stale: no tick",
        ),
        (
            entry(certificate=dataclasses.replace(CERTIFICATE, not_after=NOW + timedelta(days=13, hours=1))),
            "NodeCertificate",
            "warning",
            "it ends in 13 days; it is for one.example.org, by An Authority, until 2026-03-14 13:00 UTC",
        ),
        (
            entry(
                observation=failing(Reason.TLS, "certificate has expired"),
                certificate=dataclasses.replace(CERTIFICATE, not_after=NOW - timedelta(days=1)),
            ),
            "NodeCertificate",
            "failed",
            "certificate has expired; it is for one.example.org, by An Authority, until 2026-02-28 12:00 UTC",
        ),
        (entry(clock_offset=timedelta(seconds=9)), "NodeClock", "warning", "its clock is 9 s ahead of the operator's"),
        (
            entry(clock_offset=-timedelta(hours=1)),
            "NodeClock",
            "failed",
            "its clock is 3600 s behind the operator's",
        ),
        (
            entry(observation=failing(Reason.CHECKSUM_ERROR, "no"), others=("sha1", "sha512")),
            "NodeChecksum",
            "failed",
            "the server refuses checksums by sha256 and takes sha1, sha512",
        ),
        (
            entry(observation=failing(Reason.CHECKSUM_ERROR, "wrong secret"), others=()),
            "NodeAnswers",
            "failed",
            "ChecksumError: wrong secret",
        ),
        (entry(algorithm="sha1", others=()), "NodeChecksum", "warning", "the server takes checksums by sha1 only"),
        (
            entry(algorithm="sha1", others=("sha256",)),
            "NodeChecksum",
            "warning",
            "its cluster signs by sha1, though the server takes sha256",
        ),
        (
            entry(observation=dataclasses.replace(GOOD, load=LoadReport(None, LoadReason.NOT_FOUND, ""))),
            "NodeLoad",
            "warning",
            "NotFound: its load end point gives no value",
        ),
        (
            entry(schedulable=("False", "DuplicateServer", "it is bbbnode zero")),
            "NodeIdentity",
            "failed",
            "it is bbbnode zero",
        ),
    ],
)
def test_each_fault_of_a_server_has_its_line_and_a_remedy(
    ill: NodeEntry, check: str, status: str, message: str
) -> None:
    finding = of_nodes(ill, entry("well"))[check, "bbbnode/one"]
    assert (finding.status, finding.message) == (status, message)
    assert bool(finding.remedy) == (status != "unknown")
    assert finding.namespace == NAMESPACE


def test_of_two_nodes_that_list_one_meeting_the_younger_one_is_told() -> None:
    findings = of_nodes(
        entry("older", meetings=frozenset({"m-1"})), entry("younger", meetings=frozenset({"m-1", "m-2"}))
    )
    assert findings["NodeIdentity", "bbbnode/younger"].message == "it lists the same meetings as bbbnode/older"
    assert findings["NodeIdentity", ""].message == "1 of 2 nodes are servers of their own"


def test_without_nodes_or_without_a_database_there_is_one_line() -> None:
    (none,) = check_nodes([], now=NOW)
    assert (none.status, none.message) == ("ok", "there are no BBBNodes yet")
    (unknown,) = check_nodes([entry()], now=NOW, database_error="away")
    assert unknown.status == "unknown"


def test_every_reason_for_which_a_node_is_not_ready_has_a_remedy_whose_places_are_filled() -> None:
    reasons = {
        item.reason for item in NODE_REASONS if item.condition == "Ready" and item.status != ConditionStatus.TRUE
    }
    assert reasons == set(NODE_REMEDIES)
    place = NodePlace(namespace="farm", name="bbb1", api_url="https://bbb1.example.org/bigbluebutton/api", secret="s")
    for reason in reasons:
        assert "{name" not in node_remedy(reason, place)
    tls = node_remedy("TLS", place)
    assert tls.startswith("openssl s_client -connect bbb1.example.org:443 -servername bbb1.example.org")
    assert node_remedy("Disabled", place).endswith('-p \'{"spec":{"state":"Active"}}\'')


def test_no_finding_of_a_node_holds_its_secret() -> None:
    assert "a-secret" not in repr(of_nodes(entry(observation=failing(Reason.CHECKSUM_ERROR, "no"), others=())))


def test_a_server_that_was_not_asked_to_the_end_has_no_good_certificate() -> None:
    findings = of_nodes(entry("one"), entry("two", observation=None, certificate=None))
    assert findings["NodeCertificate", ""].message == "1 of 1 nodes have a good certificate"


@pytest.mark.parametrize("reason", [Reason.HTTP_STATUS, Reason.UNREACHABLE, Reason.INVALID_XML])
def test_an_address_is_no_command_for_the_shell_into_which_a_remedy_is_copied(reason: Reason) -> None:
    place = NodePlace(namespace="farm", name="one", api_url="https://one.example.org/$(reboot);x/api")
    assert "curl -sSi --max-time 5 'https://one.example.org/$(reboot);x/api'" in node_remedy(reason, place)


def test_an_ipv6_address_stands_in_brackets_before_its_port() -> None:
    place = NodePlace(namespace="farm", name="one", api_url="https://[2001:db8::1]:8443/bigbluebutton/api")
    remedy = node_remedy(Reason.TLS, place)
    assert remedy.startswith("openssl s_client -connect '[2001:db8::1]:8443' -servername 2001:db8::1 ")
