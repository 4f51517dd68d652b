"""Whom a command asks: the database where its URL is set, else the operator. Both are imported when they are asked."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from b3lb_cli.outcome import CommandError, ExitCode

if TYPE_CHECKING:
    from b3lb_cli.operator_client import OperatorClient

DATABASE_VARIABLE = "B3LB_DATABASE_URL"


def by_database(options: argparse.Namespace) -> bool:
    """Whether what needs only the database is asked there: its URL is set, and the command line names nothing else."""
    named = (options.server, options.kubeconfig, options.context, options.operator_namespace)
    return bool(os.environ.get(DATABASE_VARIABLE)) and not any(named) and not os.environ.get("B3LB_SERVER")


def operator(options: argparse.Namespace) -> OperatorClient:
    """Return the operator.

    Raises:
        CommandError: None is found; the message says what to do.
    """
    from b3lb_cli.operator_client import connect  # noqa: PLC0415 - the Kubernetes client takes 0.4 s to import

    return connect(options)


def database(options: argparse.Namespace) -> tuple[str, str]:
    """Return the database's URL and the namespace.

    Raises:
        CommandError: A setting is missing or wrong.
    """
    from b3lb.settings import SettingsError, load_settings  # noqa: PLC0415 - pydantic takes 0.2 s to import
    from b3lb_cli.settings import CommandSettings  # noqa: PLC0415 - pydantic takes 0.2 s to import

    try:
        settings = load_settings(CommandSettings)
        namespace = options.namespace or settings.default_namespace
    except SettingsError as error:
        raise CommandError(ExitCode.CONFIGURATION, str(error)) from None
    return settings.url, namespace
