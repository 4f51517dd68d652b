"""Whose namespace a command is about."""

from __future__ import annotations

import argparse
import os

from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.values import namespace_name


def farm_namespace(options: argparse.Namespace) -> str | None:
    """Return the namespace that the command line or the environment names, None where neither does: all of them.

    Raises:
        CommandError: No namespace can have the name.
    """
    if options.namespace is not None:
        return str(options.namespace)
    try:
        return namespace_name(os.environ["B3LB_NAMESPACE"]) if os.environ.get("B3LB_NAMESPACE") else None
    except ValueError as error:
        raise CommandError(ExitCode.CONFIGURATION, f"B3LB_NAMESPACE: {error}") from None
