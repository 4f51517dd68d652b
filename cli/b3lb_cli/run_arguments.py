"""The command lines of ``b3lb run``, ``runs``, ``result``, ``revoke`` and ``purge``; nothing heavy is imported."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

AddParser = Callable[..., argparse.ArgumentParser]

MOST_RUNS = 1000
LONGEST_WAIT_SECONDS = 86_400.0

_RUN = """\
Enqueue a run of a task in the BBBQueue that has it. The operator releases it as the queue allows, and a pod of its own
works on it; a task that ticks does one tick more.
"""
_RUN_EPILOG = """\
examples:
  b3lb run check-nodes                      poll all nodes once more
  b3lb run check-nodes --priority 9 --wait  before all others, and say how it ended
  b3lb run --file chain.yaml --wait         several runs that belong together
"""


def add_commands(add_parser: AddParser) -> None:
    """Add the commands to those of a command line by its ``add_parser``."""
    run = _command(add_parser, "run", "enqueue a run of a task", _RUN, epilog=_RUN_EPILOG)
    what = run.add_mutually_exclusive_group(required=True)
    what.add_argument("task", nargs="?", metavar="TASK", help="name of the task")
    what.add_argument(
        "-f", "--file", metavar="FILE", help="a chain, a group or chunks in YAML instead; - is the standard input"
    )
    run.add_argument(
        "--arguments", type=_json_object, default={}, metavar="JSON", help="the task's arguments, a JSON object"
    )
    run.add_argument("--priority", type=_number(0, 9), metavar="N", help="0 to 9, the highest first")
    run.add_argument("--wait", action="store_true", help="wait until the run is over, and print it then")
    run.add_argument(
        "--timeout", type=_seconds, default=600.0, metavar="SECONDS", help="longest time to wait (default: 600)"
    )
    runs = _command(add_parser, "runs", "list task runs, the newest first", "List task runs, the newest first.")
    runs.add_argument("--queue", metavar="QUEUE", help="only those of this queue")
    runs.add_argument("--task", metavar="TASK", help="only those of this task")
    runs.add_argument("--of", type=_run_id, metavar="ID", help="only the steps of this chain, group or these chunks")
    runs.add_argument("--state", metavar="STATE", help="only those in this state, e.g. FAILURE")
    runs.add_argument(
        "--limit",
        type=_number(1, MOST_RUNS),
        default=50,
        metavar="N",
        help=f"at most N, up to {MOST_RUNS}; default: 50",
    )
    result = _command(add_parser, "result", "show a task run with its result", "Show a task run with its result.")
    result.add_argument("run", type=_run_id, metavar="ID", help="the run's ID")
    revoke = _command(
        add_parser,
        "revoke",
        "revoke an enqueued run",
        "Revoke an enqueued run: one that waits never begins, one that is at work is stopped.",
    )
    revoke.add_argument("run", type=_run_id, metavar="ID", help="the run's ID")
    purge = _command(
        add_parser,
        "purge",
        "revoke all waiting runs of a queue",
        "Revoke every run of a queue that waits; others go on.",
    )
    purge.add_argument("queue", metavar="QUEUE", help="name of the BBBQueue")


def _command(
    add_parser: AddParser, name: str, help_text: str, description: str, *, epilog: str | None = None
) -> argparse.ArgumentParser:
    made = add_parser(
        name,
        help=help_text,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("-n", "--namespace", metavar="NAMESPACE", help="namespace of the BBBQueues")
    made.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default: table")
    return made


def _number(least: int, greatest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text[:9]) <= greatest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {greatest}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to {LONGEST_WAIT_SECONDS:g}")
    return seconds


def _run_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not the ID of a run; b3lb runs lists them") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError('write a JSON object, e.g. {"name": "value"}')
    return value
