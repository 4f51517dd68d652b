"""``b3lb inspect``: what workers and queues are doing, in the words that people know from Celery."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from b3lb_cli.arguments import WIDE_OUTPUTS, Commands, Execute, add_command, add_group
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import (
    Column,
    Item,
    Listing,
    age,
    as_table,
    count,
    joined,
    names,
    seconds,
    span,
    text,
    write_document,
    write_listing,
    yes,
)
from b3lb_cli.source import operator
from b3lb_cli.table import shown

_PROBLEM_COLUMNS = 200

ACTIVE = Listing(
    "pods at work",
    (
        text("ID", "id"),
        text("TASK", "task"),
        text("QUEUE", "queue"),
        text("POD", "pod", columns=63),
        count("ATTEMPT", "attempt"),
        seconds("RUNNING", "seconds"),
        yes("ENQUEUED", "enqueued"),
        text("JOB", "job", columns=63, wide=True),
        text("NAMESPACE", "namespace", wide=True),
    ),
)
SCHEDULED = Listing(
    "runs to come",
    (
        age("WHEN", "at"),
        text("AT", "at", wide=True),
        text("QUEUE", "queue"),
        names("TASKS", "tasks"),
        text("KIND", "kind"),
        count("PRIORITY", "priority"),
        text("ID", "id"),
        text("NAMESPACE", "namespace", wide=True),
    ),
)
REGISTERED = Listing(
    "tasks",
    (
        text("TASK", "task"),
        Column("QUEUE", lambda item, _now: joined([route["queue"] for route in item.get("routedTo") or ()])),
        text("RUNS", "runs"),
        text("DESCRIPTION", "description", columns=80),
        text("DEFAULT QUEUE", "queue", wide=True),
    ),
)
STATS = Listing(
    "tasks that ever ran",
    (
        text("TASK", "task"),
        text("QUEUE", "queue"),
        count("PENDING", "pending"),
        count("STARTED", "started"),
        count("SUCCESS", "success"),
        count("FAILURE", "failure"),
        count("RETRY", "retry"),
        count("REVOKED", "revoked"),
        Column("1H OK/FAILED", lambda item, _now: ended(item, "1h"), right=True),
        Column("24H OK/FAILED", lambda item, _now: ended(item, "24h"), right=True),
        seconds("P50", "p50Seconds"),
        seconds("P95", "p95Seconds"),
        age("LAST", "lastFinishedAt"),
        text("NAMESPACE", "namespace", wide=True),
    ),
)
ACTIVE_QUEUES = Listing(
    "queues",
    (
        text("QUEUE", "queue"),
        names("TASKS", "tasks"),
        count("CONSUMERS", "consumers"),
        count("CONCURRENCY", "concurrency"),
        yes("SUSPENDED", "suspended"),
        text("NAMESPACE", "namespace", wide=True),
    ),
)
PING_QUEUES = Listing(
    "queues",
    (
        text("QUEUE", "name"),
        Column("ANSWER", lambda item, _now: "-" if item.get("up") is None else "up" if item["up"] else "down"),
        age("LAST SUCCESS", "lastSuccess"),
        text("NAMESPACE", "namespace", wide=True),
    ),
)


def add_commands(commands: Commands) -> None:
    """Add ``inspect`` with its commands."""
    group = add_group(commands, "inspect", summary="what workers and queues are doing")
    add_command(
        group,
        "ping",
        summary="whether the operator and every queue are alive",
        description="Ask whether the operator lives, leads and reaches the database, and which queues did their work"
        " lately. Exit code 1 if something is wrong.",
        examples=("b3lb inspect ping && echo all is well", "b3lb inspect ping -o json | jq .problems"),
        outputs=WIDE_OUTPUTS,
        execute=_ping,
    )
    listings: Sequence[tuple[str, str, Listing]] = (
        ("active", "what pods work on now", ACTIVE),
        ("scheduled", "what comes next: slots of schedules, retries, waiting runs", SCHEDULED),
        ("registered", "the tasks that there are, and the queues that run them", REGISTERED),
        ("stats", "how often tasks succeeded and failed, and how long they took", STATS),
        ("active-queues", "the queues, with what they take and how many pods are at work", ACTIVE_QUEUES),
    )
    for name, summary, listing in listings:
        add_command(
            group,
            name,
            summary=summary,
            examples=(f"b3lb inspect {name}", f"b3lb inspect {name} -n b3lb -o json"),
            outputs=WIDE_OUTPUTS,
            execute=printing(f"/{name}", listing),
        )


def printing(path: str, listing: Listing) -> Execute:
    """Return what prints the operator's document at a path, of the namespace that ``-n`` names or of all."""

    def execute(options: argparse.Namespace) -> None:
        write_listing(listing, operator(options).get(path, namespace=farm_namespace(options)), options.output)

    return execute


def ended(item: Item, period: str) -> str:
    """Return how many runs succeeded and failed in a period: ``12/0``."""
    succeeded, failed = item.get(f"succeeded{period}"), item.get(f"failed{period}")
    return "-" if succeeded is None and failed is None else f"{succeeded or 0}/{failed or 0}"


def _ping(options: argparse.Namespace) -> None:
    document = operator(options).get("/ping", namespace=farm_namespace(options))
    if options.output in {"json", "yaml"}:
        write_document(document, options.output)
    else:
        sys.stdout.write(ping_table(document, wide=options.output == "wide"))
    problems = document.get("problems") or []
    down = [queue for queue in document.get("queues") or () if queue.get("up") is False]
    well = document.get("live") and document.get("ready") and document.get("databaseUp") and not problems and not down
    if not well:
        raise CommandError(ExitCode.NOT_FOUND, _verdict(document, len(down)))


def ping_table(document: Item, *, wide: bool = False) -> str:
    """Return the operator's answer to a ping: itself, its problems, its queues."""
    problems = [f"  {shown(str(problem), _PROBLEM_COLUMNS)}\n" for problem in document.get("problems") or ()]
    queues = as_table(PING_QUEUES, {"asOf": document.get("asOf"), "items": document.get("queues")}, wide=wide)
    return "".join([f"{operator_line(document)}\n", *problems, "\n" if queues else "", queues])


def operator_line(document: Item) -> str:
    """Return what the operator says of itself in one line."""
    words = [
        f"operator {shown(str(document.get('version')), _PROBLEM_COLUMNS)}",
        "live" if document.get("live") else "not live",
        "ready" if document.get("ready") else "not ready",
        "leads" if document.get("leads") else "stands by",
        "database up" if document.get("databaseUp") else "database down",
        f"loop lag {span(document.get('loopLagSeconds'))}",
    ]
    return ", ".join(words)


def _verdict(document: Item, down: int) -> str:
    problems = len(document.get("problems") or ())
    parts = [] if document.get("live") and document.get("ready") else ["the operator is not ready"]
    parts += [] if document.get("databaseUp") else ["it does not reach the database"]
    parts += [f"{problems} problem{'' if problems == 1 else 's'}"] if problems else []
    parts += [f"{down} queue{'' if down == 1 else 's'} without a recent success"] if down else []
    return ", ".join(parts)
