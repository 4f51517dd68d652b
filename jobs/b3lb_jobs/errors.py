"""What a task raises, and how any exception ends a run."""

from __future__ import annotations

from dataclasses import dataclass

from b3lb_jobs.exit_codes import ExitCode


class TaskError(Exception):
    """A fault that a task foresaw; its message is one line for people and holds no secret."""


class TransientError(TaskError):
    """The work failed now and may succeed later.

    Attributes:
        countdown: Seconds after which another attempt makes sense, or None for the schedule's next one.
        exit_code: The code that the run ends with.
        granted: Whether an enqueued run has another attempt even if its queue allows no more of them.
    """

    def __init__(
        self,
        message: str,
        *,
        countdown: float | None = None,
        exit_code: ExitCode = ExitCode.TRANSIENT,
        granted: bool = False,
    ) -> None:
        super().__init__(message)
        self.countdown = countdown
        self.exit_code = exit_code
        self.granted = granted


class PermanentError(TaskError):
    """The work cannot succeed without a change of its input or settings.

    Attributes:
        exit_code: The code that the run ends with.
    """

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class SoftTimeLimitError(TaskError):
    """A run took longer than its queue's softTimeLimitSeconds.

    It is raised in the middle of the task, which may catch it, keep what it has and return. Uncaught it is a failure.
    """


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a task run: a state of ``task_runs``, the exit code, and one line about the fault."""

    state: str
    exit_code: ExitCode
    error: str | None = None
    expected: bool = True
    countdown: float | None = None
    granted: bool = False


def outcome_of(error: BaseException) -> Outcome:
    """Return how a run ends by ``error``.

    ``expected`` is False for a fault of the program: only those are worth a traceback. Of a group of exceptions (tasks
    that failed side by side) the first one counts.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case TransientError():
            return Outcome("RETRY", error.exit_code, str(error), countdown=error.countdown, granted=error.granted)
        case PermanentError():
            return Outcome("FAILURE", error.exit_code, str(error))
        case SoftTimeLimitError():
            return Outcome("FAILURE", ExitCode.INTERNAL, str(error))
        case MemoryError():
            return Outcome("FAILURE", ExitCode.OUT_OF_MEMORY, "out of memory")
        case _:
            return Outcome("FAILURE", ExitCode.INTERNAL, f"{type(error).__name__}: {error}", expected=False)
