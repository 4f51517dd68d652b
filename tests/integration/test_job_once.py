"""Runs by hand: exactly one tick, also beside other runs, and only in a namespace that there is."""

import dataclasses

import pytest
import sqlalchemy as sa

from b3lb.db.configuration import QueueRow, apply_clusters, apply_queues
from b3lb.db.engine import transaction
from b3lb.db.rows import ClusterRow
from b3lb.db.tables import heartbeats
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.runner import run
from dev.farm.process import Farm
from tests.integration.job_runs import (
    CLUSTER,
    KEYS,
    NAMESPACE,
    changed_tables,
    configure,
    job,
    log_lines,
    node_rows,
    only,
    options,
    runner,
    versions,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_a_run_by_hand_does_its_tick_although_another_one_of_its_second_was_done(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    async with runner(database_url) as ticking:
        ticks = []
        await ticking.tick(ticking.database.clock.now().replace(microsecond=0))
        for _ in range(3):
            ticks.append(only(engine, heartbeats).tick_at)
            ending = await run(options(database_url, "pod-2/b", once=True))
            assert (ending.outcome.exit_code, [report.done for report in ending.reports]) == (ExitCode.DONE, [1, 1])
    assert sorted(set(ticks)) == ticks


async def test_a_run_by_hand_that_did_nothing_does_not_end_as_if_it_had(
    database_url: str, engine: sa.Engine, bbb_farm: Farm
) -> None:
    configure(engine, node_rows(bbb_farm.nodes))
    assert (await run(options(database_url, "pod-1/a", once=True))).outcome.exit_code == ExitCode.DONE
    with engine.begin() as connection:
        connection.execute(sa.update(heartbeats).values(tick_at=sa.text("tick_at + interval '30 seconds'")))
    ending = await run(options(database_url, "pod-2/b", once=True))
    assert (ending.outcome.exit_code, [report.skipped for report in ending.reports]) == (ExitCode.TRANSIENT, [1, 1])
    assert ending.outcome.error == "another run did this tick in the same moment"


@pytest.mark.parametrize("flag", ["--once", "--dry-run"])
def test_a_namespace_without_any_configuration_is_exit_65_with_the_names_there_are_and_leaves_no_trace(
    database_url: str, engine: sa.Engine, flag: str
) -> None:
    configure(engine, [])
    with transaction(engine, timeout_seconds=5) as connection:
        apply_clusters(connection, "second", [dataclasses.replace(CLUSTER, name="c")], complete=True, keys=KEYS)
    before = versions(engine)
    ended = job(database_url, "core", flag, "--namespace", "tpyo")
    assert ended.returncode == 65
    words = "the database has no configuration of the namespace 'tpyo'; it has: default, second"
    assert [line for line in log_lines(ended.stderr) if words in str(line)]
    assert changed_tables(before, versions(engine)) == set()


def test_many_namespaces_are_not_all_named(database_url: str, engine: sa.Engine) -> None:
    with transaction(engine, timeout_seconds=5) as connection:
        for number in range(12):
            apply_clusters(connection, f"n{number:02}", [ClusterRow("c", "uid", 1)], complete=True, keys=KEYS)
    ended = job(database_url, "core", "--once", "--namespace", "tpyo")
    assert ended.returncode == 65
    assert "n00, n01, n02, n03, n04, n05, n06, n07, n08, n09 and 2 more" in ended.stderr


def test_a_namespace_that_has_only_a_queue_or_only_deleted_objects_is_none_that_is_misspelt(
    database_url: str, engine: sa.Engine
) -> None:
    with transaction(engine, timeout_seconds=5) as connection:
        apply_clusters(connection, "second", [CLUSTER], complete=True, keys=KEYS)
        apply_queues(connection, NAMESPACE, [QueueRow("core", "uid", 1, ("check-nodes",))], complete=True)
    assert job(database_url, "core", "--once").returncode == 0
    with transaction(engine, timeout_seconds=5) as connection:
        apply_queues(connection, NAMESPACE, [], complete=True)
    assert job(database_url, "core", "--once").returncode == 0


def test_in_a_database_without_any_configuration_a_run_goes_its_way(database_url: str, engine: sa.Engine) -> None:
    assert job(database_url, "core", "--once").returncode == 0
    assert only(engine, heartbeats).summary["nodes"] == 0
