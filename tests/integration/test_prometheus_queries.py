"""Debian's Prometheus reads a whole farm's page: every query of the dashboard has data, every rule works."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.dashboard import dashboard
from dev.helm import CHART
from dev.processes import wait_until
from dev.prometheus import Prometheus
from tests.unit.full_exposition import full_exposition

pytestmark = pytest.mark.integration

RULES = "prometheus-rules.yaml"
QUERIES = [
    (f"{panel['title']} {target['refId']}", target["expr"])
    for panel in dashboard()["panels"]
    for target in panel.get("targets", ())
]
_VARIABLES = {"$namespace": ".*", "$cluster": ".*", "$__rate_interval": "1m"}


@pytest.fixture(scope="module")
def page() -> Iterator[int]:
    """The port of a server whose every path is the page of a farm."""
    text = asyncio.run(full_exposition()).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(http.HTTPStatus.OK)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def running(prometheus: Path, page: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus after three scrapes and two evaluations of the rules, without the Prometheus Operator."""
    assert prometheus
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [
            {"job_name": "b3lb", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{page}"]}]}
        ],
    }
    rules = {RULES: (CHART / "files" / RULES).read_text(encoding="utf-8")}
    with Prometheus(configuration, tmp_path_factory.mktemp("prometheus"), rules=rules) as server:
        wanted = "count_over_time(b3lb_build_info[1m]) >= 3 and on () count_over_time(celery_queue_length[1m]) >= 2"
        assert wait_until(lambda: bool(server.query(wanted)), timeout=30, interval=0.2)
        yield server


@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=[title for title, _ in QUERIES])
def test_a_query_of_the_dashboard_has_data(running: Prometheus, title: str, expression: str) -> None:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression.replace('"$1"', ""), title
    assert running.query(expression), title


@pytest.mark.parametrize("name", ["namespace", "cluster"])
def test_a_variable_of_the_dashboard_has_values(running: Prometheus, name: str) -> None:
    (variable,) = (item for item in dashboard()["templating"]["list"] if item["name"] == name)
    query = variable["query"]["query"].replace("$namespace", ".*")
    selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    assert {series["metric"][label] for series in running.query(selector)} == {
        "farm" if name == "namespace" else "default"
    }


def test_every_rule_works_and_every_text_of_an_alert_can_be_written(running: Prometheus) -> None:
    rules = [rule for group in running.api("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["health"] for rule in rules if rule["health"] != "ok"} == {}
    alerts = running.api("alerts")["alerts"]
    assert {alert["labels"]["alertname"] for alert in alerts} >= {
        "B3LBNodeDown",
        "B3LBTenantNearLimit",
        "B3LBWorkerDown",
    }
    assert "error" not in json.dumps(alerts)
    (down,) = (alert for alert in alerts if alert["labels"]["alertname"] == "B3LBNodeDown")
    assert down["labels"] | {"node": "bbb2", "namespace": "farm", "cluster": "default"} == down["labels"]
    assert down["annotations"]["description"].startswith("It is not Ready (Timeout) and gets no new meetings.")


def test_a_query_that_prometheus_refuses_is_an_error(running: Prometheus) -> None:
    with pytest.raises(ValueError, match="parse error"):
        running.query("sum(")
