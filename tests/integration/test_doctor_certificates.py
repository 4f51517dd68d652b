"""Servers with real certificates, good and bad, as the doctor sees them: it names what is wrong and with which one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from b3lb.bbb.client import NodeClient
from b3lb.findings import Finding
from b3lb.resources import BBBNodeSpec
from b3lb_operator.doctor.certificates import read_certificate
from b3lb_operator.doctor.nodes import NodeEntry, check_nodes
from b3lb_operator.doctor.probes import NodeProbe, probe_nodes
from b3lb_operator.kinds import NODE
from b3lb_operator.resolve import parse_spec
from tests.integration.bbb_servers import ONE, FakeNode, hangs, http, running, sends
from tests.integration.test_node_client_tls import CA, LOOPBACK, NOW, Certificate, issue
from tests.unit.operator_fakes import NAMESPACE, manifest_of

pytestmark = pytest.mark.integration


@asynccontextmanager
async def probed(certificate: Certificate, directory: Path, *, ca: str | None = CA.pem) -> AsyncIterator[NodeProbe]:
    """Serve a node with a certificate and yield what it answered."""
    node = FakeNode(sends(http(ONE)))
    async with running(node, context=certificate.server_context(directory)), NodeClient() as client:
        (probe,) = await probe_nodes(client, [(NAMESPACE, node.target(ca=ca))], seconds=3)
        yield probe


def judge(probe: NodeProbe, *, now: datetime = NOW) -> Finding:
    """Return what is said of the certificate."""
    spec = {"apiUrl": probe.target.api_url, "secretRef": {"name": "one"}}
    manifest = {**manifest_of(NODE, probe.name, spec), "status": {"conditions": []}}
    entry = NodeEntry(manifest=manifest, spec=parse_spec(BBBNodeSpec, manifest), probe=probe)
    (finding,) = (item for item in check_nodes([entry], now=now) if item.check == "NodeCertificate")
    return finding


@pytest.mark.parametrize(
    ("certificate", "ca", "status", "words"),
    [
        (issue(LOOPBACK, issuer=CA, ends=NOW + timedelta(days=90)), CA.pem, "ok", ["have a good certificate"]),
        (issue(LOOPBACK, issuer=CA, ends=NOW + timedelta(days=3, hours=1)), CA.pem, "warning", ["it ends in 3 days"]),
        (
            issue(LOOPBACK, issuer=CA, ends=NOW - timedelta(hours=1)),
            CA.pem,
            "failed",
            ["certificate has expired", "it is for 127.0.0.1, by authority, until"],
        ),
        (
            issue(x509.DNSName("bbb1.example.org"), issuer=CA, ends=NOW + timedelta(days=90)),
            CA.pem,
            "failed",
            ["hostname mismatch", "it is for bbb1.example.org, by authority"],
        ),
        (issue(LOOPBACK), CA.pem, "failed", ["self-signed certificate", "by itself"]),
        (issue(LOOPBACK, issuer=CA), None, "failed", ["certificate of an unknown authority", "by authority"]),
    ],
)
async def test_each_certificate_is_judged_and_described(
    certificate: Certificate, ca: str | None, status: str, words: list[str], tmp_path: Path
) -> None:
    async with probed(certificate, tmp_path, ca=ca) as probe:
        finding = judge(probe)
    assert finding.status == status
    for word in words:
        assert word in finding.message
    if status == "failed":
        assert finding.remedy.startswith("openssl s_client -connect 127.0.0.1:")


async def test_a_server_that_does_not_answer_the_handshake_costs_no_more_than_its_time() -> None:
    node = FakeNode(hangs())
    began = asyncio.get_running_loop().time()
    async with running(node):
        assert await read_certificate(f"https://127.0.0.1:{node.port}/api", seconds=0.2) is None
    assert await read_certificate("http://127.0.0.1:1/api", seconds=0.2) is None
    assert asyncio.get_running_loop().time() - began < 2


async def test_servers_that_hang_are_told_as_not_asked_to_the_end_and_do_not_hold_up_the_others() -> None:
    hanging, well = FakeNode(hangs(), load=hangs()), FakeNode(sends(http(ONE)))
    async with running(hanging, well), NodeClient() as client:
        targets = [(NAMESPACE, hanging.target(timeout=30)), (NAMESPACE, well.target())]
        first, second = await probe_nodes(client, targets, seconds=0.5)
    assert first.observation is None
    assert second.observation is not None
    assert second.observation.succeeded
