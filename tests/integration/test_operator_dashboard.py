"""The pages of a real operator: its own, behind the token, and those that `b3lb dashboard` serves on this machine."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import pytest

from dev.controlplane import ControlPlane
from dev.farm.process import Farm
from dev.postgres import Postgres
from tests.integration.operator_cluster import OperatorCluster, api_secret, bbb_cluster, bbb_node, bbb_queue

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

TOKEN = "the-token-of-this-very-test"
PASSWORD = {"Authorization": f"Basic {base64.b64encode(f'admin:{TOKEN}'.encode()).decode()}"}


@pytest.fixture
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> Iterator[OperatorCluster]:
    environment = {"B3LB_CONTROL_TOKEN": TOKEN, "B3LB_DASHBOARD": "true"}
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path, environment=environment) as running:
        yield running
    assert running.problems() == []
    assert TOKEN not in running.log.read_text()


def page(url: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """Return status and text of a page."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - our own address
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310 - our own address
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def command(cluster: OperatorCluster) -> Iterator[str]:
    """Run `b3lb dashboard` and yield the address that it says; Ctrl-C ends it well."""
    program = [sys.executable, "-m", "b3lb_cli", "dashboard", "--port=0", "--no-browser"]
    environment = {"PATH": os.environ["PATH"], "B3LB_SERVER": f"http://127.0.0.1:{cluster.port}", "B3LB_TOKEN": TOKEN}
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = re.fullmatch(r"the farm is at (http://localhost:\d+/) until Ctrl-C\n", process.stdout.readline())
            assert said is not None
            yield said[1]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_the_operator_and_the_command_show_the_farm(cluster: OperatorCluster) -> None:
    own = f"http://127.0.0.1:{cluster.port}/dashboard"
    with Farm(nodes=1, meetings=4, attendees=3, frozen=True) as farm:
        (node,) = farm.nodes
        cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node), bbb_queue())
        cluster.expect_condition("bbbnode", node.name, "True/Responding", within=10)
        cluster.expect("the page has the node", lambda: f">{node.name}</a>" in page(own, PASSWORD)[1], within=5)
    assert page(own, {})[0] == 401
    assert page(f"{own}/nodes/{cluster.namespace}/{node.name}", PASSWORD)[0] == 200
    assert page(f"{own}/queues/{cluster.namespace}/core", PASSWORD)[0] == 200
    with command(cluster) as url:
        status, text = page(url, {})
        assert status == 200
        assert f">{node.name}</a>" in text
        assert "Queue core is suspended" in text
        assert TOKEN not in text
        assert page(f"{url}queues/{cluster.namespace}/core", {})[0] == 200
        assert page(url, {"Host": "evil.example.org"})[0] == 421
