"""``b3lb meetings``: what a secret's getMeetings lists."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta

from b3lb_cli.arguments import Commands, add_command
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import Column, Item, Listing, as_table, count, text, write_document
from b3lb_cli.source import by_database, database, operator
from b3lb_cli.table import ago, shown
from b3lb_cli.values import argument, object_name

STALE_SECONDS = 150
"""The age from which the operator, too, calls what is known stale."""

AHEAD_SECONDS = 60
"""So far in the future a round of polls may be said to be; the operator, too, calls a later one stale."""

_ID_COLUMNS = 72
_NAME_COLUMNS = 40

_DESCRIPTION = """\
List the meetings that the BBB API shows to a client with this secret: all of its own, or with sub-id 0 all of the
tenant. Meetings on nodes that are not healthy are hidden; a disabled secret's list is empty.
"""

LISTING = Listing(
    "meetings",
    (
        Column("MEETING", lambda item, _now: shown(str(item["meetingID"]), _ID_COLUMNS)),
        Column("NAME", lambda item, _now: shown(str(item["name"]), _NAME_COLUMNS)),
        count("ATTENDEES", "attendees"),
        count("VOICES", "voices"),
        count("VIDEOS", "videos"),
        count("MODERATORS", "moderators"),
        Column("AGE", lambda item, _now: ago(timedelta(seconds=item["ageSeconds"]))),
        text("NODE", "node", columns=253),
    ),
)


def add_commands(commands: Commands) -> None:
    """Add ``meetings``."""
    made = add_command(
        commands,
        "meetings",
        summary="list the meetings that a secret sees",
        description=_DESCRIPTION,
        examples=(
            "b3lb meetings --secret unia-001                     a table; how old it is goes to standard error",
            "b3lb meetings --secret unia-000 -n b3lb -o json     for programs, with the age of the data",
            "b3lb meetings --secret unia-001 -o xml              the answer to getMeetings, byte by byte",
        ),
        outputs=("table", "json", "yaml", "xml"),
        execute=meetings,
    )
    made.add_argument(
        "--secret",
        required=True,
        type=argument(object_name),
        metavar="NAME",
        help="name of the BBBSecret, such as unia-001",
    )


def meetings(options: argparse.Namespace) -> None:
    """Print what the secret's getMeetings lists.

    Raises:
        CommandError: There is no such secret, or nobody says.
    """
    if options.output == "xml":
        _write_answer(options)
        return
    document = _by_database(options) if by_database(options) else _by_operator(options)
    if options.output != "table":
        write_document(document, options.output)
        return
    sys.stdout.write(table_of(document))
    sys.stdout.flush()
    sys.stderr.write(f"{summary(document)}\n")


def table_of(document: Item) -> str:
    """Return one line per meeting under headings, or nothing for an empty list."""
    return as_table(LISTING, {"items": document["meetings"]})


def summary(document: Item) -> str:
    """Return one line about the whole: how many, how old, and why there are none if there is a reason."""
    if document["reason"]:
        state = f"the list of {document['secret']} is empty: {document['reason']}"
    else:
        number = document["totals"]["meetings"]
        state = f"{number} meeting{'' if number == 1 else 's'}, {document['totals']['attendees']} attending"
    age = document["ageSeconds"]
    if age is None:
        return f"{state}; no node has been polled yet"
    if age < -AHEAD_SECONDS:
        ahead = ago(timedelta(seconds=-age))
        return f"{state}; as of {ahead} in the future, which is stale: was the database's clock set back?"
    line = f"{state}; as of {ago(timedelta(seconds=max(age, 0)))} ago"
    return f"{line}, which is stale: is the task check-nodes running?" if age > STALE_SECONDS else line


def _write_answer(options: argparse.Namespace) -> None:
    if not by_database(options):
        message = "-o xml holds the meetings' passwords, which the operator does not tell: it needs B3LB_DATABASE_URL"
        raise CommandError(ExitCode.CONFIGURATION, message)
    from b3lb_cli.database_meetings import answer  # noqa: PLC0415 - only this way needs the database's libraries

    content = answer(*database(options), options.secret)
    # Byte by byte what the front end serves; only a person's prompt wants a line of its own.
    sys.stdout.buffer.write(content + (b"\n" if sys.stdout.isatty() else b""))


def _by_database(options: argparse.Namespace) -> Item:
    from b3lb_cli.database_meetings import meetings as read  # noqa: PLC0415 - see above

    return read(*database(options), options.secret)


def _by_operator(options: argparse.Namespace) -> Item:
    return operator(options).get("/meetings", secret=options.secret, namespace=farm_namespace(options))
