"""Grafana's dashboard of a farm: what each panel shows, and the JSON that Grafana reads.

The model is that of https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dev.dashboard_panel import NAMESPACES, Panel
from dev.dashboard_recordings import RECORDINGS

_NODES = 'namespace=~"$namespace",cluster=~"$cluster"'
_NODE = "{{namespace}}/{{node}}"
_QUEUE = "{{namespace}}/{{queue}}"
_TASK = "{{queue}} {{task}}"
_WIDTH = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _stat(title: str, expression: str, *, unit: str = "short", text: str = "") -> Panel:
    return Panel(title, ((expression, ""),), unit=unit, kind="stat", width=4, height=4, text=text)


def _nodes(state: str) -> str:
    return f'sum(max by (namespace, cluster) (b3lb_cluster_nodes{{{_NODES},state="{state}"}}))'


def _of_nodes(name: str, *by: str) -> str:
    """Return a sum over nodes, whichever of two operators tells of them."""
    total = f"sum by ({', '.join(by)})" if by else "sum"
    return f"{total} (max by (namespace, cluster, node) ({name}{{{_NODES}}}))"


def _of_clusters(name: str) -> str:
    return f"sum(max by (namespace, cluster) ({name}{{{_NODES}}}))"


def _of_states(name: str) -> str:
    return f"sum by (cluster, state) (max by (namespace, cluster, state) ({name}{{{_NODES}}}))"


def _poll_quantile(share: float) -> str:
    buckets = f"rate(b3lb_node_poll_seconds_bucket{{{NAMESPACES}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (namespace, le) ({buckets}))"


def _with_reason(name: str) -> str:
    return f"max by (namespace, cluster, node, reason) ({name}{{{_NODES}}} == 1)"


def _share_of_limit(kind: str) -> str:
    limit = f"max by (namespace, tenant) (b3lb_tenant_{kind}_limit)"
    return f"{_of_tenants(f'b3lb_{kind}s')} / on (namespace, tenant) {limit}"


def _of_tenants(name: str) -> str:
    """Return a tenant's figure: that of its sub-id 0, or else the sum of its secrets'."""
    whole = (
        f'max by (namespace, tenant) (label_replace({name}{{secret!~".+-[0-9]{{3}}"}}, '
        '"tenant", "$1", "secret", "(.+)"))'
    )
    parts = (
        f'sum by (namespace, tenant) (label_replace(max by (namespace, secret) ({name}{{secret=~".+-[0-9]{{3}}"}}), '
        '"tenant", "$1", "secret", "(.+)-[0-9]{3}"))'
    )
    return f"({whole} or {parts})"


def _quantile(share: float) -> str:
    buckets = f"rate(b3lb_task_runtime_seconds_bucket{{{NAMESPACES}}}[15m])"
    return f"histogram_quantile({share}, sum by (queue, task, le) ({buckets}))"


def _since_success() -> str:
    return f"time() - max by (namespace, queue) (b3lb_queue_last_success_timestamp_seconds{{{NAMESPACES}}})"


def _runs(state: str, window: str) -> str:
    return f'sum by (queue, task) (increase(b3lb_task_total{{{NAMESPACES},state=~"{state}"}}[{window}]))'


def _own(expression: str) -> str:
    """Return what every program of Prometheus' client has, of b3lb's operator alone."""
    return f"{expression} and on (job, instance) b3lb_build_info"


def _limit_hits(kind: str) -> str:
    hits = f'increase(b3lb_{kind}_limit_hits_total{{secret=~".+"}}[1h])'
    return f"sum by (namespace, secret) ({hits})"


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Farm",
        (
            _stat("Servers up", _nodes("ready")),
            _stat("Servers that take meetings", _nodes("schedulable")),
            _stat("Meetings", _of_nodes("b3lb_node_meetings")),
            _stat("Attendees", _of_nodes("b3lb_node_attendees")),
            _stat(
                "Room for attendees",
                _of_clusters("b3lb_cluster_headroom_attendees"),
                text="By maxAttendees of the servers; nothing where a server has none.",
            ),
            _stat(
                "Recommended servers",
                _of_clusters("b3lb_cluster_recommended_nodes"),
                text="With so many the clusters would be filled to 75 % of their limits; nothing without limits.",
            ),
            Panel(
                "Servers by state",
                (
                    (
                        _of_states("b3lb_cluster_nodes"),
                        "{{cluster}} {{state}}",
                    ),
                ),
            ),
            Panel("Attendees", ((_of_nodes("b3lb_node_attendees", "cluster"), "{{cluster}}"),)),
            Panel("Meetings", ((_of_nodes("b3lb_node_meetings", "cluster"), "{{cluster}}"),)),
            Panel("Load", ((f"max by (namespace, node) (b3lb_node_load{{{_NODES}}} >= 0)", _NODE),)),
            Panel("CPU", ((f"max by (namespace, node) (b3lb_node_cpu_ratio{{{_NODES}}})", _NODE),), unit="percentunit"),
            Panel(
                "Duration of a poll",
                tuple(
                    (
                        _poll_quantile(share),
                        f"{{{{namespace}}}} {name}",
                    )
                    for share, name in ((0.5, "p50"), (0.95, "p95"))
                ),
                unit="s",
            ),
            Panel(
                "Servers that are not up",
                (
                    (
                        f"{_with_reason('b3lb_node_reason')} unless on (namespace, node) b3lb_node_up{{{_NODES}}} == 1",
                        "",
                    ),
                ),
                kind="table",
                width=12,
            ),
            Panel(
                "Servers that get no meetings",
                (
                    (
                        _with_reason("b3lb_node_unschedulable_reason"),
                        "",
                    ),
                ),
                kind="table",
                width=12,
            ),
        ),
    ),
    (
        "Queues",
        (
            Panel(
                "Work gets done",
                ((f"max by (namespace, queue) (b3lb_worker_up{{{NAMESPACES}}})", _QUEUE),),
                kind="stat",
                height=6,
                text="1: a run succeeded within the last three periods. 0: it did not, or the queue is suspended.",
            ),
            Panel("Depth", ((f"max by (namespace, queue) (b3lb_queue_length{{{NAMESPACES}}})", _QUEUE),), height=6),
            Panel("At work", ((f"max by (namespace, queue) (b3lb_queue_active{{{NAMESPACES}}})", _QUEUE),), height=6),
            Panel(
                "Longest wait",
                ((f"max by (namespace, queue) (b3lb_queue_oldest_waiting_seconds{{{NAMESPACES}}})", _QUEUE),),
                unit="s",
            ),
            Panel(
                "Since the last success",
                (
                    (
                        _since_success(),
                        _QUEUE,
                    ),
                ),
                unit="s",
            ),
            Panel("Runs that succeeded within an hour", ((_runs("SUCCESS", "1h"), _TASK),)),
            Panel("Runs that failed within an hour", ((_runs("FAILURE", "1h"), _TASK),)),
            Panel(
                "Share of failures within an hour",
                ((f"{_runs('FAILURE', '1h')} / {_runs('SUCCESS|FAILURE', '1h')}", _TASK),),
                unit="percentunit",
            ),
            Panel(
                "Duration of a tick",
                ((_quantile(0.5), f"{_TASK} p50"), (_quantile(0.95), f"{_TASK} p95")),
                unit="s",
                text="Over a quarter of an hour; 60 s stands for all that is longer.",
            ),
        ),
    ),
    RECORDINGS,
    (
        "Tenants",
        (
            Panel("Attendees", ((_of_tenants("b3lb_attendees"), "{{tenant}}"),)),
            Panel("Meetings", ((_of_tenants("b3lb_meetings"), "{{tenant}}"),)),
            Panel(
                "Share of the limit",
                tuple(
                    (
                        _share_of_limit(kind),
                        f"{{{{tenant}}}} {kind}s",
                    )
                    for kind in ("attendee", "meeting")
                ),
                unit="percentunit",
                kind="bargauge",
            ),
            Panel(
                "Meetings refused within an hour",
                tuple((_limit_hits(kind), f"{{{{secret}}}} limit of {kind}s") for kind in ("attendee", "meeting")),
                width=24,
                height=6,
            ),
        ),
    ),
    (
        "Operator",
        (
            _stat("Ready", "max(b3lb_operator_ready * b3lb_operator_leads)"),
            _stat("Database up", "max(b3lb_database_up)"),
            _stat("Age of the figures", "max(b3lb_snapshot_age_seconds)", unit="s"),
            Panel("Version", (("b3lb_build_info", "{{version}}"),), kind="stat", width=12, height=4),
            Panel("Lag of the event loop", (("b3lb_operator_loop_lag_seconds", "{{instance}}"),), unit="s"),
            Panel(
                "Requests to the Kubernetes API",
                (
                    (
                        "sum by (verb, code) (rate(b3lb_operator_api_requests_total[$__rate_interval]))",
                        "{{verb}} {{code}}",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "Statuses",
                (
                    ("sum(rate(b3lb_operator_status_patches_total[$__rate_interval]))", "written"),
                    ("sum(rate(b3lb_operator_status_patches_avoided_total[$__rate_interval]))", "avoided"),
                ),
                unit="wps",
            ),
            Panel("Memory", ((_own("process_resident_memory_bytes"), "{{instance}}"),), unit="bytes", width=12),
            Panel(
                "CPU",
                ((_own("rate(process_cpu_seconds_total[$__rate_interval])"), "{{instance}}"),),
                unit="percentunit",
                width=12,
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    return {
        "uid": "b3lb",
        "title": "b3lb",
        "description": "Farms of BigBlueButton servers: servers, queues, tenants and the operator.",
        "tags": ["b3lb", "bigbluebutton"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def dashboard_text() -> str:
    """Return the dashboard's file, a panel a line."""
    whole = dashboard()
    lines = [json.dumps(panel, ensure_ascii=False) for panel in whole.pop("panels")]
    head = json.dumps(whole, ensure_ascii=False, indent=1).removesuffix("\n}")
    panels = ",\n  ".join(lines)
    return f'{head},\n "panels": [\n  {panels}\n ]\n}}\n'


def _variables() -> Iterator[dict[str, Any]]:
    yield {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"}
    for name, query in (
        ("namespace", "label_values(b3lb_queue_suspended, namespace)"),
        ("cluster", f"label_values(b3lb_cluster_nodes{{{NAMESPACES}}}, cluster)"),
    ):
        yield {
            "type": "query",
            "name": name,
            "label": name.capitalize(),
            "datasource": _DATASOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }


def _panels() -> Iterator[dict[str, Any]]:
    """Yield rows and panels from left to right; a panel that does not fit begins a new line."""
    x = y = height = number = 0
    for title, panels in ROWS:
        y, number = y + height, number + 1
        yield {"id": number, "type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1}}
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y, height = 0, y + height, 0
            number += 1
            yield {**_panel(panel), "id": number, "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height}}
            x, height = x + panel.width, max(height, panel.height)


def _panel(panel: Panel) -> dict[str, Any]:
    instant = panel.kind != "timeseries"
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": _DATASOURCE,
            "expr": expression,
            "legendFormat": legend or "__auto",
            "instant": instant,
            "range": not instant,
            **({"format": "table"} if panel.kind == "table" else {}),
        }
        for index, (expression, legend) in enumerate(panel.queries)
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        **({"description": panel.text} if panel.text else {}),
        "datasource": _DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": _OPTIONS.get(panel.kind, {}),
    }


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "textMode": "value_and_name"},
    "bargauge": {"reduceOptions": {"calcs": ["lastNotNull"]}, "orientation": "horizontal"},
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
}
