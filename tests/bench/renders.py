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
from tests.integration.render_rows import plan_renders
from tests.integration.render_scale import most_at_once, render_all

CONCURRENCY = 4
TENANTS = {"AAA": 700, "BBB": 200, "CCC": 80, "DDD": 20}
"""Recordings by tenant; those of one after those of the other, the largest first."""

RENDERS = sum(TENANTS.values())
_WITHIN_SECONDS = 3600


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
            planned = {
                tenant: plan_renders(
                    cluster.engine, cluster.namespace, [f"{tenant}-{number}" for number in range(count)], tenant=tenant
                )
                for tenant, count in TENANTS.items()
            }
            runs = [run for of_tenant in planned.values() for run in of_tenant]
            order = render_all(RenderPlayer(cluster), runs, within=_WITHIN_SECONDS)
            at_once = most_at_once(cluster.engine, runs)
            assert sorted(order) == sorted(runs)
            assert at_once <= CONCURRENCY
            print(
                f"renders: {len(order)} recordings, each once, at most {at_once} at work; {_fairness(planned, order)}"
            )
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
    # A tenant has at least its share of the places, so of all that end until then at most so many are others'.
    # What began while those of it were not there yet comes before that.
    assert last["DDD"] <= len(TENANTS) * len(planned["DDD"]) + place[planned["DDD"][0]] + CONCURRENCY, last
    return ", ".join(f"{tenant}'s {len(planned[tenant])} after {number}" for tenant, number in last.items())
