"""Families from facts: the golden exposition, and what each value means at its borders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from b3lb.metrics.histograms import RUNTIME_BOUNDS, bucket_counts, cumulative_buckets
from b3lb.metrics.nodes import (
    ClusterSample,
    NodeSample,
    PollTimes,
    cluster_families,
    headroom_attendees,
    node_families,
    recommended_nodes,
)
from b3lb.metrics.queues import QueueSample, TaskTicks, TaskTotal, queue_families, task_families
from b3lb_operator.metrics import families_text

NODE = NodeSample(
    namespace="farm",
    node="bbb01",
    cluster="default",
    ready=True,
    schedulable=True,
    reason="Responding",
    schedulable_reason="Schedulable",
    changed_at=1000.0,
    polled_at=2000.5,
    load=75.5,
    cpu=0.25,
    meetings=2,
    attendees=15,
    max_attendees=100,
    meetings_known=2,
)
DEAD = NodeSample(
    namespace="farm",
    node="bbb02",
    cluster="default",
    ready=False,
    schedulable=False,
    reason="Timeout",
    schedulable_reason="Timeout",
    load=80.0,
    meetings=9,
    attendees=9,
)
QUEUE = QueueSample(
    namespace="farm",
    queue="core",
    up=True,
    suspended=False,
    waiting=2,
    missed=1,
    active=1,
    oldest_waiting_seconds=61.5,
    last_success=3000.0,
)


def samples(families: Iterable[Metric]) -> dict[str, float]:
    """Return the exposition as Prometheus reads it: name and sorted labels → value."""
    text = families_text(families).decode()
    return {
        "".join((sample.name, "{", ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items())), "}")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_exposition_of_queues_is_as_it_was_looked_at() -> None:
    labels = "{namespace=farm,queue=core}"
    assert samples(queue_families([QUEUE])) == {
        f"b3lb_worker_up{labels}": 1,
        f"b3lb_queue_suspended{labels}": 0,
        f"b3lb_queue_length{labels}": 3,
        f"b3lb_queue_missed_slots{labels}": 1,
        f"b3lb_queue_active{labels}": 1,
        f"b3lb_queue_last_success_timestamp_seconds{labels}": 3000,
        f"b3lb_queue_oldest_waiting_seconds{labels}": 61.5,
    }


def test_a_queue_that_never_succeeded_has_no_time_of_its_last_success() -> None:
    never = dataclasses.replace(QUEUE, last_success=None)
    assert not any("last_success" in name for name in samples(queue_families([never])))


def test_the_exposition_of_tasks_has_cumulative_buckets() -> None:
    ticks = TaskTicks("farm", "check-nodes", "core", bucket_counts([0.04, 0.3, 7.0], RUNTIME_BOUNDS), 7.34, 99.0)
    found = samples(task_families([TaskTotal("farm", "check-nodes", "core", "SUCCESS", 41)], [ticks]))
    labels = "namespace=farm,queue=core,task=check-nodes"
    assert found["b3lb_task_total{namespace=farm,queue=core,state=SUCCESS,task=check-nodes}"] == 41
    assert found[f"b3lb_task_runtime_seconds_bucket{{le=0.25,{labels}}}"] == 1
    assert found[f"b3lb_task_runtime_seconds_bucket{{le=5.0,{labels}}}"] == 2
    assert found[f"b3lb_task_runtime_seconds_bucket{{le=+Inf,{labels}}}"] == 3
    assert found[f"b3lb_task_runtime_seconds_count{{{labels}}}"] == 3
    assert found[f"b3lb_task_runtime_seconds_sum{{{labels}}}"] == 7.34
    assert found[f"b3lb_task_last_tick_timestamp_seconds{{{labels}}}"] == 99


def test_the_exposition_of_nodes_says_nothing_of_what_is_not_known() -> None:
    found = samples(node_families([NODE, DEAD], [PollTimes("farm", [1, 2], 0.05)]))
    one, two = "{cluster=default,namespace=farm,node=bbb01}", "{cluster=default,namespace=farm,node=bbb02}"
    plain = {name: value for name, value in found.items() if "poll_seconds" not in name}
    assert plain == {
        f"b3lb_node_up{one}": 1,
        f"b3lb_node_up{two}": 0,
        f"b3lb_node_schedulable{one}": 1,
        f"b3lb_node_schedulable{two}": 0,
        f"b3lb_node_safe_to_terminate{one}": 0,
        f"b3lb_node_safe_to_terminate{two}": 0,
        f"b3lb_node_load{one}": 75.5,
        f"b3lb_node_load{two}": -1,
        f"b3lb_node_cpu_ratio{one}": 0.25,
        f"b3lb_node_meetings{one}": 2,
        f"b3lb_node_attendees{one}": 15,
        f"b3lb_node_state_changed_timestamp_seconds{one}": 1000,
        f"b3lb_node_last_good_poll_timestamp_seconds{one}": 2000.5,
        "b3lb_node_reason{cluster=default,namespace=farm,node=bbb01,reason=Responding}": 1,
        "b3lb_node_reason{cluster=default,namespace=farm,node=bbb02,reason=Timeout}": 1,
        "b3lb_node_unschedulable_reason{cluster=default,namespace=farm,node=bbb02,reason=Timeout}": 1,
    }
    assert found["b3lb_node_poll_seconds_count{namespace=farm}"] == 3
    assert found["b3lb_node_poll_seconds_bucket{le=0.01,namespace=farm}"] == 1


@pytest.mark.parametrize(
    ("changes", "safe"),
    [
        ({"leaving": True, "meetings": 0, "meetings_known": 0}, True),
        ({"meetings": 0, "meetings_known": 0}, False),
        ({"leaving": True, "meetings": 1, "meetings_known": 0}, False),
        ({"leaving": True, "meetings": 0, "meetings_known": 1}, False),
        ({"leaving": True, "meetings": 0, "meetings_known": 0, "ready": False}, False),
        ({"leaving": True, "meetings": None, "meetings_known": None}, False),
    ],
)
def test_a_node_is_safe_to_terminate_only_if_nothing_comes_and_nothing_is_left(
    changes: dict[str, Any], *, safe: bool
) -> None:
    assert dataclasses.replace(NODE, **changes).safe_to_terminate is safe


def node(number: int = 1, **changes: Any) -> NodeSample:
    return dataclasses.replace(NODE, node=f"bbb{number:02}", **changes)


def test_headroom_is_what_schedulable_nodes_take_by_their_limits() -> None:
    full = node(3, schedulable=False, full=True)
    assert headroom_attendees([node(1), node(2, attendees=130), full]) == 85
    assert headroom_attendees([full]) == 0
    assert headroom_attendees([node(1), node(2, max_attendees=None)]) is None
    assert headroom_attendees([node(1, schedulable=False)]) is None
    assert headroom_attendees([]) is None


def test_the_recommended_number_of_nodes_fills_three_quarters_of_the_limits() -> None:
    assert recommended_nodes([node(1, attendees=0)]) == 1
    assert recommended_nodes([node(1, attendees=75)]) == 1
    assert recommended_nodes([node(1, attendees=76)]) == 2
    assert recommended_nodes([node(1, attendees=90), node(2, attendees=90)]) == 3
    assert recommended_nodes([node(1, attendees=10, meetings=8, max_meetings=10)]) == 2
    leaving = node(2, attendees=70, leaving=True, schedulable=False)
    assert recommended_nodes([node(1, attendees=10), leaving]) == 2
    assert recommended_nodes([node(1, max_attendees=None)]) is None
    assert recommended_nodes([]) is None


def test_a_cluster_counts_its_own_nodes_only() -> None:
    other = node(9, cluster="other")
    found = samples(cluster_families([ClusterSample("farm", "default", mass_failure=True)], [NODE, DEAD, other]))
    assert found == {
        "b3lb_cluster_nodes{cluster=default,namespace=farm,state=total}": 2,
        "b3lb_cluster_nodes{cluster=default,namespace=farm,state=ready}": 1,
        "b3lb_cluster_nodes{cluster=default,namespace=farm,state=schedulable}": 1,
        "b3lb_cluster_mass_failure{cluster=default,namespace=farm}": 1,
        "b3lb_cluster_headroom_attendees{cluster=default,namespace=farm}": 85,
        "b3lb_cluster_recommended_nodes{cluster=default,namespace=farm}": 1,
    }


@given(st.lists(st.floats(min_value=0, max_value=1e4), max_size=50))
def test_every_value_is_in_exactly_one_bucket_and_the_last_bucket_holds_all(values: list[float]) -> None:
    counts = bucket_counts(values, RUNTIME_BOUNDS)
    assert sum(counts) == len(values)
    buckets = cumulative_buckets(counts, RUNTIME_BOUNDS)
    assert buckets[-1] == ("+Inf", float(len(values)))
    for bound, (label, total) in zip(RUNTIME_BOUNDS, buckets, strict=False):
        assert label == str(bound)
        assert total == sum(value <= bound for value in values)


def test_counts_of_a_program_with_other_bounds_lose_no_value() -> None:
    assert cumulative_buckets([], [1.0, 2.0]) == [("1.0", 0.0), ("2.0", 0.0), ("+Inf", 0.0)]
    assert cumulative_buckets([1, 1, 1, 1], [1.0, 2.0])[-1] == ("+Inf", 4.0)
