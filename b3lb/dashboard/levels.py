"""How much something needs a person; each level has a word and a sign beside its colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")

SHOWN = 20
"""So many rows of a long list are shown; the rest is folded."""


class Level(StrEnum):
    """A class of the style sheet, worst first."""

    BAD = "bad"
    WARNING = "warning"
    UNKNOWN = "unknown"
    BUSY = "busy"
    GOOD = "good"
    IDLE = "idle"


RANK = {level: rank for rank, level in enumerate(Level)}
"""The worst has rank 0."""

SIGNS = {
    Level.BAD: "✕",
    Level.WARNING: "!",
    Level.UNKNOWN: "?",
    Level.BUSY: "▸",
    Level.GOOD: "✓",
    Level.IDLE: "\u2013",
}


@dataclass(frozen=True, slots=True)
class Badge:
    """A state in a word, with its level."""

    level: Level
    word: str

    @property
    def sign(self) -> str:
        """A sign that differs from level to level also without colours."""
        return SIGNS[self.level]


@dataclass(frozen=True, slots=True)
class Folded(Generic[T]):
    """A long list: what is shown, and what a click unfolds."""

    shown: tuple[T, ...]
    rest: tuple[T, ...]

    @property
    def all(self) -> tuple[T, ...]:
        """Every row."""
        return self.shown + self.rest


def folded(rows: Sequence[T], most: int = SHOWN) -> Folded[T]:
    """Return the first rows and the rest; a single row is not worth folding."""
    return Folded(tuple(rows), ()) if len(rows) <= most + 1 else Folded(tuple(rows[:most]), tuple(rows[most:]))
