"""The command ``b3lb-operator``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Sequence

from b3lb import __version__, logs
from b3lb.crypto import KeyRing
from b3lb.settings import SettingsError, load_settings

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_SETTINGS = 78
"""EX_CONFIG of sysexits.h."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 (failure), 75 (the database does not fit), 78 (settings)."""
    options = _parser().parse_args(arguments)
    if options.command == "keygen":
        return _keygen(options.id)
    if options.command == "migrate":
        return _migrate()
    if options.command in {"delete-nodes", "release-nodes"}:
        return _uninstall(options.command)
    return _run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="b3lb-operator",
        description="Operator of b3lb: watches BBBCluster, BBBNode and BBBQueue. Without a command it runs until "
        "SIGTERM. It is configured by environment variables that begin with B3LB_.",
    )
    parser.add_argument("--version", action="version", version=f"b3lb-operator {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    keygen = commands.add_parser("keygen", help="print a new encryption key, an entry for B3LB_ENCRYPTION_KEYS")
    keygen.add_argument("--id", default="k1", help="ID of the key (default: %(default)s)")
    commands.add_parser("delete-nodes", help="delete every BBBNode of B3LB_NAMESPACES at once, for an uninstallation")
    commands.add_parser(
        "release-nodes",
        help="let BBBNodes of B3LB_NAMESPACES be deleted without an operator, for an uninstallation that keeps them",
    )
    commands.add_parser("migrate", help="bring the database's tables up to date and end")
    return parser


def _keygen(key_id: str) -> int:
    try:
        print(KeyRing.generate(key_id).export())  # noqa: T201 - the key is what was asked for
    except ValueError as error:
        return _fail(str(error), EXIT_SETTINGS)
    return EXIT_OK


def _migrate() -> int:
    # Alembic is needed only here, and the operator runs it in a child process for the sake of its memory.
    from b3lb.db import migrate  # noqa: PLC0415

    return migrate.main()


def _uninstall(command: str) -> int:
    # Imports of a second that --help and keygen can do without.
    from b3lb_operator.kube import KubeConfigError, KubeError, connect  # noqa: PLC0415
    from b3lb_operator.settings import NamespaceSettings  # noqa: PLC0415
    from b3lb_operator.uninstall import delete_nodes, release_nodes  # noqa: PLC0415

    work = delete_nodes if command == "delete-nodes" else release_nodes

    async def uninstall(settings: NamespaceSettings) -> None:
        async with connect() as kube:
            await work(kube, settings.namespaces)

    try:
        settings = load_settings(NamespaceSettings)
        logs.configure(settings.log_format, settings.log_level)
        asyncio.run(uninstall(settings))
    except (SettingsError, KubeConfigError) as error:
        return _fail(str(error), EXIT_SETTINGS)
    except KubeError as error:
        return _fail(str(error), EXIT_FAILURE)
    return EXIT_OK


def _run() -> int:
    # Imports of a second that --help and keygen can do without.
    from b3lb_operator import quiet  # noqa: PLC0415
    from b3lb_operator.kube import KubeConfigError  # noqa: PLC0415
    from b3lb_operator.main import WatchLostError, run  # noqa: PLC0415
    from b3lb_operator.settings import load_operator_settings  # noqa: PLC0415

    try:
        settings = load_operator_settings()
    except SettingsError as error:
        return _fail(str(error), EXIT_SETTINGS)
    logs.configure(settings.log_format, settings.log_level)
    quiet.install()
    try:
        code = None
        while code is None:
            with contextlib.suppress(WatchLostError):
                code = asyncio.run(run(settings))
    except KubeConfigError as error:
        return _fail(str(error), EXIT_SETTINGS)
    except OSError as error:
        return _fail(f"B3LB_HTTP_PORT: cannot listen on {settings.http_address}:{settings.http_port}: {error}", 1)
    return _leave(code)


def _fail(message: str, code: int) -> int:
    print(f"b3lb-operator: {message}", file=sys.stderr)  # noqa: T201 - one line for people, before any log
    return code


def _leave(code: int) -> int:
    """Return the code, or end at once if a thread still waits for the database: nobody needs its answer."""
    if threading.active_count() > 1:
        logging.shutdown()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
