"""The command ``b3lb``, also ``kubectl b3lb``: its command line, read before anything heavy is imported."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import date
from pathlib import PurePath
from typing import NoReturn

from b3lb import __version__
from b3lb_cli import run_arguments
from b3lb_cli.outcome import MEANINGS, CommandError, ExitCode

_DESCRIPTION = (
    "Ask a farm of BigBlueButton servers behind b3lb, and enqueue its background tasks. All of it goes by the database."
)

_EPILOG = """\
environment:
  B3LB_DATABASE_URL      postgresql://user:password@host:port/database (needed)
  B3LB_NAMESPACE         namespace of the custom resources; else B3LB_NAMESPACES, if it names one;
                         else that of the service account; else default

exit codes:
{codes}
"""

_MEETINGS = """\
List the meetings that the BBB API shows to a client with this secret: all of its own, or with sub-id 0 all of the
tenant. Meetings on nodes that are not healthy are hidden; a disabled secret's list is empty.
"""

_MEETINGS_EPILOG = """\
examples:
  b3lb meetings --secret unia-001                     a table; how old it is goes to standard error
  b3lb meetings --secret unia-000 -n b3lb -o json     for programs, with the age of the data
  b3lb meetings --secret unia-001 -o xml              the answer to getMeetings, byte by byte
"""


_METRICS = """\
Print a tenant's metrics in Prometheus' text format, as the statistics queue last wrote them: the part of the operator's
/metrics that is the tenant's own.
"""

_ACCOUNTING = """\
Print what tenants had in each month of their time zone: participants' and meetings' minutes, and the most attendees and
meetings at the same time. The month that is not over is as of the last run of the statistics queue.
"""

_ACCOUNTING_EPILOG = """\
examples:
  b3lb accounting                                     all tenants, all months
  b3lb accounting --tenant UNIA --month 2026-11       one row
  b3lb accounting --month 2026-10 -o csv              for a spreadsheet
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser(program: str = "b3lb") -> argparse.ArgumentParser:
    """Return the command line's parser for a program of this name."""
    codes = "\n".join(f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items())
    made = _Parser(
        prog=program,
        description=_DESCRIPTION,
        epilog=_EPILOG.format(codes=codes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"b3lb {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    listing = commands.add_parser(
        "meetings",
        help="list the meetings that a secret sees",
        description=_MEETINGS,
        epilog=_MEETINGS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    listing.add_argument("--secret", required=True, metavar="NAME", help="name of the BBBSecret, such as unia-001")
    listing.add_argument("-n", "--namespace", metavar="NAMESPACE", help="namespace of the BBBSecret")
    listing.add_argument("-o", "--output", choices=("table", "json", "xml"), default="table", help="default: table")
    _add_tenants(commands)
    _add_accounting(commands)
    run_arguments.add_commands(commands.add_parser)
    return made


def _add_tenants(commands: argparse._SubParsersAction[_Parser]) -> None:
    tenants = commands.add_parser("tenants", help="what is known of a tenant", allow_abbrev=False)
    verbs = tenants.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    metrics = verbs.add_parser(
        "metrics", help="print a tenant's metrics for Prometheus", description=_METRICS, allow_abbrev=False
    )
    metrics.add_argument("tenant", metavar="SLUG", help="slug of the BBBTenant, such as UNIA, or its name")
    metrics.add_argument("-n", "--namespace", metavar="NAMESPACE", help="namespace of the BBBTenant")


def _add_accounting(commands: argparse._SubParsersAction[_Parser]) -> None:
    accounting = commands.add_parser(
        "accounting",
        help="print what tenants had in each month",
        description=_ACCOUNTING,
        epilog=_ACCOUNTING_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    accounting.add_argument("--tenant", metavar="SLUG", help="slug or name of a BBBTenant; default: all")
    accounting.add_argument("--month", metavar="YYYY-MM", help="by the tenant's time zone; default: all")
    accounting.add_argument("-n", "--namespace", metavar="NAMESPACE", help="namespace of the BBBTenants")
    accounting.add_argument("-o", "--output", choices=("table", "csv", "json"), default="table", help="default: table")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    program = program_name(sys.argv[0])
    options = parser(program).parse_args(arguments)
    try:
        _run(options)
        sys.stdout.flush()
    except CommandError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return error.code
    except BrokenPipeError:
        # The reader has seen enough. Python flushes once more at the end, and must not fail then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary of the process: exit code 1 would mean something else
        traceback.print_exc()
        sys.stderr.write(f"{program}: {type(error).__name__}\n")
        return ExitCode.INTERNAL
    return ExitCode.DONE


def program_name(path: str) -> str:
    """Return how people called the program that stands at ``path``."""
    return "kubectl b3lb" if PurePath(path).name.startswith("kubectl-") else "b3lb"


def _run(options: argparse.Namespace) -> None:
    # Imported late, so that --help and wrong command lines answer at once.
    from b3lb.settings import SettingsError, load_settings  # noqa: PLC0415
    from b3lb_cli.settings import CommandSettings, namespace_name, object_name  # noqa: PLC0415

    try:
        names = {
            name: None if given is None else object_name(given if name == "secret" else given.lower())
            for name, given in vars(options).items()
            if name in {"secret", "tenant"}
        }
        month = _month(options)
        chosen = None if options.namespace is None else namespace_name(options.namespace)
    except ValueError as error:
        raise CommandError(ExitCode.USAGE, str(error)) from None
    try:
        settings = load_settings(CommandSettings)
        namespace = chosen or settings.default_namespace
    except SettingsError as error:
        raise CommandError(ExitCode.CONFIGURATION, str(error)) from None
    _answer(options, settings.url, namespace, secret=names.get("secret"), tenant=names.get("tenant"), month=month)


def _month(options: argparse.Namespace) -> date | None:
    from b3lb_cli.tenants import month_of  # noqa: PLC0415

    given = getattr(options, "month", None)
    return None if given is None else month_of(given)


def _answer(
    options: argparse.Namespace, url: str, namespace: str, *, secret: str | None, tenant: str | None, month: date | None
) -> None:
    from b3lb_cli.meetings import Output, Question, meetings  # noqa: PLC0415
    from b3lb_cli.runs import execute  # noqa: PLC0415
    from b3lb_cli.tenants import AccountingOutput, accounting, metrics  # noqa: PLC0415

    if options.command == "accounting":
        accounting(url, namespace, tenant=tenant, month=month, output=AccountingOutput(options.output))
    elif options.command == "tenants" and tenant is not None:
        metrics(url, namespace, tenant)
    elif secret is not None:
        meetings(url, Question(namespace, secret), Output(options.output))
    else:
        execute(url, namespace, options)
