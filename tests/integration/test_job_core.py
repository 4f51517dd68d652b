"""The core queue on a real database and a simulated farm: what a tick writes, and what it does not."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from b3lb.db.configuration import apply_queues
from b3lb.db.engine import count_statements, transaction
from b3lb.db.rows import ClusterRow, QueueRow
from b3lb.db.tables import heartbeats, leases, nodes, task_runs
from b3lb.health import Reason
from b3lb_jobs.runner import follow
from b3lb_jobs.task_table import route
from b3lb_jobs.ticks import Plan
from dev.farm.process import Farm
from tests.integration.job_runs import (
    BOOKKEEPING,
    KEYS,
    NAMESPACE,
    changed_tables,
    command,
    configure,
    environment,
    job,
    log_lines,
    node_rows,
    only,
    runner,
    states,
    versions,
)

CORE = route(["core"])

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_one_run_tells_healthy_dead_refusing_and_hanging_nodes_apart(
    database_url: str, engine: sa.Engine, bbb_farm: Farm, tmp_path: Path
) -> None:
    rows = node_rows(bbb_farm.nodes)
    configure(engine, rows)
    healthy, dead, wrong, hanging = (row.name for row in rows)
    bbb_farm.control.set_behaviours(
        {bbb_farm.nodes[1].name: "refused", bbb_farm.nodes[2].name: "wrong-secret", bbb_farm.nodes[3].name: "hang"}
    )
    begun = time.monotonic()
    ended = job(database_url, "core", "--once", B3LB_TERMINATION_LOG=str(tmp_path / "message"))
    assert (ended.returncode, ended.stdout) == (0, "")
    assert time.monotonic() - begun < 15
    assert states(engine) == {
        healthy: (True, Reason.RESPONDING, 0),
        dead: (False, Reason.REFUSED, 1),
        wrong: (False, Reason.CHECKSUM_ERROR, 1),
        hanging: (False, Reason.TIMEOUT, 1),
    }
    *transitions, last = log_lines(ended.stderr)
    assert {line["node"]: line["reason"] for line in transitions} == {
        healthy: "Responding",
        dead: "Refused",
        wrong: "ChecksumError",
        hanging: "Timeout",
    }
    message = json.loads((tmp_path / "message").read_bytes())
    assert (last["event"], last["state"], last["tasks"]) == ("run ended", "SUCCESS", message["tasks"])
    assert message["tasks"][0]["summary"]["reasons"] == {"ChecksumError": 1, "Refused": 1, "Timeout": 1}
    heartbeat, run = only(engine, heartbeats), only(engine, task_runs)
    assert heartbeat.summary["polled"] == 4
    assert not any(row.name in json.dumps(heartbeat.summary) for row in rows)
    assert (run.state, run.ticks, run.queue, run.task, run.pod) == ("SUCCESS", 1, "core", "check-nodes", "pod-1")
    assert run.longest_tick_seconds == run.last_tick_seconds > 2
    assert only(engine, leases).expires_at <= datetime.now(UTC)
    everything = ended.stderr + (tmp_path / "message").read_text() + json.dumps(heartbeat.summary)
    for secret in [row.secret for row in rows] + [KEYS.export().partition(":")[2], "checksum="]:
        assert secret is not None
        assert secret not in everything


async def test_a_dead_node_is_suspect_then_not_ready_then_in_back_off_and_comes_back(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(database_url) as run:
        await run.tick()
        bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "refused")
        seen = []
        for _ in range(5):
            await run.tick()
            seen.append(states(engine)["node-000"])
        # After the third failure its back-off begins: one tick, then two, of which the first is left out.
        assert seen == [
            (True, "Refused", 1),
            (True, "Refused", 2),
            (False, "Refused", 3),
            (False, "Refused", 4),
            (False, "Refused", 4),
        ]
        bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "ok")
        for _ in range(6):
            await run.tick()
        assert states(engine)["node-000"] == (True, "Responding", 0)
        assert run.report.failed == 0


@pytest.mark.parametrize("fault", [False, True])
async def test_the_number_of_statements_does_not_grow_with_the_number_of_nodes(
    database_url: str, engine: sa.Engine, bbb_farm: Farm, fault: bool
) -> None:
    counts = {}
    async with runner(database_url, entries=CORE) as run:
        for count in (3, 60):
            bbb_farm.control.set_behaviours({node.name: "ok" for node in bbb_farm.nodes})
            configure(engine, node_rows(bbb_farm.nodes, count=count))
            await run.tick()
            if fault:
                bbb_farm.control.set_behaviour(bbb_farm.nodes[0].name, "refused")
            with count_statements(run.database.engine) as counter:
                await run.tick()
            counts[count] = counter.statements
    assert counts[3] == counts[60]
    assert len(counts[60]) == (26 if fault else 24)


async def test_a_tick_in_which_nothing_changed_writes_heartbeat_task_run_and_lease_only(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(database_url, entries=CORE) as run:
        await run.tick()
        before = versions(engine)
        await run.tick()
        after = versions(engine)
        assert changed_tables(before, after) == BOOKKEEPING
        assert [len(after[name]) for name in sorted(BOOKKEEPING)] == [len(CORE)] * 3
    assert [only(engine, task_runs, task=entry.name).ticks for entry in CORE] == [2, 2]


async def test_a_tick_that_another_run_did_is_skipped_without_a_trace(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(database_url) as first, runner(database_url, holder="pod-2/b") as second:
        await first.tick(first.first)
        bbb_farm.control.reset_counters()
        before = versions(engine)
        await second.tick(first.first)
        await second.tick(first.first - timedelta(seconds=15))
        assert changed_tables(before, versions(engine)) == set()
        assert (second.report.done, second.report.skipped) == (0, 2)
        assert bbb_farm.control.counters().total == 0


def test_runs_at_once_never_do_the_same_tick_twice(database_url: str, engine: sa.Engine, bbb_farm: Farm) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    begin = datetime.now(UTC) + timedelta(seconds=2)
    ticks = tuple(begin + timedelta(seconds=0.5 * number) for number in range(10))
    done: list[datetime] = []
    faults: list[BaseException] = []
    end = ticks[-1] + timedelta(seconds=30)

    async def contend(holder: str) -> None:
        async with runner(database_url, holder=holder) as run:

            async def tick(at: datetime) -> bool:
                before = run.report.done
                await run.tick(at)
                done.extend([at] * (run.report.done - before))
                return True

            await follow(Plan(ticks, end, end), lambda: run.database.clock, tick)

    def in_thread(holder: str) -> None:
        try:
            asyncio.run(contend(holder))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            faults.append(error)

    threads = [threading.Thread(target=in_thread, args=(f"pod-{number}/x",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(done) == sorted(set(done))
    # A slow machine may miss some, never all.
    assert len(done) >= 3
    with engine.connect() as connection:
        counted = connection.execute(sa.select(sa.func.sum(task_runs.c.ticks))).scalar_one()
    assert counted == len(done)


def test_a_run_over_sixty_nodes_stays_far_below_its_memory_limit(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes, count=60))
    # Between the tests and the job, for Linux counts the memory of the process that starts another as the other's.
    launcher = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    output = subprocess.check_output(
        [sys.executable, "-c", launcher, *command("core", "--once")],
        env=environment(database_url),
        text=True,
        timeout=50,
    )
    assert len(states(engine)) == 60
    # The chart's limit is 1 Gi.
    assert float(output) < 200


def test_a_dry_run_polls_and_tells_but_writes_nothing(database_url: str, engine: sa.Engine, bbb_farm: Farm) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    bbb_farm.control.set_behaviour(bbb_farm.nodes[1].name, "refused")
    before = versions(engine)
    ended = job(database_url, "check-nodes", "--dry-run")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert changed_tables(before, versions(engine)) == set()
    *changes, last = [json.loads(line) for line in ended.stdout.splitlines()]
    reasons = {line["change"]["object"]: line["change"]["reason"] for line in changes}
    assert {name: reason for name, reason in reasons.items() if name.startswith("node/")} == {
        "node/node-000": "- → Responding",
        "node/node-001": "- → Refused",
        "node/node-002": "- → Responding",
        "node/node-003": "- → Responding",
    }
    assert [reason for name, reason in reasons.items() if name.startswith("meeting/")] == ["new"] * 9
    assert (last["summary"]["polled"], last["summary"]["failed"], last["summary"]["meetings_new"]) == (4, 1, 9)


def test_a_dry_run_of_the_queue_shows_each_task(database_url: str, engine: sa.Engine, bbb_farm: Farm) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    before = versions(engine)
    ended = job(database_url, "core", "--dry-run")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert changed_tables(before, versions(engine)) == set()
    summaries = [line for line in map(json.loads, ended.stdout.splitlines()) if "summary" in line]
    assert [line["task"] for line in summaries] == ["check-nodes", "update-secrets-lists"]
    assert summaries[1]["summary"] == {"secrets": 0, "closed": 0, "changed": 0}


def test_the_queue_decides_what_neither_flags_nor_environment_say(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    with transaction(engine, timeout_seconds=5) as connection:
        row = QueueRow("core", "uid", 1, ("check-nodes",), tick_seconds=30, max_in_flight=7)
        apply_queues(connection, NAMESPACE, [row], complete=True)
    assert job(database_url, "core", "--once", "--max-in-flight=9").returncode == 0
    assert only(engine, task_runs).arguments == {"tick_seconds": 30, "max_in_flight": 9, "once": True}


async def test_one_secret_that_cannot_be_decrypted_leaves_the_others_polled(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    with transaction(engine, timeout_seconds=5) as connection:
        changed = sa.update(nodes).where(nodes.c.name == "node-001").values(secret_key_id="k9")
        (broken,) = connection.execute(changed.returning(nodes.c.id)).scalars()
    async with runner(database_url) as run:
        await run.tick()
        assert (run.report.done, run.report.end) == (1, None)
    assert set(states(engine)) == {"node-000", "node-002", "node-003"}
    assert only(engine, heartbeats).summary["unpolled"] == {"undecryptable": [broken]}


async def test_a_tick_that_does_not_fit_before_the_run_s_end_is_missed_without_a_trace_unless_it_is_the_first(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes), cluster=ClusterRow("default", "uid", 1, timeout_seconds=30))
    async with runner(database_url) as run:
        now = run.database.clock.now()
        before = versions(engine)
        short = Plan((run.first, run.first + timedelta(seconds=15)), now + timedelta(seconds=20), now)
        run.place = replace(run.place, plan=short)
        await run.tick(short.ticks[1])
        await run.tick(short.ticks[0])
        assert (run.report.done, run.report.missed) == (0, 2)
        assert changed_tables(before, versions(engine)) == set()
        run.place = replace(run.place, plan=replace(short, latest_end=now + timedelta(seconds=60)))
        await run.tick(short.ticks[0])
        assert (run.report.done, run.report.missed) == (1, 2)
