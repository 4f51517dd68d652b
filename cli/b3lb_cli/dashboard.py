"""``b3lb dashboard``: the command line of the page; what serves it is imported when it is asked for."""

from __future__ import annotations

from b3lb_cli.arguments import Commands, add_command, lazily
from b3lb_cli.values import argument, number

DEFAULT_PORT = 5555
_DESCRIPTION = """\
Show the farm in a browser: queues, runs, nodes, tenants, with charts of the last 24 hours. The page is served on this
machine only, at http://localhost:5555, until Ctrl-C; it is read-only and asks the operator as the other commands do.
"""


def add_commands(commands: Commands) -> None:
    """Add the command."""
    made = add_command(
        commands,
        "dashboard",
        summary="show the farm in a browser, at localhost:5555",
        description=_DESCRIPTION,
        examples=(
            "b3lb dashboard                           opens the browser",
            "b3lb dashboard --port 8000 --no-browser  prints the address only",
        ),
        outputs=(),
        execute=lazily("b3lb_cli.dashboard_server:execute"),
    )
    made.add_argument(
        "--port",
        type=argument(number(0, 65535)),
        default=DEFAULT_PORT,
        metavar="PORT",
        help=f"port on this machine, 0: any that is free; default: {DEFAULT_PORT}",
    )
    made.add_argument("--no-browser", action="store_true", help="do not open a browser")
