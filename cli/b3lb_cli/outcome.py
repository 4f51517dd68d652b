"""How ``b3lb`` ends: its exit codes, and the one exception that carries one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What a script may rely on; 70 and up are those of BSD's ``sysexits.h``."""

    DONE = 0
    NOT_FOUND = 1
    USAGE = 2
    RUN_FAILED = 3
    INTERNAL = 70
    AWAY = 75
    FORBIDDEN = 77
    CONFIGURATION = 78
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.NOT_FOUND: "there is nothing with this name, or not in that state; something is wrong (ping, doctor)",
    ExitCode.USAGE: "wrong command line, or no such task, queue or state; the message lists those that there are",
    ExitCode.RUN_FAILED: "the run that was waited for failed, was revoked, or goes on after --timeout",
    ExitCode.INTERNAL: "a fault of the program, or an answer that makes no sense",
    ExitCode.AWAY: "operator, API server or database away, or not ready; try again",
    ExitCode.FORBIDDEN: "you may not do that; the message names the right that is missing",
    ExitCode.CONFIGURATION: "a setting, the token or the kubeconfig is missing or wrong",
    ExitCode.INTERRUPTED: "stopped by SIGINT",
}
"""One line for each code, for ``--help`` and the documentation."""


class CommandError(Exception):
    """The command cannot do what was asked; the message is one line for people and holds no secret."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


_MOST_NAMES = 50


def listed(names: Sequence[str]) -> str:
    """Return names in one line, not all of very many."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{more}"


def not_found(kind: str, name: str, namespace: str, names: Mapping[str, Sequence[str]]) -> str:
    """Return one line that says what there is instead; ``names`` are those of all objects of the kind by namespace."""
    there = names.get(namespace, ())
    if there:
        instead = f"there are: {listed(there)}"
    elif names:
        instead = f"there is none in this namespace; namespaces with some: {', '.join(list(names)[:_MOST_NAMES])}"
    else:
        instead = "there is none at all"
    return f"no {kind} {name} in namespace {namespace}; {instead}"
