"""``/metrics``: one look for however many scrapers, an answer in every fault, and nothing of what was deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from b3lb.db.farm_metrics import FarmMetrics, NodeNumbers
from b3lb.meetings.model import SecretTotals
from b3lb.metrics.nodes import ClusterSample
from b3lb.metrics.queues import EnqueuedRuns
from b3lb.metrics.tenants import SecretMetrics
from b3lb.resources.conditions import format_time
from b3lb_operator.database import DatabaseUnavailableError
from b3lb_operator.instruments import Instruments
from b3lb_operator.kinds import CRON_JOB, JOB, NODE, QUEUE, Manifest
from b3lb_operator.metrics import FRESH_SECONDS, WAIT_SECONDS, Look, MetricsPage
from b3lb_operator.store import Store

Samples = dict[str, list[tuple[dict[str, str], float]]]


class FakeDatabase:
    """Answers with a look, or with a fault, after a while."""

    def __init__(self) -> None:
        self.look = found()
        self.error = ""
        self.seconds = 0.0
        self.calls = 0

    async def call(self, _function: Callable[[Any], Look]) -> Look:
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.error:
            raise DatabaseUnavailableError(self.error)
        return self.look


def found(*namespaces: str) -> Look:
    secret = SecretMetrics(slug="UNI", sub_id=0, totals=SecretTotals(attendees=12))
    return Look(
        FarmMetrics(
            now=datetime(2026, 3, 1, tzinfo=UTC),
            nodes={
                ("farm", "bbb01"): NodeNumbers(
                    load=10.0, cpu=5000, meetings=1, attendees=12, polled_at=100.0, meetings_known=1
                )
            },
            clusters=[ClusterSample("farm", "default")],
            enqueued={("farm", "core"): EnqueuedRuns(waiting=3, oldest_at=100.0)},
            totals=[],
            ticks=[],
            polls=[],
        ),
        {namespace: [secret] for namespace in namespaces or ("farm",)},
    )


def node(name: str = "bbb01", ready: str = "True", version: int = 1) -> Manifest:
    condition = {"type": "Ready", "status": ready, "reason": "Responding", "lastTransitionTime": "2026-03-01T12:00:00Z"}
    metadata = {"namespace": "farm", "name": name, "uid": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {}, "status": {"conditions": [condition]}}


def queue() -> Manifest:
    metadata = {"namespace": "farm", "name": "core", "uid": "q", "resourceVersion": "1", "generation": 1}
    return {"metadata": metadata, "spec": {"tasks": ["check-nodes"], "schedule": "* * * * *"}}


class Stage:
    """A page over a fake database and a real store."""

    def __init__(self, *namespaces: str) -> None:
        self.database = FakeDatabase()
        self.store = Store(lambda _change: None)
        self.leads = True
        self.store.observe(NODE, None, node())
        self.store.observe(QUEUE, None, queue())
        self.page = MetricsPage(
            store=self.store,
            database=self.database,  # type: ignore[arg-type]  # only its method call is used
            namespaces=namespaces or ("farm",),
            instruments=Instruments(),
            leads=lambda: self.leads,
        )

    async def scrape(self) -> Samples:
        result: Samples = {}
        for family in text_string_to_metric_families((await self.page.text()).decode()):
            for sample in family.samples:
                result.setdefault(sample.name, []).append((sample.labels, sample.value))
        return result


def value(samples: Samples, name: str) -> float:
    ((_, number),) = samples[name]
    return number


@pytest.fixture
async def stage() -> Stage:
    return Stage()


@pytest.mark.looptime
async def test_a_hundred_scrapes_at_once_cost_one_look_and_one_more_after_fifteen_seconds(stage: Stage) -> None:
    stage.database.seconds = 0.5
    answers = await asyncio.gather(*(stage.scrape() for _ in range(100)))
    assert all(value(answer, "b3lb_node_attendees") == 12 for answer in answers)
    assert stage.database.calls == 1
    await asyncio.sleep(FRESH_SECONDS - 1)
    await stage.scrape()
    assert stage.database.calls == 1
    await asyncio.sleep(1)
    await stage.scrape()
    assert stage.database.calls == 2


@pytest.mark.looptime
async def test_nobody_who_asks_means_no_statement(stage: Stage) -> None:
    await asyncio.sleep(3600)
    assert stage.database.calls == 0


@pytest.mark.looptime
async def test_a_scrape_shows_database_cluster_and_tenants(stage: Stage) -> None:
    samples = await stage.scrape()
    assert value(samples, "b3lb_database_up") == 1
    assert value(samples, "b3lb_snapshot_age_seconds") == 0
    assert samples["b3lb_node_up"] == [({"namespace": "farm", "node": "bbb01", "cluster": "default"}, 1)]
    assert value(samples, "b3lb_node_cpu_ratio") == 0.5
    assert value(samples, "b3lb_queue_length") == 3
    assert samples["b3lb_attendees"] == [({"secret": "UNI"}, 12)]
    assert "b3lb_build_info" in samples


@pytest.mark.looptime
async def test_a_released_run_whose_pod_does_not_run_yet_is_one_that_waits_and_not_two(stage: Stage) -> None:
    """Its row still waits; its Job is the BBBQueue's, not the CronJob's."""
    cron_job = {"metadata": {"namespace": "farm", "name": "b3lb-core", "uid": "c", "resourceVersion": "1"}, "spec": {}}
    cron_job["metadata"]["creationTimestamp"] = format_time(datetime.now(UTC))
    stage.store.observe(CRON_JOB, None, cron_job)
    for number, owner in enumerate(({"kind": "BBBQueue", "uid": "q"}, {"kind": "CronJob", "uid": "c"})):
        metadata = {"namespace": "farm", "name": f"job-{number}", "uid": f"j{number}", "resourceVersion": "1"}
        metadata["creationTimestamp"] = format_time(datetime.now(UTC))
        stage.store.observe(JOB, None, {"metadata": {**metadata, "ownerReferences": [owner]}, "status": {"active": 1}})
    samples = await stage.scrape()
    assert (value(samples, "b3lb_queue_length"), value(samples, "b3lb_queue_missed_slots")) == (4, 0)


@pytest.mark.looptime
async def test_without_a_database_what_was_last_seen_is_served_with_its_age(stage: Stage) -> None:
    await stage.scrape()
    stage.database.error = "gone"
    await asyncio.sleep(FRESH_SECONDS)
    stage.store.observe(NODE, "MODIFIED", node(ready="Unknown", version=2))
    samples = await stage.scrape()
    assert value(samples, "b3lb_database_up") == 0
    assert value(samples, "b3lb_snapshot_age_seconds") == FRESH_SECONDS
    assert value(samples, "b3lb_attendees") == 12
    assert value(samples, "b3lb_node_up") == 0
    stage.database.error = ""
    await asyncio.sleep(FRESH_SECONDS)
    assert value(await stage.scrape(), "b3lb_database_up") == 1


@pytest.mark.looptime
async def test_a_database_that_was_never_there_is_an_answer_too(stage: Stage) -> None:
    stage.database.error = "not yet"
    samples = await stage.scrape()
    assert value(samples, "b3lb_database_up") == 0
    assert "b3lb_snapshot_age_seconds" not in samples
    assert value(samples, "b3lb_node_up") == 1
    assert "b3lb_attendees" not in samples


@pytest.mark.looptime
async def test_a_database_that_hangs_delays_a_scrape_by_seconds_and_does_not_stop_it(stage: Stage) -> None:
    await stage.scrape()
    stage.database.seconds = 60
    await asyncio.sleep(FRESH_SECONDS)
    loop = asyncio.get_running_loop()
    began = loop.time()
    samples = await stage.scrape()
    assert loop.time() - began == pytest.approx(WAIT_SECONDS)
    assert value(samples, "b3lb_database_up") == 0
    assert value(samples, "b3lb_attendees") == 12
    await stage.page.close()


@pytest.mark.looptime
async def test_deleted_objects_leave_no_series(stage: Stage) -> None:
    stage.store.observe(NODE, None, node("bbb02"))
    assert len((await stage.scrape())["b3lb_node_up"]) == 2
    stage.store.observe(NODE, "DELETED", node("bbb02", version=2))
    await asyncio.sleep(FRESH_SECONDS)
    text = (await stage.page.text()).decode()
    assert "bbb01" in text
    assert "bbb02" not in text


@pytest.mark.looptime
async def test_an_operator_that_stands_by_speaks_of_itself_only(stage: Stage) -> None:
    stage.leads = False
    samples = await stage.scrape()
    assert "b3lb_build_info" in samples
    assert not {"b3lb_node_up", "b3lb_database_up"} & samples.keys()
    assert stage.database.calls == 0


@pytest.mark.looptime
async def test_farms_in_several_namespaces_are_told_apart() -> None:
    stage = Stage("farm", "other")
    stage.database.look = found("farm", "other")
    samples = await stage.scrape()
    labels = [labels for labels, _ in samples["b3lb_attendees"]]
    assert labels == [{"namespace": "farm", "secret": "UNI"}, {"namespace": "other", "secret": "UNI"}]


@pytest.mark.looptime
async def test_no_series_stands_there_twice_and_no_label_names_a_meeting(stage: Stage) -> None:
    lines = [line for line in (await stage.page.text()).decode().splitlines() if not line.startswith("#")]
    series = [line.rpartition(" ")[0] for line in lines]
    assert len(series) == len(set(series))
    assert not any("meeting=" in line or "meeting_id=" in line for line in series)


@pytest.mark.looptime
async def test_a_bug_in_the_families_costs_neither_the_answer_nor_the_next_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("b3lb_operator.samples.node_sample", lambda *_: 1 / 0)
        assert "b3lb_build_info" in await stage.scrape()
    await asyncio.sleep(FRESH_SECONDS)
    assert value(await stage.scrape(), "b3lb_node_up") == 1
