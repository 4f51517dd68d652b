"""``b3lb top``: nodes, queues and tenants on a screen that refreshes itself."""

from __future__ import annotations

import argparse
import select
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from b3lb_cli.arguments import Commands, add_command
from b3lb_cli.farm import CLUSTERS, NODES, QUEUES
from b3lb_cli.inspection import operator_line
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import Item, Listing, as_table
from b3lb_cli.source import operator
from b3lb_cli.table import shown
from b3lb_cli.tenancy import TENANTS
from b3lb_cli.values import argument, duration

if TYPE_CHECKING:
    from b3lb_cli.operator_client import OperatorClient

SHORTEST_SECONDS = 1.0

_DESCRIPTION = """\
Watch nodes by load, queues by depth and tenants by attendees; q or Ctrl-C ends. Without a terminal it prints everything
once.
"""

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_LEAST_LINES = 3


def _most_first(listing: Listing, name: str) -> Listing:
    return replace(listing, key=lambda item: (-(item.get(name) or 0), str(item.get("name"))))


SECTIONS: Mapping[str, Listing] = {
    "/clusters": CLUSTERS,
    "/nodes": _most_first(NODES, "load"),
    "/queues": _most_first(QUEUES, "depth"),
    "/tenants": _most_first(TENANTS, "attendees"),
}
"""What is shown, from top to bottom."""


def add_commands(commands: Commands) -> None:
    """Add ``top``."""
    made = add_command(
        commands,
        "top",
        summary="watch nodes by load, queues by depth and tenants by attendees",
        description=_DESCRIPTION,
        examples=("b3lb top", "b3lb top --interval 10s", "b3lb top --once | less -S"),
        outputs=(),
        execute=_top,
    )
    made.add_argument(
        "--interval", type=argument(_interval), default=2.0, metavar="TIME", help="between two looks (default: 2s)"
    )
    made.add_argument("--once", action="store_true", help="print everything once")


def read(client: OperatorClient, namespace: str | None) -> dict[str, Item]:
    """Return the documents of a screen by path.

    Raises:
        CommandError: The operator does not say.
    """
    return {path: client.get(path, namespace=namespace) for path in ("/ping", *SECTIONS)}


def whole(documents: Mapping[str, Item]) -> str:
    """Return everything, as it is printed once."""
    tables = [as_table(listing, documents[path]) or f"no {listing.what}\n" for path, listing in SECTIONS.items()]
    return "\n".join([f"{operator_line(documents['/ping'])}\n", *tables])


def screen(documents: Mapping[str, Item], *, columns: int, lines: int, problem: str = "") -> list[str]:
    """Return the lines of a screen: what does not fit is counted, and each part has its share.

    Args:
        documents: What was read last.
        columns: The terminal's width.
        lines: Its height.
        problem: Why the last look failed; empty if it did not.
    """
    parts = [as_table(listing, documents[path]).splitlines() for path, listing in SECTIONS.items()]
    head = [operator_line(documents["/ping"]), problem or "q ends"]
    printed = [part for part in parts if part]
    heights = shares([len(part) for part in printed], lines - len(head) - len(printed))
    body = [line for part, height in zip(printed, heights, strict=True) for line in ("", *_cut(part, height))]
    return [shown(line, columns) for line in [*head, *body]][: max(lines, 1)]


def shares(wanted: list[int], room: int) -> list[int]:
    """Return how many lines each part gets: what the small ones leave is for the large ones."""
    given = [0] * len(wanted)
    left = room
    for rank, index in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        given[index] = max(min(wanted[index], left // (len(wanted) - rank)), 0)
        left -= given[index]
    return given


def _cut(lines: list[str], height: int) -> list[str]:
    if len(lines) <= height:
        return lines
    if height < _LEAST_LINES:
        return lines[: max(height, 0)]
    return [*lines[: height - 1], f"and {len(lines) - height + 1} more"]


def _interval(text: str) -> float:
    seconds = duration(text)
    if seconds < SHORTEST_SECONDS:
        raise ValueError(f"{text!r} is too short: {SHORTEST_SECONDS:g}s at least")
    return seconds


def _top(options: argparse.Namespace) -> None:
    namespace = farm_namespace(options)
    client = operator(options)
    documents = read(client, namespace)
    if options.once or not sys.stdout.isatty():
        sys.stdout.write(whole(documents))
        return
    problem = ""
    with _full_screen():
        while True:
            size = shutil.get_terminal_size()
            shown_lines = screen(documents, columns=size.columns, lines=size.lines, problem=problem)
            content = f"{_REST_OF_LINE}\r\n".join(shown_lines)
            sys.stdout.write(f"{_HOME}{content}{_REST_OF_LINE}{_REST_OF_SCREEN}")
            sys.stdout.flush()
            if _ends_within(options.interval):
                return
            try:
                documents, problem = read(client, namespace), ""
            except CommandError as error:
                # A moment without the operator is not the end of watching; what cannot pass by itself is.
                if error.code not in {ExitCode.AWAY, ExitCode.INTERNAL}:
                    raise
                problem = str(error)


def _ends_within(seconds: float) -> bool:
    """Wait that long for the key q; Ctrl-C is raised as ever."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0] and sys.stdin.read(1) in {"q", "Q", ""}:
            return True
    return False


@contextmanager
def _full_screen() -> Iterator[None]:
    """Take the whole terminal, and give it back as it was."""
    import termios  # noqa: PLC0415 - not on every system, and only here
    import tty  # noqa: PLC0415 - not on every system, and only here

    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = None if keyboard is None else termios.tcgetattr(keyboard)
    sys.stdout.write(_ENTER)
    try:
        if keyboard is not None:
            tty.setcbreak(keyboard)
        yield
    finally:
        if keyboard is not None and before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
