"""``b3lb report``: everything that a request for support needs, in one text, and nothing secret."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from b3lb import __version__
from b3lb_cli.arguments import Commands, add_command
from b3lb_cli.farm import CLUSTERS, NODES, QUEUES
from b3lb_cli.inspection import ACTIVE, STATS, ping_table
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError
from b3lb_cli.output import Item, Listing, as_table, long_text, notes, text, write_document
from b3lb_cli.runs import LISTING as RUNS
from b3lb_cli.source import operator
from b3lb_cli.table import shown

if TYPE_CHECKING:
    from b3lb_cli.operator_client import OperatorClient

FAILED_RUNS = 20

_DESCRIPTION = """\
Print versions, ping, queues, nodes, clusters, statistics, runs at work, failed runs and the doctor's findings in one
text: no secrets, no tokens, no arguments and results of runs. What cannot be had is named with the reason. Names of
nodes, queues and namespaces are in it.
"""

_LINE_COLUMNS = 300
_UNTOLD = frozenset({"arguments", "result"})
"""What a run was given and made: names of people's meetings, perhaps."""

_FINDINGS = Listing(
    "findings",
    (
        text("STATUS", "status"),
        text("CHECK", "check"),
        text("OBJECT", "object", columns=80),
        long_text("MESSAGE", "message"),
        long_text("REMEDY", "remedy"),
    ),
)
_PARTS: Mapping[str, tuple[str, Mapping[str, object], Listing]] = {
    "queues": ("/queues", {}, QUEUES),
    "nodes": ("/nodes", {}, NODES),
    "clusters": ("/clusters", {}, CLUSTERS),
    "stats": ("/stats", {}, STATS),
    "active": ("/active", {}, ACTIVE),
    "failedRuns": ("/runs", {"state": "FAILURE", "limit": FAILED_RUNS}, RUNS),
    "doctor": ("/doctor", {}, _FINDINGS),
}


def add_commands(commands: Commands) -> None:
    """Add ``report``."""
    add_command(
        commands,
        "report",
        summary="print one text for a request for support; nothing in it is secret",
        description=_DESCRIPTION,
        examples=("b3lb report > report.txt", "b3lb report -o json > report.json"),
        outputs=("text", "json", "yaml"),
        execute=_report,
    )


def collect(client: OperatorClient, namespace: str | None, *, now: datetime) -> dict[str, Any]:
    """Return the report; a part that cannot be had is an entry of ``errors``."""
    found: dict[str, Any] = {
        "kind": "Report",
        "asOf": now.isoformat(),
        "command": {
            "version": __version__,
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
    }
    errors: dict[str, str] = {}
    for name, (path, query, _) in {"ping": ("/ping", {}, None), **_PARTS}.items():
        try:
            found[name] = client.get(path, namespace=namespace, **query)
        except CommandError as error:
            errors[name] = str(error)
    if "failedRuns" in found:
        found["failedRuns"] = {**found["failedRuns"], "items": [_told(run) for run in found["failedRuns"]["items"]]}
    return {**found, "errors": errors}


def as_text(report: Item) -> str:
    """Return the report for people: a heading for each part, and what there is in wide tables."""
    command = report["command"]
    parts = [
        f"b3lb report of {report['asOf']}\n",
        f"command {command['version']} on {command['python']}, {command['system']}\n",
    ]
    if "ping" in report:
        parts.append(_part("ping", ping_table(report["ping"], wide=True)))
    for name, (_, _, listing) in _PARTS.items():
        if name in report:
            told = "".join(f"{note}\n" for note in notes(report[name]))
            parts.append(_part(name, (as_table(listing, report[name], wide=True) or f"no {listing.what}\n") + told))
    parts += [_part(name, f"not known: {shown(reason, _LINE_COLUMNS)}\n") for name, reason in report["errors"].items()]
    return "".join(parts)


def _part(name: str, content: str) -> str:
    return f"\n== {name}\n{content}"


def _told(run: Item) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name not in _UNTOLD}


def _report(options: argparse.Namespace) -> None:
    report = collect(operator(options), farm_namespace(options), now=datetime.now(UTC))
    if options.output == "text":
        sys.stdout.write(as_text(report))
    else:
        write_document(report, options.output)
