"""How ``b3lb`` ends: its exit codes, and the one exception that carries one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What a script may rely on; 64 and up are those of BSD's ``sysexits.h``."""

    DONE = 0
    NOT_FOUND = 1
    UNKNOWN_NAME = 2
    RUN_FAILED = 3
    USAGE = 64
    INTERNAL = 70
    AWAY = 75
    CONFIGURATION = 78
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.NOT_FOUND: "there is nothing with this name",
    ExitCode.UNKNOWN_NAME: "there is no such task, queue or state; the message lists those that there are",
    ExitCode.RUN_FAILED: "the run that was waited for failed, was revoked, or goes on after --timeout",
    ExitCode.USAGE: "wrong command line",
    ExitCode.INTERNAL: "a fault of the program, or a database that refuses the question",
    ExitCode.AWAY: "the database is away, or its schema does not fit; try again",
    ExitCode.CONFIGURATION: "a setting is missing or wrong",
    ExitCode.INTERRUPTED: "stopped by SIGINT",
}
"""One line for each code, for ``--help`` and the documentation."""


class CommandError(Exception):
    """The command cannot do what was asked; the message is one line for people and holds no secret."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


_MOST_NAMES = 50


def not_found(kind: str, name: str, namespace: str, names: Mapping[str, Sequence[str]]) -> str:
    """Return one line that says what there is instead; ``names`` are those of all objects of the kind by namespace."""
    there = names.get(namespace, ())
    if there:
        more = f" and {len(there) - _MOST_NAMES} more" if len(there) > _MOST_NAMES else ""
        listed = f"there are: {', '.join(there[:_MOST_NAMES])}{more}"
    elif names:
        listed = f"there is none in this namespace; namespaces with some: {', '.join(list(names)[:_MOST_NAMES])}"
    else:
        listed = "there is none at all"
    return f"no {kind} {name} in namespace {namespace}; {listed}"
