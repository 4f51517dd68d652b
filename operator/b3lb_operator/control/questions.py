"""What is asked: parameters of a path and a query, read strictly; wrong ones are one precise line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from uuid import UUID

LONGEST_VALUE = 256
_SHOWN = 60


class ControlError(Exception):
    """There is no document to answer with; the message is one line that says what to do."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class BadQuestionError(ControlError):
    """A parameter is unknown or wrong."""

    status = HTTPStatus.BAD_REQUEST


class UnknownObjectError(ControlError):
    """What was asked for is not there."""

    status = HTTPStatus.NOT_FOUND


class UnavailableError(ControlError):
    """What the answer follows from cannot be read now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Question:
    """The parameters of one request: those of its path and those of its query."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no name has, such as NUL.

        Raises:
            BadQuestionError: There is some.
        """
        for name, value in (*self.path.items(), *self.query.items()):
            # PostgreSQL refuses NUL as it refuses a row: that must not look like a database that cannot be used.
            if not value.isprintable():
                raise BadQuestionError(f"{name} {shown(value)} has characters that no name has")

    def text(self, name: str) -> str | None:
        """Return a parameter of the query, None where it is absent or empty."""
        return self.query.get(name) or None

    def choice(self, name: str, allowed: Iterable[str]) -> str | None:
        """Return a parameter that has to be one of some values, whatever its case.

        Raises:
            BadQuestionError: It is none of them.
        """
        value, known = self.text(name), list(allowed)
        if value is None:
            return None
        for candidate in known:
            if candidate.lower() == value.lower():
                return candidate
        raise BadQuestionError(f"{name} {shown(value)} is not known: use one of {', '.join(known)}")

    def number(self, name: str, *, default: int, least: int, greatest: int) -> int:
        """Return a parameter that has to be a whole number within bounds.

        Raises:
            BadQuestionError: It is not.
        """
        value = self.text(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdecimal()) or not least <= int(value) <= greatest:
            raise BadQuestionError(f"{name} {shown(value)} is not a number from {least} to {greatest}")
        return int(value)

    def identifier(self, name: str) -> UUID:
        """Return the UUID that a part of the path has to be.

        Raises:
            BadQuestionError: It is none.
        """
        return _uuid(self.path[name])

    def optional_identifier(self, name: str) -> UUID | None:
        """Return the UUID that a parameter of the query has to be, None where it is absent or empty.

        Raises:
            BadQuestionError: It is none.
        """
        value = self.text(name)
        return None if value is None else _uuid(value)

    def namespaces(self, watched: Sequence[str]) -> Sequence[str]:
        """Return the namespaces that are asked for: the one that is named, or all that are watched.

        Raises:
            UnknownObjectError: The one that is named is not watched.
        """
        named = self.text("namespace")
        if named is None:
            return watched
        if named not in watched:
            message = f"this operator does not watch the namespace {shown(named)}: use one of {', '.join(watched)}"
            raise UnknownObjectError(message)
        return [named]


def check_parameters(query: Iterable[tuple[str, str]], allowed: Sequence[str]) -> dict[str, str]:
    """Return the parameters of a query by name.

    Raises:
        BadQuestionError: One is unknown, too long, or there twice.
    """
    found: dict[str, str] = {}
    for name, value in query:
        if name not in allowed:
            known = f"the parameters are {', '.join(allowed)}" if allowed else "there are none"
            raise BadQuestionError(f"there is no parameter {shown(name)}: {known}")
        if len(value) > LONGEST_VALUE:
            raise BadQuestionError(f"{name} is longer than {LONGEST_VALUE} characters")
        if name in found:
            raise BadQuestionError(f"{name} is there twice: ask for one at a time")
        found[name] = value
    return found


def shown(text: str) -> str:
    """Return a text of somebody else's as it may stand in a line for people: quoted, cut, printable."""
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return repr(cut)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadQuestionError(f"{shown(text)} is not a UUID") from None
