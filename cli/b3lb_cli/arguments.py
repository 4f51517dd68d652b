"""What the command lines of all commands are made of; nothing heavy is imported."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from b3lb_cli.outcome import ExitCode
from b3lb_cli.values import argument, namespace_name, server_url

Execute = Callable[[argparse.Namespace], None]
"""Does what the command line asks for; raises CommandError."""

OUTPUTS = ("table", "json", "yaml")
WIDE_OUTPUTS = ("table", "wide", "json", "yaml")


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """End the program."""
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - the class has no public name
"""What commands are added to."""


def add_command(
    commands: Commands,
    name: str,
    *,
    summary: str,
    execute: Execute,
    description: str = "",
    examples: Sequence[str] = (),
    outputs: Sequence[str] = OUTPUTS,
    connects: bool = True,
) -> Parser:
    """Add a command and return its parser.

    Args:
        commands: Where it is added.
        name: Its name.
        summary: One line for the list of commands.
        execute: What does it.
        description: What its own help says; default: the summary.
        examples: Command lines, each with a comment if it needs one.
        outputs: The values of ``-o``, the first one being the default; none: there is no ``-o``.
        connects: Whether it asks the operator or the database.
    """
    made = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[:1].upper()}{summary[1:]}.",
        epilog="\n".join(["examples:", *(f"  {line}" for line in examples)]) if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.set_defaults(execute=execute)
    if outputs:
        made.add_argument("-o", "--output", choices=outputs, default=outputs[0], help=f"default: {outputs[0]}")
    if connects:
        _add_connection(made)
    return made


def add_group(commands: Commands, name: str, *, summary: str) -> Commands:
    """Add a command that has commands of its own and return those."""
    description = f"{summary[:1].upper()}{summary[1:]}."
    made = commands.add_parser(name, help=summary, description=description, allow_abbrev=False)
    return made.add_subparsers(dest="verb", metavar="COMMAND", required=True)


def lazily(target: str) -> Execute:
    """Return the function at ``module:name``, whose module is imported when it is called."""
    module, _, name = target.partition(":")

    def execute(options: argparse.Namespace) -> None:
        getattr(importlib.import_module(module), name)(options)

    return execute


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", "--namespace", type=argument(namespace_name), metavar="NAMESPACE", help="namespace of the farm"
    )
    group = parser.add_argument_group("where the operator is (default: the kubeconfig's current context)")
    group.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    group.add_argument("--kubeconfig", metavar="FILE", help="default: KUBECONFIG, else ~/.kube/config")
    group.add_argument(
        "--operator-namespace",
        type=argument(namespace_name),
        metavar="NAMESPACE",
        help="namespace of the operator, where it is not the farm's",
    )
    group.add_argument(
        "--server", type=argument(server_url), metavar="URL", help="the operator itself, such as http://localhost:8080"
    )
    group.add_argument("--token-file", metavar="FILE", help="the token for --server; default: that of the kubeconfig")
