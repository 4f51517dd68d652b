"""The measured process: real ticks of `check-nodes`, then the floor; started anew for each scenario.

Reads a line from standard input before every tick (the parent has changed the farm meanwhile) and prints a JSON line
after it.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from datetime import timedelta

import aiohttp
import lxml.etree
from yarl import URL

from b3lb.bbb.checksum import signed_url
from b3lb.crypto import KeyRing
from b3lb.db.engine import count_statements
from b3lb.db.node_states import NodePoll, load_polls
from b3lb.db.planning import secret_context
from b3lb.db.task_runs import start
from b3lb.logs import configure
from b3lb_jobs.core.check_nodes import CheckNodes
from b3lb_jobs.database import Database
from b3lb_jobs.interface import TaskContext
from b3lb_jobs.report import TaskReport
from b3lb_jobs.task_table import route
from b3lb_jobs.tick import TickPlace, run_tick
from b3lb_jobs.ticks import plan_single

NAMESPACE = "bench"
TICK_SECONDS = 15


async def measure(url: str, keys: KeyRing) -> None:
    """Run ticks as the parent asks for them, then the floor."""
    database = Database(url, application_name="b3lb-bench", monotonic=time.monotonic)
    context = TaskContext(namespace=NAMESPACE, keys=keys, tick_seconds=TICK_SECONDS, max_in_flight=100)
    report = TaskReport(route(["check-nodes"])[0])
    with database.transaction() as connection:
        start(
            connection, report.run_id, namespace=NAMESPACE, queue="core", task="check-nodes", pod="bench", arguments={}
        )
    at = database.clock.now()
    async with CheckNodes(context) as task:
        while sys.stdin.readline().strip() == "tick":
            at += timedelta(seconds=TICK_SECONDS)
            place = TickPlace(database, NAMESPACE, "bench", plan=plan_single(database.clock.now()))
            begun, cpu = time.monotonic(), time.process_time()
            with count_statements(database.engine) as counter:
                await run_tick(task, report, at, place)
            say(cpu=time.process_time() - cpu, wall=time.monotonic() - begun, statements=counter.count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with database.transaction() as connection:
        polls = load_polls(connection, NAMESPACE, tick_seconds=TICK_SECONDS)
    say(peak_rss_mib=peak, floor=[await floor(polls, keys) for _ in range(3)])


async def floor(polls: list[NodePoll], keys: KeyRing) -> float:
    """Return the CPU seconds of the bare client's GETs of all nodes and of parsing their bodies."""
    urls = []
    for poll in polls:
        if poll.state is None or not poll.state.ready:
            continue
        secret = keys.decrypt(poll.secret_ciphertext, poll.secret_key_id, context=secret_context(NAMESPACE, poll.name))
        urls += [signed_url(poll.api_url, "getMeetings", "", secret, poll.algorithm), poll.load_url]
    limit = asyncio.Semaphore(100)

    async def get(session: aiohttp.ClientSession, url: str) -> None:
        async with limit, session.get(URL(url, encoded=True)) as response:
            body = await response.read()
        if body.startswith(b"<"):
            lxml.etree.fromstring(body)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        cpu = time.process_time()
        async with asyncio.TaskGroup() as group:
            for url in urls:
                group.create_task(get(session, url))
        return time.process_time() - cpu


def say(**figures: object) -> None:
    """Print figures for the parent."""
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    configure("json", "warning")
    asyncio.run(measure(sys.argv[1], KeyRing.parse(sys.argv[2])))
