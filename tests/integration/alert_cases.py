"""When each alert fires, with the summary that somebody reads, and when it does not.

Series are in the notation of
https://prometheus.io/docs/prometheus/2.42/configuration/unit_testing_rules/#series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Series = dict[str, str]
QUEUE = 'namespace="farm",queue="core"'
RECORD = 'namespace="farm",queue="record"'
NODE = 'namespace="farm",cluster="default",node="bbb1"'
CLUSTER = 'namespace="farm",cluster="default"'
TICK = f'{QUEUE},task="check-nodes"'
RENDER = f'{RECORD},task="render"'
FIRST, SECOND = 'namespace="b3lb",job="operator",pod="a"', 'namespace="b3lb",job="operator",pod="b"'
OF_QUEUE = {"namespace": "farm", "queue": "core"}
OF_TICK = {**OF_QUEUE, "task": "check-nodes"}
OF_FARM = {"namespace": "farm"}
OF_CLUSTER = {"namespace": "farm", "cluster": "default"}
OF_OPERATOR = {"namespace": "b3lb", "job": "operator"}
WARNING, CRITICAL = "warning", "critical"


@dataclass(frozen=True)
class Firing:
    """An alert that fires: its labels without the severity, and its summary."""

    severity: str
    summary: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Case:
    """Series with a sample every ``interval`` minutes, and what of an alert fires at which minute."""

    alert: str
    title: str
    series: Series
    at: dict[int, tuple[Firing, ...]]
    interval: int = 1

    @property
    def test(self) -> dict[str, Any]:
        """A test group for ``promtool test rules``."""
        return {
            "name": f"{self.alert}: {self.title}",
            "interval": f"{self.interval}m",
            "input_series": [{"series": name, "values": values} for name, values in self.series.items()],
            "alert_rule_test": [
                {
                    "eval_time": f"{minute}m",
                    "alertname": self.alert,
                    "exp_alerts": [
                        {
                            "exp_labels": {"severity": item.severity, **item.labels},
                            "exp_annotations": {"summary": item.summary},
                        }
                        for item in firing
                    ],
                }
                for minute, firing in self.at.items()
            ],
        }


def buckets(labels: str, **counts: str) -> Series:
    """Return the buckets of a histogram of ticks by their bounds in whole seconds, the last one the highest."""
    bounds = {"inf": "+Inf", **{name: f"{float(name[1:])}" for name in counts if name != "inf"}}
    return {f'b3lb_task_runtime_seconds_bucket{{{labels},le="{bounds[name]}"}}': text for name, text in counts.items()}


def _worker() -> list[Case]:
    alert = "B3LBWorkerDown"
    text = "The work of queue farm/core does not get done"
    suspended = f"b3lb_queue_suspended{{{QUEUE}}}"
    up, leads = f"b3lb_worker_up{{{QUEUE}}}", f"b3lb_operator_leads{{{FIRST}}}"
    down = (Firing(CRITICAL, text, OF_QUEUE),)
    return [
        Case(alert, "down for 5 minutes", {up: "1 1 0x20", suspended: "0x22"}, {6: (), 7: down}),
        Case(alert, "up again", {up: "0x8 1x9", suspended: "0x18"}, {8: down, 9: ()}),
        Case(alert, "suspended by its user", {up: "0x20", suspended: "1x20"}, {20: ()}),
        Case(alert, "an operator without queues", {leads: "1x9"}, {5: (Firing(CRITICAL, "There is no queue", {}),)}),
        Case(alert, "an operator that stands by", {leads: "0x9"}, {9: ()}),
    ]


def _backlog() -> list[Case]:
    alert, length = "B3LBQueueBacklog", f"b3lb_queue_length{{{QUEUE}}}"

    def waiting(runs: int, *severities: str) -> tuple[Firing, ...]:
        return tuple(Firing(each, f"{runs} runs wait in queue farm/core", OF_QUEUE) for each in severities)

    return [
        Case(alert, "101 for 10 minutes", {length: "0 101x30"}, {10: (), 11: waiting(101, WARNING)}),
        Case(alert, "100", {length: "100x30"}, {20: ()}),
        Case(alert, "1000", {length: "1000x30"}, {20: waiting(1000, WARNING)}),
        Case(alert, "1001 for 10 minutes", {length: "1001x30"}, {9: (), 10: waiting(1001, WARNING, CRITICAL)}),
    ]


def _slow() -> list[Case]:
    alert = "B3LBTickSlow"

    def slow(*severities: str) -> tuple[Firing, ...]:
        return tuple(Firing(each, "Ticks of check-nodes in farm/core take long", OF_TICK) for each in severities)

    half = {"s5": "0+2x40", "s10": "0+4x40", "s60": "0+4x40", "inf": "0+4x40"}
    return [
        Case(alert, "half of the ticks above 5 s", buckets(TICK, **half), {10: (), 11: slow(WARNING)}),
        Case(alert, "4 % above 5 s", buckets(TICK, s5="0+96x40", s10="0+99x40", inf="0+100x40"), {30: ()}),
        Case(
            alert, "p95 just below 60 s", buckets(TICK, s30="0x40", s60="0+96x40", inf="0+100x40"), {30: slow(WARNING)}
        ),
        Case(
            alert,
            "6 % above 60 s",
            buckets(TICK, s30="0x40", s60="0+94x40", inf="0+100x40"),
            {30: slow(WARNING, CRITICAL)},
        ),
        Case(alert, "a rendering", buckets(RENDER, s60="0x40", inf="0+1x40"), {30: ()}),
    ]


def _tasks() -> list[Case]:
    alert, total = "B3LBTaskFailing", f"b3lb_task_total{{{TICK},"
    failing = (Firing(WARNING, "Most runs of check-nodes in farm/core fail", OF_TICK),)
    failure, success = f'{total}state="FAILURE"}}', f'{total}state="SUCCESS"}}'
    return [
        Case(alert, "every run", {failure: "0+1x60", success: "9x60"}, {9: (), 12: failing}),
        Case(alert, "runs that never succeeded", {failure: "_ _ 1+1x60"}, {14: failing}),
        Case(alert, "every second run", {failure: "0+1x60", success: "0+1x60"}, {50: ()}),
        Case(alert, "no run at all", {failure: "7x60", success: "9x60"}, {50: ()}),
    ]


def _recordings() -> list[Case]:
    sets, oldest = 'b3lb_record_sets{namespace="farm",state="FAILED"}', 'b3lb_record_oldest_seconds{namespace="farm"}'
    labels = {"namespace": "farm", "profile": "full-hd", "reason": "Timeout"}
    failed = (Firing(WARNING, "A recording of farm farm could not be rendered: Timeout", labels),)

    def renders(state: str, reason: str, pod: str = "") -> str:
        of = f'namespace="farm",profile="full-hd",state="{state}",reason="{reason}"'
        return f"b3lb_renders_total{{{of}{f',pod={chr(34)}{pod}{chr(34)}' if pod else ''}}}"

    failure, success = renders("FAILED", "Timeout"), renders("RENDERED", "")
    first, second = renders("FAILED", "Timeout", "a"), renders("FAILED", "Timeout", "b")
    memory = renders("FAILED", "OutOfMemory")
    text = "A rendering with profile full-hd in farm farm ran out of memory"
    killed = (Firing(WARNING, text, {"namespace": "farm", "profile": "full-hd"}),)
    late = (Firing(WARNING, "A recording of farm farm has been waiting for 6h 0m 1s", OF_FARM),)
    alert, lack = "B3LBRenderFailed", "B3LBRenderOutOfMemory"
    return [
        Case(alert, "the first failure ever", {sets: "1x20", failure: "_x9 1x10"}, {80: (), 90: failed, 160: ()}, 10),
        Case(alert, "one more failure", {sets: "1x20", failure: "3x8 4x10"}, {80: (), 90: failed, 160: ()}, 10),
        Case(
            alert, "another pod of the operator", {sets: "1x20", first: "3x8 stale", second: "_x9 3x9"}, {100: ()}, 10
        ),
        Case(alert, "an old failure seen for the first time", {sets: "1x20", failure: "3x20"}, {20: (), 100: ()}, 10),
        Case(alert, "a success", {sets: "1x20", success: "_x9 1x10"}, {90: ()}, 10),
        Case(alert, "a lack of memory, which has its own", {sets: "1x20", memory: "_x9 1x10"}, {90: ()}, 10),
        Case(lack, "once", {sets: "1x20", memory: "_x9 1x10"}, {80: (), 90: killed, 160: ()}, 10),
        Case(lack, "another failure", {sets: "1x20", failure: "_x9 1x10"}, {90: ()}, 10),
        Case("B3LBRenderWaiting", "longer than 6 hours", {oldest: "21601x20"}, {9: (), 10: late}),
        Case("B3LBRenderWaiting", "6 hours", {oldest: "21600x20"}, {20: ()}),
    ]


def _deliveries() -> list[Case]:
    oldest = 'b3lb_callback_oldest_seconds{namespace="farm"}'
    given_up = 'b3lb_callbacks{namespace="farm",state="FAILED"}'
    full = 'b3lb_api_uploads_total{namespace="farm",pod="api-1",outcome="StorageFull"}'
    stored = 'b3lb_api_uploads_total{namespace="farm",pod="api-1",outcome="Stored"}'
    untold = (Firing(WARNING, "Front ends of farm farm cannot be told that recordings are ready", OF_FARM),)
    refused = (Firing(CRITICAL, "The storage of farm farm is full: recordings are refused", OF_FARM),)
    failing, storage = "B3LBCallbacksFailing", "B3LBUploadStorageFull"
    return [
        Case(failing, "longer than an hour", {oldest: "3601x20"}, {9: (), 10: untold}),
        Case(failing, "an hour", {oldest: "3600x20"}, {20: ()}),
        Case(failing, "one more given up", {given_up: "2x80 3x80"}, {80: (), 92: untold, 150: ()}),
        Case(failing, "one given up long ago", {given_up: "2x160"}, {150: ()}),
        Case(storage, "the first refusal", {full: "_x5 1x50"}, {4: (), 6: refused, 50: ()}),
        Case(storage, "one more", {full: "1x40 2x40"}, {35: (), 42: refused, 75: ()}),
        Case(storage, "uploads that are stored", {stored: "0+1x40"}, {35: ()}),
    ]


def _nodes() -> list[Case]:
    up = f"b3lb_node_up{{{NODE}}}"
    down = (Firing(WARNING, "Server farm/bbb1 is down", {**OF_CLUSTER, "node": "bbb1"}),)
    stale = (Firing(CRITICAL, "2 servers of cluster farm/default are not polled", OF_CLUSTER),)
    others = {f'b3lb_node_reason{{{CLUSTER},node="{name}",reason="Stale"}}': "1x9" for name in ("bbb1", "bbb2")}

    def reason(name: str, values: str) -> Series:
        return {f'b3lb_node_reason{{{NODE},reason="{name}"}}': values}

    return [
        Case("B3LBNodeDown", "down for 5 minutes", {up: "1 0x20", **reason("Timeout", "_ 1x20")}, {5: (), 6: down}),
        Case(
            "B3LBNodeDown",
            "its reason changes",
            {up: "0x9", **reason("DNS", "1x3"), **reason("TLS", "_x3 1x6")},
            {5: down},
        ),
        Case("B3LBNodeDown", "nothing is known of it", {up: "0x9"}, {5: down}),
        Case("B3LBNodeDown", "up", {up: "1x20", **reason("Responding", "1x20")}, {20: ()}),
        Case("B3LBNodeDown", "not polled", {up: "0x20", **reason("Stale", "1x20")}, {20: ()}),
        Case("B3LBNodeDown", "disabled", {up: "0x20", **reason("Disabled", "1x20")}, {20: ()}),
        Case("B3LBNodeStale", "two servers", others, {4: (), 5: stale}),
        Case("B3LBNodeStale", "a server that is down", reason("Timeout", "1x20"), {20: ()}),
    ]


def _clusters() -> list[Case]:
    guard = f"b3lb_cluster_mass_failure{{{CLUSTER}}}"
    free = f'b3lb_cluster_nodes{{{CLUSTER},state="schedulable"}}'
    total = f'b3lb_cluster_nodes{{{CLUSTER},state="total"}}'
    failing = (Firing(CRITICAL, "Most servers of cluster farm/default failed at once", OF_CLUSTER),)
    none = (Firing(CRITICAL, "No server of cluster farm/default takes new meetings", OF_CLUSTER),)
    return [
        Case("B3LBMassFailure", "for a minute", {guard: "0 1x5"}, {1: (), 2: failing}),
        Case("B3LBMassFailure", "none", {guard: "0x5"}, {5: ()}),
        Case("B3LBNoSchedulableNode", "for 5 minutes", {free: "1 0x9", total: "3x10"}, {5: (), 6: none}),
        Case("B3LBNoSchedulableNode", "one is left", {free: "1x9", total: "3x9"}, {9: ()}),
        Case("B3LBNoSchedulableNode", "a cluster without servers", {free: "0x9", total: "0x9"}, {9: ()}),
    ]


def _operator() -> list[Case]:
    absent = (Firing(CRITICAL, "No operator of b3lb is seen", {}),)
    idle = (Firing(CRITICAL, "The operator of b3lb does not do its work", OF_OPERATOR),)
    down = (Firing(CRITICAL, "The operator of b3lb cannot read its database", OF_OPERATOR),)
    old = (Firing(CRITICAL, "What the metrics of b3lb say is 5m 1s old", OF_OPERATOR),)
    info, up = f"b3lb_build_info{{{FIRST}}}", f"b3lb_database_up{{{FIRST}}}"
    age = f"b3lb_snapshot_age_seconds{{{FIRST}}}"

    def pair(*, ready: str) -> Series:
        names = ("b3lb_operator_leads", "b3lb_operator_ready")
        values = (("1x9", ready), ("0x9", "1x9"))
        return {
            f"{name}{{{labels}}}": value
            for labels, of_pod in zip((FIRST, SECOND), values, strict=True)
            for name, value in zip(names, of_pod, strict=True)
        }

    return [
        Case("B3LBOperatorAbsent", "nothing is scraped", {info: "1 stale"}, {5: (), 6: absent}),
        Case("B3LBOperatorAbsent", "it is there", {info: "1x20"}, {20: ()}),
        Case("B3LBOperatorNotReady", "the one that leads is not", pair(ready="0x9"), {4: (), 5: idle}),
        Case("B3LBOperatorNotReady", "the one that leads is", pair(ready="1x9"), {9: ()}),
        Case("B3LBDatabaseDown", "for 5 minutes", {up: "1 0x9"}, {5: (), 6: down}),
        Case("B3LBDatabaseDown", "it is up", {up: "1x9"}, {9: ()}),
        Case("B3LBSnapshotOld", "older than 5 minutes", {age: "300 301x9"}, {1: (), 2: old}),
        Case("B3LBSnapshotOld", "5 minutes", {age: "300x9"}, {9: ()}),
    ]


def _limits() -> list[Case]:
    tenant, secret = "B3LBTenantNearLimit", "B3LBSecretNearLimit"
    farm = 'namespace="farm"'
    limit = {f'b3lb_tenant_attendee_limit{{{farm},tenant="UNI"}}': "100x9"}
    of_secret = {f'b3lb_secret_meeting_limit{{{farm},secret="UNI-001"}}': "10x9"}

    def near(whose: str, name: str, kind: str) -> tuple[Firing, ...]:
        text = f"{whose.capitalize()} {name} uses 90% of its limit of {kind}"
        return (Firing(WARNING, text, {"namespace": "farm", whose: name, "limit": kind}),)

    def attendees(**of: str) -> Series:
        return {f'b3lb_attendees{{{farm},secret="{name.replace("_", "-")}"}}': text for name, text in of.items()}

    def meetings(values: str) -> Series:
        return {f'b3lb_meetings{{{farm},secret="UNI-001"}}': values}

    meeting_limit = {f'b3lb_tenant_meeting_limit{{{farm},tenant="UNI"}}': "10x9"}
    of_tenant = near("tenant", "UNI", "attendees")
    return [
        Case(tenant, "90 % by sub-id 0", {**limit, **attendees(UNI="90x9")}, {4: (), 5: of_tenant}),
        Case(tenant, "90 % by its secrets", {**limit, **attendees(UNI_001="45x9", UNI_002="45x9")}, {5: of_tenant}),
        Case(tenant, "meetings", {**meeting_limit, **meetings("9x9")}, {5: near("tenant", "UNI", "meetings")}),
        Case(tenant, "sub-id 0 is not added", {**limit, **attendees(UNI="50x9", UNI_001="50x9")}, {9: ()}),
        Case(tenant, "no limit", attendees(UNI="90x9"), {9: ()}),
        Case(secret, "90 %", {**of_secret, **meetings("9x9")}, {4: (), 5: near("secret", "UNI-001", "meetings")}),
        Case(secret, "80 %", {**of_secret, **meetings("8x9")}, {9: ()}),
    ]


def _hits() -> list[Case]:
    alert = "B3LBLimitHit"

    def hits(kind: str, secret: str, values: str) -> Series:
        return {f'b3lb_{kind}_limit_hits_total{{namespace="farm",secret="{secret}"}}': values}

    def refused(kind: str) -> tuple[Firing, ...]:
        text = f"Meetings of tenant UNI are refused: limit of {kind}"
        return (Firing(WARNING, text, {"namespace": "farm", "tenant": "UNI", "limit": kind}),)

    both = hits("attendee", "UNI", "7x40") | hits("attendee", "UNI-001", "7x40")
    return [
        Case(alert, "once", both | hits("meeting", "UNI-001", "0x5 1x40"), {5: (), 7: refused("meetings"), 30: ()}),
        Case(alert, "whole tenant", hits("attendee", "UNI", "0x5 1x9"), {7: refused("attendees")}),
        Case(alert, "hits of long ago", both, {30: ()}),
    ]


CASES = (
    *_worker(),
    *_backlog(),
    *_slow(),
    *_tasks(),
    *_recordings(),
    *_deliveries(),
    *_nodes(),
    *_clusters(),
    *_operator(),
    *_limits(),
    *_hits(),
)
