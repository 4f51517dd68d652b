"""When a callback is tried again, and when it is over: pure functions.

A callback waits in a table until its receiver took it: a receiver that is away for a night still hears of everything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

REFUSING = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.GONE})
"""Answers by which a receiver says that it will never take the callback: a wrong signature, a meeting that is gone.

https://docs.bigbluebutton.org/development/api/#recording-ready-callback-url
"""

_FIRST_FAILURE = HTTPStatus.MULTIPLE_CHOICES


class CallbackState(StrEnum):
    """The states of a callback."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class CallbackReason(StrEnum):
    """Why the last attempt failed, besides the reasons that requests to nodes have."""

    HTTP_STATUS = "HTTPStatus"
    REFUSED_BY_RECEIVER = "RefusedByReceiver"
    INVALID_URL = "InvalidURL"
    FORBIDDEN_ADDRESS = "ForbiddenAddress"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password


HOPELESS = frozenset({CallbackReason.REFUSED_BY_RECEIVER, CallbackReason.INVALID_URL})
"""Reasons after which no other attempt makes sense."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """After which pauses a callback is tried again, and for how long.

    The pause doubles from ``first`` to ``longest``, each shortened by chance by up to ``jitter`` of itself, so that
    callbacks that failed together do not come together again.
    """

    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(hours=6)
    give_up_after: timedelta = timedelta(days=3)
    jitter: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far a callback has come; the points in time are the database's."""

    state: CallbackState = CallbackState.PENDING
    attempts: int = 0
    created_at: datetime
    next_attempt_at: datetime
    last_attempt_at: datetime | None = None
    finished_at: datetime | None = None
    status_code: int | None = None
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went: the answer's status, or why there was none.

    ``retry_after`` is the pause in seconds that the receiver asked for (RFC 9110, 10.2.3), None if it did not.
    """

    status_code: int | None = None
    reason: str | None = None
    message: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return (
            self.reason is None and self.status_code is not None and HTTPStatus.OK <= self.status_code < _FIRST_FAILURE
        )


def judged(status_code: int, *, retry_after: float | None = None) -> Attempt:
    """Return the attempt that was answered with this status."""
    if HTTPStatus.OK <= status_code < _FIRST_FAILURE:
        return Attempt(status_code)
    if status_code in REFUSING:
        message = f"the receiver wants no more of it: HTTP {status_code}"
        return Attempt(status_code, CallbackReason.REFUSED_BY_RECEIVER, message)
    note = ", and redirects are not followed" if _FIRST_FAILURE <= status_code < HTTPStatus.BAD_REQUEST else ""
    return Attempt(status_code, CallbackReason.HTTP_STATUS, f"HTTP {status_code}{note}", retry_after)


def after_attempt(
    delivery: Delivery, attempt: Attempt, *, now: datetime, chance: float, back_off: BackOff | None = None
) -> Delivery:
    """Return the state of a callback after an attempt.

    Args:
        delivery: Its state before.
        attempt: How the attempt went.
        now: When it ended.
        chance: A random number of [0, 1).
        back_off: The pauses.

    Raises:
        ValueError: The callback is over already.
    """
    if delivery.state is not CallbackState.PENDING:
        raise ValueError(f"a callback that is {delivery.state} is not attempted")
    policy = back_off or BackOff()
    tried = replace(
        delivery,
        attempts=delivery.attempts + 1,
        last_attempt_at=now,
        status_code=attempt.status_code,
        reason=attempt.reason,
        message=attempt.message,
    )
    if attempt.delivered:
        return replace(tried, state=CallbackState.DELIVERED, finished_at=now)
    if attempt.reason in HOPELESS:
        return replace(tried, state=CallbackState.FAILED, finished_at=now)
    next_attempt_at = now + pause(tried.attempts, attempt.retry_after, chance, policy)
    if next_attempt_at > delivery.created_at + policy.give_up_after:
        message = f"given up after {tried.attempts} attempts; the last: {attempt.message or attempt.reason}"
        return replace(tried, state=CallbackState.FAILED, finished_at=now, message=message)
    return replace(tried, next_attempt_at=next_attempt_at)


def pause(attempts: int, retry_after: float | None, chance: float, policy: BackOff) -> timedelta:
    """Return the pause after so many attempts; a receiver may ask for a longer one, up to the longest of the policy."""
    doubled = policy.first * (1 << min(max(attempts - 1, 0), 20))
    wanted = min(doubled, policy.longest) * (1 - policy.jitter * chance)
    asked = timedelta(seconds=min(max(retry_after or 0.0, 0.0), policy.longest.total_seconds()))
    return max(wanted, asked)
