"""The exit codes of ``b3lb-job``; a queue's pod failure policy and its users rely on them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the end of a run says about trying again.

    The numbers are those of BSD's ``sysexits.h`` where one fits; 69 is used for memory because a larger limit is the
    only thing that helps. 64 to 70 and 78 are final; 75 and a signal are worth another attempt.
    """

    DONE = 0
    USAGE = 2
    BAD_INPUT = 65
    OUT_OF_MEMORY = 69
    INTERNAL = 70
    TRANSIENT = 75
    CONFIGURATION = 78
    INTERRUPTED = 130
    STOPPED = 143


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.USAGE: "wrong command line",
    ExitCode.BAD_INPUT: "permanent: the data cannot be worked on, or there is no such namespace",
    ExitCode.OUT_OF_MEMORY: "permanent: out of memory",
    ExitCode.INTERNAL: "permanent: a fault of the program",
    ExitCode.TRANSIENT: "transient: the database is away, its schema does not fit, or every tick failed",
    ExitCode.CONFIGURATION: "permanent: a setting is missing or wrong",
    ExitCode.INTERRUPTED: "stopped by SIGINT, like SIGTERM",
    ExitCode.STOPPED: "stopped by SIGTERM: the tick is given up, its lease released, the task run is RETRY",
}
"""One line for each code, for ``--help`` and the documentation."""
