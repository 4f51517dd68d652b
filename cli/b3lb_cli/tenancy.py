"""``b3lb tenants`` with its metrics, and ``b3lb accounting``: who uses the farm, and how much."""

from __future__ import annotations

import argparse
import sys

from b3lb.views.months import month_of
from b3lb_cli import accounting
from b3lb_cli.arguments import WIDE_OUTPUTS, Commands, Parser, add_command
from b3lb_cli.inspection import printing
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.output import Column, Item, Listing, age, count, long_text, text, write_listing, yes
from b3lb_cli.source import by_database, database, operator
from b3lb_cli.table import shown
from b3lb_cli.values import argument, tenant_name

_REASON_COLUMNS = 40

_METRICS = """\
Print a tenant's metrics in Prometheus' text format, as the statistics queue last wrote them: the part of the operator's
/metrics that is the tenant's own.
"""

_ACCOUNTING = """\
Print what tenants had in each month of their time zone: participants' and meetings' minutes, and the most attendees and
meetings at the same time. The month that is not over is as of the last run of the statistics queue.
"""


def _limited(heading: str, number: str, limit: str) -> Column:
    """Return a column with a number and its limit: ``312/500``."""

    def cell(item: Item, _now: object) -> str:
        used = "-" if item.get(number) is None else str(item[number])
        return used if not item.get(limit) else f"{used}/{item[limit]}"

    return Column(heading, cell, right=True)


def _accepted(item: Item, _now: object) -> str:
    return "yes" if item.get("accepted") == "True" else shown(str(item.get("reason") or "unknown"), _REASON_COLUMNS)


TENANTS = Listing(
    "tenants",
    (
        text("NAME", "name"),
        text("SLUG", "slug"),
        yes("ENABLED", "enabled"),
        Column("ACCEPTED", _accepted),
        _limited("MEETINGS", "meetings", "meetingLimit"),
        _limited("ATTENDEES", "attendees", "attendeeLimit"),
        yes("LIMIT REACHED", "limitReached"),
        count("SECRETS", "secrets"),
        age("LAST USED", "lastUsed"),
        text("NAMESPACE", "namespace", wide=True),
        long_text("REASON", "reason", wide=True),
    ),
)


def add_commands(commands: Commands) -> None:
    """Add the commands."""
    tenants = add_command(
        commands,
        "tenants",
        summary="list tenants with what they use, or print one's metrics",
        examples=("b3lb tenants", "b3lb tenants -o wide", "b3lb tenants metrics UNI"),
        outputs=WIDE_OUTPUTS,
        execute=printing("/tenants", TENANTS),
    )
    verbs = tenants.add_subparsers(dest="verb", metavar="COMMAND")
    metrics = add_command(
        verbs,
        "metrics",
        summary="print a tenant's metrics for Prometheus",
        description=_METRICS,
        examples=("b3lb tenants metrics UNI | grep attendees",),
        outputs=(),
        execute=_metrics,
    )
    metrics.add_argument(
        "tenant", type=argument(tenant_name), metavar="SLUG", help="slug of the BBBTenant, such as UNI, or its name"
    )
    _keep_what_stands_before(metrics)
    _add_accounting(commands)


def _add_accounting(commands: Commands) -> None:
    made = add_command(
        commands,
        "accounting",
        summary="print what tenants had in each month",
        description=_ACCOUNTING,
        examples=(
            "b3lb accounting                                     all tenants, all months",
            "b3lb accounting --tenant UNI --month 2026-11        one row",
            "b3lb accounting --month 2026-10 -o csv              for a spreadsheet",
        ),
        outputs=("table", "csv", "json", "yaml"),
        execute=_accounting,
    )
    made.add_argument(
        "--tenant", type=argument(tenant_name), metavar="SLUG", help="slug or name of a BBBTenant; default: all"
    )
    made.add_argument(
        "--month", type=argument(month_of), metavar="YYYY-MM", help="by the tenant's time zone; default: all"
    )


def _keep_what_stands_before(verb: Parser) -> None:
    """Let an option that stands before the verb hold, where it is not repeated behind it."""
    for action in verb._actions:  # noqa: SLF001 - argparse lists them nowhere else
        if action.option_strings:
            action.default = argparse.SUPPRESS


def _metrics(options: argparse.Namespace) -> None:
    if by_database(options):
        from b3lb_cli.database_tenants import metrics  # noqa: PLC0415 - only this way needs the database's libraries

        sys.stdout.write(metrics(*database(options), options.tenant))
        return
    document = operator(options).get(f"/tenants/{options.tenant}/metrics", namespace=farm_namespace(options))
    sys.stdout.write(str(document["text"]))


def _accounting(options: argparse.Namespace) -> None:
    if by_database(options):
        from b3lb_cli.database_tenants import accounting as read  # noqa: PLC0415 - see above

        document = read(*database(options), tenant=options.tenant, month=options.month)
    else:
        month = None if options.month is None else f"{options.month:%Y-%m}"
        client = operator(options)
        document = client.get("/accounting", tenant=options.tenant, month=month, namespace=farm_namespace(options))
    if options.output == "csv":
        sys.stdout.write(accounting.as_csv(document))
    else:
        write_listing(accounting.LISTING, document, options.output)
