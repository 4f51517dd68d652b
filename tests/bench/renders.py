"""A thousand recordings at once: what releasing their renders costs the operator, and whether it does so rightly.

The pods are played: rows and statuses change as theirs would, and nothing is rendered.
"""

from __future__ import annotations

import time
from pathlib import Path
from uuid import UUID

from dev.controlplane import ControlPlane
from dev.memory import peak_mebibytes
from dev.postgres import Postgres
from tests.bench.scenarios import Figures
from tests.integration.operator_cluster import API_VERSION, OperatorCluster, bbb_record_profile, install_definitions
from tests.integration.render_player import RenderPlayer
from tests.integration.render_rows import planned_runs, upload
from tests.integration.render_scale import most_at_once, render_all

CONCURRENCY = 4
TENANTS = {"AAA": 700, "BBB": 200, "CCC": 80, "DDD": 20}
"""Recordings by tenant; those of one after those of the other, the largest first."""

RENDERS = sum(TENANTS.values())
_WITHIN_SECONDS = 3600
_LATEST_FIRST = 100
"""So many may have been rendered before the first one of the last tenant, which is uploaded seconds later."""


def measure_renders(directory: Path, assets: Path, postgres: Postgres) -> Figures:
    """Return what the operator took until all were rendered.

    Raises:
        AssertionError: More than `CONCURRENCY` were at work at once, one was rendered twice or not at all, or a tenant
            with few of them had to wait longer than its share.
    """
    with ControlPlane(directory / "control-plane", assets=assets) as plane:
        install_definitions(plane)
        with OperatorCluster(plane, postgres, directory) as cluster:
            spec = {"tasks": ["render-record"], "concurrency": CONCURRENCY}
            queue = {"apiVersion": API_VERSION, "kind": "BBBQueue", "metadata": {"name": "record"}, "spec": spec}
            cluster.apply(bbb_record_profile("hd"), queue)
            cluster.expect_condition("bbbqueue", "record", "True/OnDemand", within=30)
            pid, cpu, pg_cpu = cluster.process.pid, cluster.process.cpu_seconds(), postgres.cpu_seconds()
            began = time.monotonic()
            for tenant, count in TENANTS.items():
                names = [f"{tenant}-{number}" for number in range(count)]
                upload(cluster.engine, cluster.namespace, names, tenant=tenant)
            planned: dict[str, list[UUID]] = {}

            def all_planned() -> bool:
                planned.update(planned_runs(cluster.engine, cluster.namespace))
                return sum(map(len, planned.values())) == RENDERS

            seconds = cluster.expect("all are planned", all_planned, within=300)
            runs = [run for of_tenant in planned.values() for run in of_tenant]
            order = render_all(RenderPlayer(cluster), runs, within=_WITHIN_SECONDS)
            at_once = most_at_once(cluster.engine, runs)
            assert sorted(order) == sorted(runs)
            assert at_once <= CONCURRENCY
            print(
                f"renders: {len(order)} recordings planned in {seconds:.1f} s, each rendered once, {at_once} at a time"
            )
            print(f"renders: {_fairness(planned, order)}")
            return Figures(
                scenario="renders",
                cpu_s=cluster.process.cpu_seconds() - cpu,
                floor_cpu_s=0.0,
                pg_cpu_s=postgres.cpu_seconds() - pg_cpu,
                wall_s=time.monotonic() - began,
                peak_rss_mib=peak_mebibytes(pid),
                statements=0,
                wal_mib=0.0,
            )


def _fairness(planned: dict[str, list[UUID]], order: list[UUID]) -> str:
    """Return when the last of each tenant's was rendered: with equal shares nobody waits for those who have more."""
    place = {run: number for number, run in enumerate(order, start=1)}
    last = {tenant: max(place[run] for run in runs) for tenant, runs in planned.items()}
    # From the first one on a tenant has its share of the places, but for those that get free at the same moment.
    first = min(place[run] for run in planned["DDD"])
    assert last["DDD"] <= first + len(TENANTS) * len(planned["DDD"]) * 5 / 4 + CONCURRENCY, last
    assert first <= _LATEST_FIRST, first
    return ", ".join(f"{tenant}'s {len(planned[tenant])} after {number}" for tenant, number in last.items())
