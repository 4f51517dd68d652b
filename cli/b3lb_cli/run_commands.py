"""The command lines of ``b3lb run``, ``runs``, ``result``, ``revoke`` and ``purge``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys

from b3lb_cli.arguments import OUTPUTS, WIDE_OUTPUTS, Commands, Parser, add_command, lazily
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.source import DATABASE_VARIABLE
from b3lb_cli.values import argument, duration, json_object, number, run_id

MOST_RUNS = 1000
_NEEDED = (DATABASE_VARIABLE, "B3LB_ENCRYPTION_KEYS")

_RUN = """\
Enqueue a run of a task in the BBBQueue that has it. The operator releases it as the queue allows, and a pod of its own
works on it; a task that ticks does one tick more. Without B3LB_DATABASE_URL the request goes to the operator as an
annotation of the BBBQueue: you need the right to patch it.

With --once the task runs here, in this process, with the rights of whoever has B3LB_DATABASE_URL and
B3LB_ENCRYPTION_KEYS: nothing is enqueued.
"""


def add_commands(commands: Commands) -> None:
    """Add the commands."""
    _add_run(commands)
    _add_runs(commands)
    result = add_command(
        commands,
        "result",
        summary="show a task run with its result",
        examples=("b3lb result 7b1c0a52-8f0e-4c55-9f0c-0d2f6c1f6f0a",),
        execute=lazily("b3lb_cli.runs:result"),
    )
    _add_id(result)
    revoke = add_command(
        commands,
        "revoke",
        summary="revoke an enqueued run",
        description="Revoke an enqueued run: one that waits never begins, one that is at work is stopped.",
        examples=("b3lb revoke 7b1c0a52-8f0e-4c55-9f0c-0d2f6c1f6f0a",),
        execute=lazily("b3lb_cli.runs:revoke"),
    )
    _add_id(revoke)
    purge = add_command(
        commands,
        "purge",
        summary="revoke all waiting runs of a queue",
        description="Revoke every run of a queue that waits; those at work go on.",
        examples=("b3lb purge record",),
        execute=lazily("b3lb_cli.runs:purge"),
    )
    purge.add_argument("queue", metavar="QUEUE", help="name of the BBBQueue")


def _add_runs(commands: Commands) -> None:
    runs = add_command(
        commands,
        "runs",
        summary="list task runs, the newest first",
        description="List task runs, the newest first: those that were enqueued, and pods that a schedule started.",
        examples=(
            "b3lb runs --state FAILURE",
            "b3lb runs --queue core --limit 10",
            "b3lb runs -o json | jq '.items[]'",
        ),
        outputs=WIDE_OUTPUTS,
        execute=lazily("b3lb_cli.runs:runs"),
    )
    runs.add_argument("--queue", metavar="QUEUE", help="only those of this queue")
    runs.add_argument("--task", metavar="TASK", help="only those of this task")
    runs.add_argument(
        "--of", type=argument(run_id), metavar="ID", help="only the steps of this chain, group or these chunks"
    )
    runs.add_argument(
        "--state", metavar="STATE", help="only those in it: PENDING, STARTED, SUCCESS, FAILURE, RETRY or REVOKED"
    )
    runs.add_argument(
        "--limit",
        type=argument(number(1, MOST_RUNS)),
        default=50,
        metavar="N",
        help=f"at most N, up to {MOST_RUNS}; default: 50",
    )


def _add_run(commands: Commands) -> None:
    run = add_command(
        commands,
        "run",
        summary="enqueue a run of a task",
        description=_RUN,
        examples=(
            "b3lb run check-nodes                      poll all nodes once more",
            "b3lb run check-nodes --priority 9 --wait  before all others, and say how it ended",
            "b3lb run check-nodes --once --debug       here, with debug log and traceback",
            "b3lb run --file chain.yaml --wait         several runs that belong together",
        ),
        outputs=OUTPUTS,
        execute=_run,
    )
    what = run.add_mutually_exclusive_group(required=True)
    what.add_argument("task", nargs="?", metavar="TASK", help="name of the task; b3lb inspect registered lists them")
    what.add_argument(
        "-f", "--file", metavar="FILE", help="a chain, a group or chunks in YAML instead; - is the standard input"
    )
    run.add_argument(
        "--arguments", type=argument(json_object), default={}, metavar="JSON", help="the task's arguments, an object"
    )
    run.add_argument("--priority", type=argument(number(0, 9)), metavar="N", help="0 to 9, the highest first")
    run.add_argument("--wait", action="store_true", help="wait until the run is over, and print it then")
    run.add_argument(
        "--timeout", type=argument(duration), default=600.0, metavar="TIME", help="longest to wait (default: 10m)"
    )
    run.add_argument("--once", action="store_true", help="run a task that ticks here and now, one tick")
    run.add_argument("--debug", action="store_true", help="with --once: log everything, tracebacks included")


def _add_id(parser: Parser) -> None:
    parser.add_argument("run", type=argument(run_id), metavar="ID", help="the run's ID")


def _run(options: argparse.Namespace) -> None:
    if options.once:
        _run_here(options)
    if options.debug:
        raise CommandError(ExitCode.USAGE, "--debug goes with --once: a pod's log is read with kubectl logs")
    lazily("b3lb_cli.runs:run")(options)


def _run_here(options: argparse.Namespace) -> None:
    """Become ``b3lb-job``, which this program may not import: its output, signals and exit code are the command's."""
    if options.file is not None or options.wait or options.priority is not None or options.arguments:
        raise CommandError(
            ExitCode.USAGE, "--once runs a task here and now: without --file, --wait, --priority and --arguments"
        )
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        message = f"--once runs the task here, which needs {' and '.join(missing)}; without --once a pod runs it"
        raise CommandError(ExitCode.CONFIGURATION, message)
    if importlib.util.find_spec("b3lb_jobs") is None:
        raise CommandError(ExitCode.CONFIGURATION, "b3lb-job is not installed here; without --once a pod runs the task")
    environment = dict(os.environ)
    if options.debug:
        environment |= {"B3LB_LOG_LEVEL": "debug", "B3LB_LOG_FORMAT": "console"}
    namespace = farm_namespace(options)
    chosen = [] if namespace is None else ["--namespace", namespace]
    sys.stdout.flush()
    command = [sys.executable, "-m", "b3lb_jobs", "--once", *chosen, "--", options.task]
    os.execve(sys.executable, command, environment)  # noqa: S606 - the interpreter that runs this
