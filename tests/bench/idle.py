"""What costs although nothing happens: the operator at rest, and a run without nodes."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from b3lb.crypto import KeyRing
from dev.environment import REPOSITORY, Environment, Installation
from dev.farm.process import Farm
from dev.postgres import Postgres
from dev.scenario import NOTHING_DECLARED, Scenario
from tests.bench.scenarios import Figures

NODES = 300
SECONDS = 60
RUNS = 5
MIB = 1024 * 1024


def measure_start(postgres: Postgres) -> float:
    """Return the CPU seconds of `b3lb-job core --once` without nodes, imports included: the median of five runs."""
    url = postgres.create_database("bench_start")
    environment = {
        "PATH": os.environ["PATH"],
        "B3LB_DATABASE_URL": url,
        "B3LB_ENCRYPTION_KEYS": KeyRing.generate("bench").export(),
        "B3LB_NAMESPACE": "bench",
    }
    subprocess.run([sys.executable, "-m", "b3lb.db.migrate"], env=environment, check=True, cwd=REPOSITORY)
    command = [str(Path(sys.executable).parent / "b3lb-job"), "core", "--once"]
    seconds = []
    # The first run writes byte code.
    for _ in range(RUNS + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds[1:])


def count_statements(url: str) -> int:
    """Return how many statements a database has ever had, those of this function aside."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        query = """
            SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements
            WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND query NOT ILIKE '%pg_stat_statements%'
        """
        return int(connection.execute(query).fetchall()[0][0])


def measure_idle(environment: Environment) -> Figures:
    """Return the operator's cost per second with 300 nodes in which nothing changes; statements are the minute's."""
    with (
        Farm(nodes=NODES, meetings=1, attendees=1, frozen=True, start_time="now") as farm,
        Installation(environment, "bench-idle", values=NOTHING_DECLARED) as installation,
    ):
        scenario = Scenario(installation, farm)
        scenario.declare(suspend=True)
        scenario.expect(
            "all are Ready", lambda: installation.kubectl("get", "bbbnodes").count("True") >= NODES, within=90
        )
        operator, postgres = installation.operator, environment.postgres
        time.sleep(10)
        statements = count_statements(installation.database_url)
        began, cpu = time.monotonic(), operator.cpu_seconds()
        pg_cpu, wal = postgres.cpu_seconds(), postgres.wal_bytes()
        time.sleep(SECONDS)
        seconds = time.monotonic() - began
        return Figures(
            scenario="idle",
            cpu_s=(operator.cpu_seconds() - cpu) / seconds,
            floor_cpu_s=0.0,
            pg_cpu_s=(postgres.cpu_seconds() - pg_cpu) / seconds,
            wall_s=seconds,
            peak_rss_mib=operator.resident_bytes() / MIB,
            statements=count_statements(installation.database_url) - statements,
            wal_mib=(postgres.wal_bytes() - wal) / MIB,
        )
