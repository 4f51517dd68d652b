"""``b3lb completion``: what a shell completes, made from the parser itself."""

from __future__ import annotations

import argparse
import sys

from b3lb_cli.arguments import Commands, add_command

SHELLS = ("bash", "zsh", "fish")
_FILES = {"FILE"}


def add_commands(commands: Commands) -> None:
    """Add ``completion``."""
    made = add_command(
        commands,
        "completion",
        summary="print what bash, zsh or fish need to complete commands and options",
        examples=(
            "source <(b3lb completion bash)                               in this shell",
            "b3lb completion zsh > ~/.zfunc/_b3lb                         with ~/.zfunc in fpath",
            "b3lb completion fish > ~/.config/fish/completions/b3lb.fish",
        ),
        outputs=(),
        connects=False,
        execute=_completion,
    )
    made.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def _completion(options: argparse.Namespace) -> None:
    import shtab  # noqa: PLC0415 - only this command needs it

    from b3lb_cli.cli import parser  # noqa: PLC0415 - it adds this very command

    made = parser()
    _complete_files(made, shtab.FILE)
    sys.stdout.write(f"{shtab.complete(made, options.shell)}\n")


def _complete_files(parser: argparse.ArgumentParser, files: object) -> None:
    for action in parser._actions:  # noqa: SLF001 - argparse lists them nowhere else
        if action.metavar in _FILES:
            action.complete = files  # type: ignore[attr-defined]  # where shtab looks for it
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the class has no public name
            for below in action.choices.values():
                _complete_files(below, files)
