"""`make bench`: what a tick costs on the way that a user's ticks go, beside a floor measured in the same run."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from b3lb.crypto import KeyRing
from b3lb.db.configuration import apply_clusters, apply_nodes, apply_secrets, apply_tenants
from b3lb.db.engine import create_engine, transaction
from b3lb.db.rows import ApiSecretRow, ClusterRow, NodeRow, TenantRow
from dev.environment import REPOSITORY, Environment
from dev.farm.messages import FarmNode
from dev.farm.process import Farm
from dev.farm.tenants import Secret, tenant_secrets
from dev.postgres import Postgres
from dev.toolchain import assets_directory
from tests.bench import scrape
from tests.bench.idle import measure_idle, measure_start
from tests.bench.renders import RENDERS, measure_renders
from tests.bench.scenarios import STATISTICS, TICKS, Figures, TickScenario, bars, table
from tests.bench.ticks import NAMESPACE

MIB = 1024 * 1024
# A step changes 24 % of the meetings: so many nodes have two.
MORE_STEPS = 0.35


def main() -> None:
    """Measure what was asked for, print the table, write the report."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", help="names of scenarios; default: all")
    parser.add_argument("--output", type=Path, default=REPOSITORY / ".bench" / "core.json")
    arguments = parser.parse_args()
    names = [*(scenario.name for scenario in (*TICKS, STATISTICS)), "scrape", "renders", "idle"]
    unknown = set(arguments.only or ()) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = arguments.only or names
    rows = []
    with tempfile.TemporaryDirectory(prefix="b3lb-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with Postgres(directory / "postgres", fsync=True) as postgres:
            for scenario in TICKS:
                if scenario.name in chosen:
                    print(f"{scenario.name}: {scenario.nodes} nodes, {scenario.ticks} ticks …", file=sys.stderr)
                    rows.append(measure_ticks(scenario, postgres))
            if STATISTICS.name in chosen:
                print(f"statistics: {STATISTICS.nodes} nodes, {STATISTICS.ticks} runs …", file=sys.stderr)
                rows.append(measure_statistics(STATISTICS, postgres))
            if "scrape" in chosen:
                print(f"scrape: {scrape.NODES} nodes, {scrape.SECRETS} secrets …", file=sys.stderr)
                rows.append(measure_scrape(postgres))
            if "renders" in chosen:
                print(f"renders: {RENDERS} recordings at once …", file=sys.stderr)
                rows.append(measure_renders(directory, assets_directory(), postgres))
            print(f"fixed cost of `b3lb-job core --once` without nodes: {measure_start(postgres):.2f} s CPU")
        if "idle" in chosen:
            print("idle: the operator with 300 nodes in which nothing changes …", file=sys.stderr)
            with Environment(directory / "environment") as environment:
                rows.append(measure_idle(environment))
    print(table(rows))
    print(bars(rows))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("idle: CPU per second, statements and WAL per minute")
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")


def measure_ticks(scenario: TickScenario, postgres: Postgres) -> Figures:
    """Return the medians of a scenario's ticks; the first tick, in which every node is new, does not count."""
    url = postgres.create_database(f"bench_{scenario.name}")
    migrate(url)
    keys = KeyRing.generate("bench")
    secrets = tenant_secrets(scenario.tenants, scenario.secrets)
    with Farm(
        nodes=scenario.nodes,
        meetings=scenario.meetings,
        attendees=scenario.attendees,
        tenants=secrets,
        frozen=True,
        start_time="now",
    ) as farm:
        declare(url, keys, farm.nodes, secrets)
        command = [sys.executable, "-m", "tests.bench.ticks", url, keys.export()]
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            tick(child)
            hanging = [node.name for node in farm.nodes[: scenario.hanging]]
            if hanging:
                farm.control.set_behaviours(dict.fromkeys(hanging, "hang"))
            measured = [measure_tick(farm, postgres, child) for _ in range(scenario.ticks)]
            postgres.checkpoint()
            after_checkpoint = measure_tick(farm, postgres, child)
            end = ask(child, "end")
    return Figures(
        scenario=scenario.name,
        cpu_s=statistics.median(figures["cpu"] for figures in measured),
        floor_cpu_s=statistics.median(end["floor"]),
        pg_cpu_s=statistics.median(figures["pg_cpu"] for figures in measured),
        wall_s=statistics.median(figures["wall"] for figures in measured),
        peak_rss_mib=end["peak_rss_mib"],
        statements=max(figures["statements"] for figures in measured),
        wal_mib=statistics.median(figures["wal"] for figures in measured),
        wal_checkpoint_mib=after_checkpoint["wal"],
        changed=statistics.median(figures["changed"] for figures in measured),
        unseen=max(figures["unseen"] for figures in measured),
    )


def measure_statistics(scenario: TickScenario, postgres: Postgres) -> Figures:
    """Return the medians of runs of the statistics queue, each after a tick of the core queue that changed meetings."""
    url = postgres.create_database(f"bench_{scenario.name}")
    migrate(url)
    keys = KeyRing.generate("bench")
    secrets = tenant_secrets(scenario.tenants, scenario.secrets)
    with (
        Farm(
            nodes=scenario.nodes,
            meetings=scenario.meetings,
            attendees=scenario.attendees,
            tenants=secrets,
            frozen=True,
        ) as farm,
        contextlib.ExitStack() as stack,
    ):
        declare(url, keys, farm.nodes, secrets)
        core, queue = (
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", f"tests.bench.{module}", url, keys.export()],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for module in ("ticks", "statistics")
        )
        tick(core)
        tick(queue)
        measured = []
        for _ in range(scenario.ticks):
            measure_tick(farm, postgres, core)
            cpu, wal = postgres.cpu_seconds(), postgres.wal_bytes()
            figures = tick(queue)
            figures["pg_cpu"] = postgres.cpu_seconds() - cpu
            figures["wal"] = (postgres.wal_bytes() - wal) / MIB
            measured.append(figures)
        ask(core, "end")
        end = ask(queue, "end")
    return Figures(
        scenario=scenario.name,
        cpu_s=statistics.median(figures["cpu"] for figures in measured),
        floor_cpu_s=statistics.median(end["floor"]),
        pg_cpu_s=statistics.median(figures["pg_cpu"] for figures in measured),
        wall_s=statistics.median(figures["wall"] for figures in measured),
        peak_rss_mib=end["peak_rss_mib"],
        statements=max(figures["statements"] for figures in measured),
        wal_mib=statistics.median(figures["wal"] for figures in measured),
    )


def measure_scrape(postgres: Postgres) -> Figures:
    """Return the medians of scrapes of the operator's metrics, each of which reads everything anew."""
    database = postgres.create_database("bench_scrape")
    migrate(database)
    urls = [f"http://node-{number}.example.org" for number in range(scrape.NODES)]
    farm = [
        FarmNode(
            name=f"node-{number}", api_url=f"{url}/bigbluebutton/api", load_url=f"{url}/b3lb/load", secret="secret"
        )
        for number, url in enumerate(urls)
    ]
    declare(database, KeyRing.generate("bench"), farm, tenant_secrets(scrape.TENANTS, scrape.SECRETS))
    pg_cpu = postgres.cpu_seconds()
    command = [sys.executable, "-m", "tests.bench.scrape", database]
    figures = json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout)
    print(f"scrape: {figures['series']} series")
    return Figures(
        scenario="scrape",
        cpu_s=statistics.median(figures["cpu"]),
        floor_cpu_s=statistics.median(figures["floor"]),
        pg_cpu_s=(postgres.cpu_seconds() - pg_cpu) / (scrape.RUNS + 1),
        wall_s=statistics.median(figures["wall"]),
        peak_rss_mib=figures["peak_rss_mib"],
        statements=figures["statements"],
        wal_mib=0.0,
    )


def measure_tick(farm: Farm, postgres: Postgres, child: subprocess.Popen[str]) -> dict[str, Any]:
    """Let the farm's time go on until about 30 % of the meetings changed, then return the figures of a tick."""
    farm.control.step()
    farm.control.step(nodes=math.ceil(MORE_STEPS * len(farm.nodes)))
    cpu, wal = postgres.cpu_seconds(), postgres.wal_bytes()
    figures = tick(child)
    figures["pg_cpu"] = postgres.cpu_seconds() - cpu
    figures["wal"] = (postgres.wal_bytes() - wal) / MIB
    return figures


def tick(child: subprocess.Popen[str]) -> dict[str, Any]:
    """Let the measured process do a tick and return its figures."""
    return ask(child, "tick")


def ask(child: subprocess.Popen[str], what: str) -> dict[str, Any]:
    """Write a line to the measured process and read its answer."""
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("the measured process has no pipes")
    child.stdin.write(f"{what}\n")
    child.stdin.flush()
    answer: dict[str, Any] = json.loads(child.stdout.readline())
    return answer


def migrate(url: str) -> None:
    """Create the schema as the operator does."""
    subprocess.run([sys.executable, "-m", "b3lb.db.migrate"], env={**os.environ, "B3LB_DATABASE_URL": url}, check=True)


def declare(url: str, keys: KeyRing, farm: list[FarmNode], secrets: list[Secret]) -> None:
    """Write a cluster, the farm's nodes and the tenants into the configuration tables, as the operator does."""
    engine = create_engine(url, application_name="b3lb-bench")
    now = datetime.now(UTC)
    nodes = [
        NodeRow(
            name=node.name,
            uid=node.name,
            generation=1,
            cluster="default",
            api_url=node.api_url,
            load_url=node.load_url,
            secret=node.secret,
            created_at=now,
        )
        for node in farm
    ]
    tenants = [
        TenantRow(name=slug.lower(), uid=slug, generation=1, created_at=now, slug=slug)
        for slug in sorted({secret.slug for secret in secrets})
    ]
    api_secrets = [
        ApiSecretRow(
            name=str(secret).lower(),
            uid=str(secret),
            generation=1,
            created_at=now,
            tenant=secret.slug.lower(),
            sub_id=secret.sub_id,
            secret=f"secret of {secret}",
        )
        for secret in secrets
    ]
    with transaction(engine, timeout_seconds=30) as connection:
        apply_clusters(connection, NAMESPACE, [ClusterRow("default", "default", 1)], complete=True, keys=keys)
        apply_nodes(connection, NAMESPACE, nodes, complete=True, keys=keys)
        apply_tenants(connection, NAMESPACE, tenants, complete=True)
        apply_secrets(connection, NAMESPACE, api_secrets, complete=True, keys=keys)
    engine.dispose()


if __name__ == "__main__":
    main()
