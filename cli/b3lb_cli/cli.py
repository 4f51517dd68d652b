"""The command ``b3lb``, also ``kubectl b3lb``: its command line, read before anything heavy is imported."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import PurePath

from b3lb import __version__
from b3lb_cli import (
    completion,
    dashboard,
    doctor,
    farm,
    inspection,
    meetings,
    recording_commands,
    run_commands,
    support,
    tenancy,
    top,
)
from b3lb_cli.arguments import Commands, Parser
from b3lb_cli.outcome import MEANINGS, CommandError, ExitCode

_DESCRIPTION = """\
Ask a farm of BigBlueButton servers behind b3lb, and run its background tasks.

A kubeconfig is enough: the operator answers through the API server.
"""

_EPILOG = """\
environment:
  KUBECONFIG               the kubeconfig, as for kubectl
  B3LB_NAMESPACE           namespace of the farm, where -n names none
  B3LB_OPERATOR_NAMESPACE  namespace of the operator, where it is not the farm's
  B3LB_SERVER, B3LB_TOKEN  address of the operator and its token, in place of the kubeconfig
  B3LB_DATABASE_URL        postgresql://user:password@host:port/database: what needs only the database asks it itself

exit codes:
{codes}
"""

FAMILIES: tuple[Callable[[Commands], None], ...] = (
    top.add_commands,
    farm.add_commands,
    meetings.add_commands,
    run_commands.add_commands,
    inspection.add_commands,
    tenancy.add_commands,
    recording_commands.add_commands,
    dashboard.add_commands,
    doctor.add_commands,
    support.add_commands,
    completion.add_commands,
)
"""What adds commands, in the order of ``--help``; each family of commands is a module of its own."""


def parser(program: str = "b3lb") -> argparse.ArgumentParser:
    """Return the command line's parser for a program of this name."""
    codes = "\n".join(f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items())
    made = Parser(
        prog=program,
        description=_DESCRIPTION,
        epilog=_EPILOG.format(codes=codes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"b3lb {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add_commands in FAMILIES:
        add_commands(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    program = program_name(sys.argv[0])
    options = parser(program).parse_args(arguments)
    code = ExitCode.DONE
    try:
        try:
            options.execute(options)
        except CommandError as error:
            code = error.code
            # What comes before an error stands before it.
            sys.stdout.flush()
            sys.stderr.write(f"{program}: {error}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. Python flushes once more at the end, and must not fail then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary of the process: exit code 1 would mean something else
        traceback.print_exc()
        sys.stderr.write(f"{program}: {type(error).__name__}\n")
        return ExitCode.INTERNAL
    return code


def program_name(path: str) -> str:
    """Return how people called the program that stands at ``path``."""
    return "kubectl b3lb" if PurePath(path).name.startswith("kubectl-") else "b3lb"
