"""The command ``b3lb-job``: its command line, read before anything heavy is imported."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn
from uuid import UUID

from b3lb import __version__
from b3lb_jobs.errors import outcome_of
from b3lb_jobs.exit_codes import MEANINGS, ExitCode
from b3lb_jobs.options import DEFAULT_IN_FLIGHT, MOST_IN_FLIGHT
from b3lb_jobs.task_table import TaskEntry, UnknownNameError, listing, route
from b3lb_jobs.ticks import DEFAULT_TICK_SECONDS, TICK_SECONDS

_ENDS: dict[int, ExitCode] = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.STOPPED}

_DESCRIPTION = """\
Run background tasks of b3lb: the tasks named, or all tasks of the queues named.

A task that ticks fills the rest of its minute: ticks aligned to the minute, the last one at :45, the end by :55, all by
the database's clock. Several runs at once are harmless: each tick is done by one of them.
"""

_EPILOG = """\
environment:
  B3LB_DATABASE_URL      postgresql://user:password@host:port/database (needed)
  B3LB_ENCRYPTION_KEYS   id:base64[,id:base64...], keys of 32 bytes (needed)
  B3LB_NAMESPACE         namespace of the custom resources (default: default)
  B3LB_QUEUE             name of the BBBQueue that this run belongs to
  B3LB_POD_NAME          name in leases and task runs (default: the host's)
  B3LB_TICK_SECONDS, B3LB_MAX_IN_FLIGHT
  B3LB_ATTEMPT, B3LB_SOFT_TIME_LIMIT_SECONDS, B3LB_MAX_RETRIES, B3LB_RETRY_BACKOFF_SECONDS,
  B3LB_RETRY_MAXIMUM_SECONDS: of an enqueued run (--run)
  B3LB_LOG_FORMAT        json (default) or console
  B3LB_LOG_LEVEL         debug, info (default), warning or error
  B3LB_TERMINATION_LOG   file for the JSON summary (default: /dev/termination-log, if there is one)
A flag goes before the environment, the environment before the BBBQueue.

examples:
  b3lb-job core                          what the CronJob of the queue core runs
  b3lb-job core --once                   one tick, now
  b3lb-job statistics                    what the CronJob of the queue statistics runs
  b3lb-job check-nodes --dry-run         poll now and show what would change; writes nothing
  b3lb-job core --dry-run | jq .change   the same as JSON lines
  b3lb-job --list                        the tasks and their queues

exit codes:
{codes}
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    codes = "\n".join(f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items())
    made = argparse.ArgumentParser(
        prog="b3lb-job",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(codes=codes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("names", nargs="*", metavar="TASK|QUEUE", help="a task or a queue, see --list")
    made.add_argument("--list", action="store_true", help="list the tasks and their queues, and exit")
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    made.add_argument(
        "--run", type=_run_id, metavar="ID", help="work on the enqueued run with this ID, as the Job of a queue does"
    )
    made.add_argument("--once", action="store_true", help="exactly one tick, now; exit 75 if another run does it")
    made.add_argument(
        "--dry-run",
        action="store_true",
        help="one tick that writes nothing and prints what would change: a table on a terminal, else JSON lines",
    )
    made.add_argument(
        "--tick-seconds",
        type=int,
        choices=TICK_SECONDS,
        metavar="N",
        help=f"seconds between ticks: {', '.join(map(str, TICK_SECONDS))} (default: {DEFAULT_TICK_SECONDS})",
    )
    made.add_argument(
        "--max-in-flight",
        type=_in_flight,
        metavar="N",
        help=f"polls at the same time, 1 to {MOST_IN_FLIGHT} (default: {DEFAULT_IN_FLIGHT})",
    )
    made.add_argument("--namespace", metavar="NS", help="namespace of the custom resources")
    made.add_argument("--queue", metavar="NAME", help="name of the BBBQueue (default: the task's queue)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    made = parser()
    parsed = made.parse_args(arguments)
    if parsed.list:
        sys.stdout.write(f"{listing()}\n")
        return ExitCode.DONE
    if parsed.run is not None and (parsed.names or parsed.dry_run):
        made.error("--run goes without names and without --dry-run")
    if parsed.run is None and not parsed.names:
        made.error("name a task or a queue; b3lb-job --list shows them")
    try:
        entries = route(parsed.names)
    except UnknownNameError as error:
        sys.stderr.write(f"b3lb-job: {error}\n")
        return ExitCode.USAGE
    # As process 1 of a container we would not get the default action; the imports alone take a while.
    signal.signal(signal.SIGTERM, _stopped_early)
    try:
        return _execute(parsed, entries)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary of the process: exit code 1 would mean nothing
        outcome = outcome_of(error)
        if not outcome.expected:
            traceback.print_exc()
        sys.stderr.write(f"b3lb-job: {outcome.error}\n")
        return outcome.exit_code


def _execute(parsed: argparse.Namespace, entries: tuple[TaskEntry, ...]) -> int:
    with _signals_end_the_process():
        # Imported late, so that --help and wrong names answer at once.
        from b3lb_jobs.program import Flags, execute  # noqa: PLC0415

    flags = Flags(
        entries=entries,
        namespace=parsed.namespace,
        queue=parsed.queue,
        tick_seconds=parsed.tick_seconds,
        max_in_flight=parsed.max_in_flight,
        run_id=parsed.run,
        once=parsed.once,
        dry_run=parsed.dry_run,
    )
    return execute(flags)


@contextmanager
def _signals_end_the_process() -> Iterator[None]:
    """Let a signal end the process without a word, for in the middle of an import another exception hides ours."""
    before = {number: signal.signal(number, _end) for number in _ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    # Nothing has begun that would have to be ended.
    os._exit(_ENDS[number])


def _in_flight(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MOST_IN_FLIGHT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_IN_FLIGHT}")
    return number


def _run_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not the ID of a run") from None


def _stopped_early(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(int(ExitCode.STOPPED))
