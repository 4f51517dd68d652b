"""``--dry-run``: one tick that polls and decides, and prints what it would write instead of writing it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from b3lb_jobs.database import Database
from b3lb_jobs.errors import Outcome, outcome_of
from b3lb_jobs.interface import Findings
from b3lb_jobs.opening import open_run
from b3lb_jobs.options import RunOptions
from b3lb_jobs.report import SUCCESS
from b3lb_jobs.task_table import longest_of
from b3lb_jobs.tick import allow_until, seconds_for_work
from b3lb_jobs.ticks import plan_single


async def dry_run(options: RunOptions, stream: TextIO, *, table: bool) -> Outcome:
    """Print what a tick of each task would change, as a table or as JSON lines; return how the run ended.

    Everything is read in read-only transactions; no lease is taken and no task run is noted.
    """
    database = Database(
        options.database_url,
        application_name="b3lb-job dry run",
        monotonic=asyncio.get_running_loop().time,
        keepalive=options.keepalive,
    )
    try:
        context = await open_run(database, options, ())
        plan = plan_single(database.clock.now(), longest_of(options.entries))
        allow_until(database, plan.ends_at)
        for entry in options.entries:
            async with entry.load()(context) as task:
                with database.transaction(read_only=True) as connection:
                    loaded = task.load(connection, plan.ticks[0])
                seconds = seconds_for_work(task.seconds_needed(loaded), database.clock.until(plan.ends_at))
                findings = await task.work(loaded, at=plan.ticks[0], seconds=seconds)
            stream.write(render(entry.name, findings, table=table))
            if findings.failure is not None:
                return outcome_of(findings.failure)
    except Exception as error:
        outcome = outcome_of(error)
        if not outcome.expected:
            raise
        return outcome
    finally:
        database.close()
    return SUCCESS


def render(task: str, findings: Findings, *, table: bool) -> str:
    """Return the changes of one task for people or for programs; the last line or lines hold the summary."""
    if table:
        summary = ", ".join(f"{key}: {value}" for key, value in findings.summary.items() if _is_plain(value))
        body = _table(findings.changes) if findings.changes else "nothing would change"
        return f"{body}\n{task}: {summary}\n"
    lines = [{"task": task, "change": change} for change in findings.changes]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*lines, _summary_line(task, findings)])


def _summary_line(task: str, findings: Findings) -> dict[str, Any]:
    return {"task": task, "summary": dict(findings.summary)}


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as columns; the last column is not padded."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[name.upper() for name in names], *([_cell(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cell(value: object) -> str:
    # A node's message may hold anything; one row is one line.
    return " ".join(str(value).split())
