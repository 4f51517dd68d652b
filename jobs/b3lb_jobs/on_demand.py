"""What a task that runs on demand is: a plain function with validated arguments and a result, in a pod of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from b3lb.crypto import KeyRing
from b3lb_jobs.database import Database
from b3lb_jobs.errors import PermanentError

Arguments = TypeVar("Arguments", bound=BaseModel)


class NoArguments(BaseModel):
    """The arguments of a task that has none."""

    model_config = ConfigDict(extra="forbid")


def _unheard(_percent: float, _message: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a task may know and use.

    ``seconds_left`` returns the seconds until the soft time limit. ``on_progress`` is told what `progress` is. With the
    ``last_attempt`` a passing fault ends the run as well.
    """

    run_id: UUID
    namespace: str
    queue: str
    attempt: int
    keys: KeyRing
    database: Database
    seconds_left: Callable[[], float]
    on_progress: Callable[[float, str], None] = _unheard
    last_attempt: bool = False

    def progress(self, percent: float, message: str = "") -> None:
        """Say how far the work has come; cheap, for of what is said within 10 s only one thing is written.

        Not to be called within a transaction of ``database``, which has one connection.

        Args:
            percent: 0 to 100; what lies beyond counts as the nearer of them.
            message: One line for people, without secrets.
        """
        self.on_progress(min(100.0, max(0.0, percent)), message)


@dataclass(frozen=True, slots=True)
class OnDemandTask(Generic[Arguments]):
    """A task that runs when it is enqueued.

    Attributes:
        function: Does the work in the main thread and returns the result, at most 64 KiB of JSON, or None. It may raise
            `TransientError` (tried again after a pause) or `PermanentError` (over), and may catch
            `SoftTimeLimitError`.
        arguments: Validates the run's arguments.
    """

    function: Callable[[RunContext, Arguments], Mapping[str, Any] | None]
    arguments: type[Arguments]

    def run(self, context: RunContext, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Validate the arguments, do the work and return its result.

        Raises:
            PermanentError: The arguments are not valid; the message names the first such field, never its value.
        """
        try:
            validated = self.arguments.model_validate(arguments)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            field = ".".join(map(str, first["loc"])) or "the whole"
            raise PermanentError(f"the arguments are not valid: {field}: {first['msg']}") from None
        return self.function(context, validated)
