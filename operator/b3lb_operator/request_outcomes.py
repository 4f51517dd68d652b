"""What became of requests, for so long that whoever asked can learn of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

KEPT_SECONDS = 600.0
MOST_KEPT = 1_000

State = Literal["done", "refused", "pending"]


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """What became of one request; ``revoked`` is how many runs it took back, None where it takes none."""

    state: State
    message: str
    namespace: str
    revoked: int | None = None


class RequestOutcomes:
    """The last outcomes by request; the oldest go first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take the clock: monotonic seconds."""
        self._clock = clock
        self._known: dict[UUID, tuple[float, RequestOutcome]] = {}

    def note(self, request_id: UUID, outcome: RequestOutcome) -> None:
        """Remember an outcome; it takes the place of the request's former one."""
        now = self._clock()
        self._known.pop(request_id, None)
        self._known[request_id] = now, outcome
        for old in [known for known, (at, _) in self._known.items() if now - at > KEPT_SECONDS]:
            del self._known[old]
        while len(self._known) > MOST_KEPT:
            del self._known[next(iter(self._known))]

    def get(self, request_id: UUID) -> RequestOutcome | None:
        """Return what is known of a request, None for nothing."""
        noted = self._known.get(request_id)
        if noted is None or self._clock() - noted[0] > KEPT_SECONDS:
            return None
        return noted[1]
