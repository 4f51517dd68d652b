"""``b3lb recordings delete``, ``hold``, ``release``, ``link`` and ``rebuild``."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import sys
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import Column, Item, Listing, age, bytes_text, size, write_document, write_listing
from b3lb_cli.recordings import existing, recordings_source
from b3lb_cli.runs import print_run, runs_source
from b3lb_cli.source import DATABASE_VARIABLE, database
from b3lb_cli.table import shown
from b3lb_cli.values import server_url

if TYPE_CHECKING:
    from b3lb_cli.database_recordings import DatabaseRecordings

DELETE_TASK = "delete-recording"
LINK_VARIABLE = "B3LB_RECORDINGS_URL"
SIGNED_VARIABLE = "B3LB_PLAYBACK_SIGNED_LINKS"

_URL_COLUMNS = 400
_LONGEST_ACTOR = 100
_LONGEST_HOST = 64

LINKS = Listing(
    "videos",
    (
        Column("PROFILE", lambda item, _now: shown(str(item["profile"]), 40)),
        size("SIZE", "bytes"),
        age("EXPIRES", "expiresAt"),
        Column("URL", lambda item, _now: shown(str(item["url"]), _URL_COLUMNS)),
    ),
)


def delete(options: argparse.Namespace) -> None:
    """Delete a recording with archive and videos, by a run of delete-recording; with ``--dry-run`` say what would go.

    Raises:
        CommandError: There is none of this ID, it must not be deleted now, or the run that was waited for failed.
    """
    found = existing(recordings_source(options), options.recording)
    problem = refusal(found)
    if problem:
        raise CommandError(ExitCode.NOT_FOUND, f"recording {found['recordID']} is not deleted: {problem}")
    if options.dry_run:
        _print_doomed(found, options.output)
        return
    source = runs_source(options)
    arguments = {"record_set": found["recordSet"], "record_id": found["recordID"], "actor": actor()}
    print_run(source, source.enqueue(DELETE_TASK, arguments, None), options)


def refusal(found: Item) -> str:
    """Return why a recording must not be deleted now, empty if it may be."""
    if found.get("legalHold"):
        return "it is under a legal hold; b3lb recordings release ends that"
    return "it is being rendered; b3lb recordings cancel ends that" if found["state"] == "RENDERING" else ""


def actor() -> str:
    """Return who asks, as the audit shall name him: the user, and the machine or pod."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid())
    return f"b3lb of {shown(name, _LONGEST_ACTOR)} on {shown(socket.gethostname(), _LONGEST_HOST)}"


def hold(options: argparse.Namespace) -> None:
    """Take a recording under a legal hold: nothing deletes it until it is released."""
    _set_hold(options, held=True)


def release(options: argparse.Namespace) -> None:
    """Release a recording from its legal hold: its hold time counts again."""
    _set_hold(options, held=False)


def link(options: argparse.Namespace) -> None:
    """Print the addresses of a recording's videos, with ``--expires`` such that end.

    Raises:
        CommandError: There is none of this ID, or a setting is missing.
    """
    base_url, keys, expires = _base_url(options), None, None
    if options.expires is None and os.environ.get(SIGNED_VARIABLE, "").lower() in {"1", "true", "yes", "on"}:
        raise CommandError(ExitCode.USAGE, "this front end shows signed links only: say with --expires for how long")
    if options.expires is not None:
        from b3lb.settings import EncryptionSettings, SettingsError, load_settings  # noqa: PLC0415 - takes 0.2 s

        try:
            keys = load_settings(EncryptionSettings).key_ring
        except SettingsError as error:
            raise CommandError(ExitCode.CONFIGURATION, f"--expires signs the links: {error}") from None
        expires = timedelta(seconds=options.expires)
    found = _database_recordings(options).links(options.recording, base_url=base_url, keys=keys, expires=expires)
    write_listing(LINKS, found, options.output)


def rebuild(options: argparse.Namespace) -> None:
    """Restore the index of recordings from the manifests in the storage.

    Raises:
        CommandError: The storage is not configured, away or of another installation, or a manifest cannot be read.
    """
    url, namespace = _database(options)
    from b3lb_cli.rebuild import needed_storage  # noqa: PLC0415 - only this way needs the storage's libraries
    from b3lb_cli.rebuild import rebuild as restore  # noqa: PLC0415 - see above

    report = restore(url, namespace, needed_storage(), dry_run=options.dry_run, adopt=options.adopt)
    document = report.document(dry_run=options.dry_run)
    if options.output in {"json", "yaml"}:
        write_document(document, options.output)
    else:
        verb = "would be restored" if options.dry_run else "restored"
        sys.stdout.write(
            f"{report.manifests} manifests: {report.record_sets} record sets and {report.videos} videos {verb}\n"
        )
        if report.adopted is not None:
            sys.stdout.write(
                f"the database {'would become' if options.dry_run else 'is now'} that of {report.adopted}\n"
            )
        sys.stdout.writelines(f"unreadable: {shown(line, _URL_COLUMNS)}\n" for line in report.unreadable)
    if report.unreadable:
        number = len(report.unreadable)
        raise CommandError(ExitCode.NOT_FOUND, f"{number} manifest{'' if number == 1 else 's'} cannot be read")


def _set_hold(options: argparse.Namespace, *, held: bool) -> None:
    source = _database_recordings(options)
    from b3lb_cli.rebuild import configured_storage, note_hold  # noqa: PLC0415 - see above

    storage = configured_storage()
    changed = source.hold(options.recording, held=held, reason=options.reason, actor=actor())
    found = existing(source, options.recording)
    if storage is None:
        sys.stderr.write("the manifest in the storage does not know of it: no storage is configured here\n")
    else:
        note_hold(_database(options)[0], storage, UUID(str(found["recordSet"])))
    if options.output in {"json", "yaml"}:
        write_document(found, options.output)
        return
    now = "held" if held else "released"
    sys.stdout.write(f"recording {found['recordID']} {f'is {now}' if changed else f'was {now} already'}\n")


def _print_doomed(found: Item, output: str) -> None:
    if output in {"json", "yaml"}:
        write_document({"dryRun": True, "recording": found}, output)
        return
    videos = len(found.get("videos") or ())
    sys.stdout.write(
        f"would delete {found['recordID']} ({shown(str(found.get('meetingName')), 80)}): archive "
        f"{bytes_text(found.get('archiveBytes'))}, {videos} video{'' if videos == 1 else 's'} "
        f"{bytes_text(found.get('videoBytes'))}\n"
    )


def _base_url(options: argparse.Namespace) -> str:
    given = options.base_url or os.environ.get(LINK_VARIABLE)
    if not given:
        message = (
            f"say where players reach the front end: --base-url or {LINK_VARIABLE}, such as https://bbb.example.org"
        )
        raise CommandError(ExitCode.CONFIGURATION, message)
    try:
        return server_url(given)
    except ValueError:
        raise CommandError(ExitCode.USAGE, "write the front end's address as https://HOST") from None


def _database(options: argparse.Namespace) -> tuple[str, str]:
    if not os.environ.get(DATABASE_VARIABLE):
        message = f"the operator does not do this: it needs {DATABASE_VARIABLE}, as in a pod of the farm"
        raise CommandError(ExitCode.CONFIGURATION, message)
    return database(options)


def _database_recordings(options: argparse.Namespace) -> DatabaseRecordings:
    url, namespace = _database(options)
    from b3lb_cli.database_recordings import DatabaseRecordings  # noqa: PLC0415 - only this way needs its libraries

    return DatabaseRecordings(url, namespace)
