"""The command lines of ``b3lb recordings``."""

from __future__ import annotations

from b3lb_cli.arguments import OUTPUTS, WIDE_OUTPUTS, Commands, Parser, add_command, add_group, lazily
from b3lb_cli.values import argument, duration, lifetime, name_of_recording, number

MOST = 1000

_STEER = "Edits the BBBRecording, which you need the right to patch (a kubeconfig; B3LB_DATABASE_URL does not help)."
_BY_DATABASE = "Needs B3LB_DATABASE_URL, as in a pod of the farm"

_DELETE = """\
Delete a recording at once: a run of delete-recording deletes archive, videos and rows, with a line in the audit. What
is under a legal hold or being rendered is not deleted. It cannot be undone.
"""
_HOLD = f"""\
Take a recording under a legal hold: no hold time and nobody's request deletes it until it is released.

{_BY_DATABASE}. With the storage's settings the hold is written
into the manifest, too, and outlives a lost database.
"""
_LINK = f"""\
Print the addresses of a recording's videos. Whoever knows one sees the video; with --expires they end.

{_BY_DATABASE}, with --expires B3LB_ENCRYPTION_KEYS, too.
"""
_REBUILD = f"""\
Restore the index of recordings from the manifests in the storage, after the database was lost. Rows that are there stay
as they are, so it can be repeated. Record sets without a video are rendered anew.

{_BY_DATABASE}, and the storage's settings.
"""


def add_commands(commands: Commands) -> None:
    """Add ``recordings`` with its commands."""
    group = add_group(commands, "recordings", summary="recordings: list, steer, delete, hold, restore")
    _add_lists(group)
    _add_steering(group)
    _add_changes(group)
    _add_link_and_rebuild(group)


def _add_lists(group: Commands) -> None:
    listed = add_command(
        group,
        "list",
        summary="list recordings, the newest first",
        examples=(
            "b3lb recordings list --state FAILED -o wide",
            "b3lb recordings list --tenant UNI --limit 500 -o json | jq '.items[].videoBytes'",
        ),
        outputs=WIDE_OUTPUTS,
        execute=lazily("b3lb_cli.recordings:list_recordings"),
    )
    listed.add_argument("--tenant", metavar="SLUG", help="only those of this tenant")
    listed.add_argument(
        "--state", metavar="STATE", help="only those in it: UPLOADED, RENDERING, RENDERED, FAILED or DELETING"
    )
    _add_limit(listed)
    show = add_command(
        group,
        "show",
        summary="show a recording with its videos, warnings and callbacks",
        examples=("b3lb recordings show 183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1762076400000 --wait",),
        outputs=OUTPUTS,
        execute=lazily("b3lb_cli.recordings:show"),
    )
    _add_recording(show)
    _add_wait(show, "wait until it is rendered or failed; progress goes to standard error")
    callbacks = add_command(
        group,
        "callbacks",
        summary="list whom b3lb told, or could not tell, that a recording is ready",
        examples=("b3lb recordings callbacks --state FAILED",),
        outputs=WIDE_OUTPUTS,
        execute=lazily("b3lb_cli.recordings:callbacks"),
    )
    callbacks.add_argument("--state", metavar="STATE", help="only those in it: PENDING, DELIVERED or FAILED")
    audit = add_command(
        group,
        "audit",
        summary="list what was deleted, held and released, by whom and why",
        examples=("b3lb recordings audit --action delete -o json",),
        outputs=WIDE_OUTPUTS,
        execute=lazily("b3lb_cli.recordings:audit"),
    )
    audit.add_argument("--action", metavar="ACTION", help="only these: delete, hold or release")
    for made in (callbacks, audit):
        _add_limit(made)
        made.add_argument(
            "--recording", type=argument(name_of_recording), metavar="ID", help="only those of this recording"
        )


def _add_steering(group: Commands) -> None:
    retry = add_command(
        group,
        "retry",
        summary="render again what failed or was cancelled",
        description=f"Render again what failed or was cancelled of a recording; good videos stay. {_STEER}",
        examples=("b3lb recordings retry ID --wait --timeout 2h",),
        execute=lazily("b3lb_cli.recording_steering:retry"),
    )
    _add_recording(retry)
    _add_wait(retry, "wait until it is rendered or failed again; progress goes to standard error")
    for name, summary in (
        ("pause", "let a recording wait, and end what is rendered of it now"),
        ("resume", "let a paused recording go on"),
        ("cancel", "give up what is not rendered yet; nothing is deleted"),
        ("priority", "give a recording another place in the queue"),
    ):
        made = add_command(
            group,
            name,
            summary=summary,
            description=f"{summary[:1].upper()}{summary[1:]}. {_STEER}",
            execute=lazily(f"b3lb_cli.recording_steering:{name}"),
        )
        _add_recording(made)
        if name == "priority":
            made.add_argument(
                "priority", type=argument(number(0, 9)), metavar="N", help="0 to 9, the highest is rendered first"
            )


def _add_changes(group: Commands) -> None:
    delete = add_command(
        group,
        "delete",
        summary="delete a recording with archive and videos",
        description=_DELETE,
        examples=("b3lb recordings delete ID --dry-run     what would go", "b3lb recordings delete ID --wait"),
        execute=lazily("b3lb_cli.recording_changes:delete"),
    )
    _add_recording(delete)
    _add_wait(delete, "wait until it is deleted, and print the run")
    _add_dry_run(delete)
    for name, summary in (
        ("hold", "take a recording under a legal hold"),
        ("release", "release a recording from its legal hold"),
    ):
        made = add_command(
            group,
            name,
            summary=summary,
            description=_HOLD if name == "hold" else f"{summary[:1].upper()}{summary[1:]}. {_BY_DATABASE}.",
            examples=(f"b3lb recordings {name} ID --reason 'court order 7'",),
            execute=lazily(f"b3lb_cli.recording_changes:{name}"),
        )
        _add_recording(made)
        made.add_argument("--reason", required=True, metavar="TEXT", help="why, for the audit")


def _add_link_and_rebuild(group: Commands) -> None:
    link = add_command(
        group,
        "link",
        summary="print the addresses of a recording's videos",
        description=_LINK,
        examples=("b3lb recordings link ID --base-url https://bbb.example.org --expires 1h",),
        outputs=WIDE_OUTPUTS,
        execute=lazily("b3lb_cli.recording_changes:link"),
    )
    _add_recording(link)
    link.add_argument(
        "--base-url", metavar="URL", help="where players reach the front end; default: B3LB_RECORDINGS_URL"
    )
    link.add_argument(
        "--expires",
        type=argument(lifetime),
        metavar="TIME",
        help="sign them, for so long, e.g. 8h or 7d; front ends take 30d at most unless told otherwise",
    )
    rebuild = add_command(
        group,
        "rebuild",
        summary="restore the index of recordings from the storage",
        description=_REBUILD,
        examples=("b3lb recordings rebuild --dry-run", "b3lb recordings rebuild -n b3lb"),
        execute=lazily("b3lb_cli.recording_changes:rebuild"),
    )
    _add_dry_run(rebuild)
    rebuild.add_argument(
        "--adopt",
        action="store_true",
        help="also when the database belongs to another installation than the storage and has recordings",
    )


def _add_recording(parser: Parser) -> None:
    parser.add_argument(
        "recording", type=argument(name_of_recording), metavar="ID", help="its record ID, BBB's internal meeting ID"
    )


def _add_limit(parser: Parser) -> None:
    parser.add_argument(
        "--limit",
        type=argument(number(1, MOST)),
        default=50,
        metavar="N",
        help=f"at most N, up to {MOST}; default: 50",
    )


def _add_wait(parser: Parser, text: str) -> None:
    parser.add_argument("--wait", action="store_true", help=text)
    parser.add_argument(
        "--timeout", type=argument(duration), default=3600.0, metavar="TIME", help="longest to wait (default: 1h)"
    )


def _add_dry_run(parser: Parser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
