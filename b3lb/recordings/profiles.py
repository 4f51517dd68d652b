"""With which profiles a recording is rendered: a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NO_PROFILE = "NoProfile"
"""The reason of a recording, or of one of its videos, for which there is no profile."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A BBBRecordProfile as it is stored; one that is not ``usable`` has a spec that nobody can read."""

    name: str
    generation: int = 1
    is_default: bool = False
    usable: bool = True


@dataclass(frozen=True, slots=True)
class ProfileChoice:
    """The profiles to render with, by name, and those that are named but cannot be used; both without repetition."""

    chosen: tuple[Profile, ...] = ()
    missing: tuple[str, ...] = ()


def choose_profiles(references: Sequence[str], profiles: Iterable[Profile]) -> ProfileChoice:
    """Return with which profiles a recording is rendered.

    Those that its API secret names, each that cannot be used being missing; if it names none, or there is no such
    secret or tenant, all whose ``default`` is true; if there are none of them, all.

    Args:
        references: What the API secret names, () without one.
        profiles: All of the namespace.
    """
    usable = {profile.name: profile for profile in sorted(profiles, key=lambda item: item.name) if profile.usable}
    if references:
        named = tuple(dict.fromkeys(references))
        chosen = tuple(usable[name] for name in named if name in usable)
        return ProfileChoice(chosen, tuple(name for name in named if name not in usable))
    defaults = tuple(profile for profile in usable.values() if profile.is_default)
    return ProfileChoice(defaults or tuple(usable.values()))


def missing_message(*names: str) -> str:
    """Return why there is no video with these profiles, or none at all."""
    if not names:
        return "there is no BBBRecordProfile that can be used: write one, and it is rendered"
    return f"BBBRecordProfile {', '.join(names)} does not exist or cannot be used"
