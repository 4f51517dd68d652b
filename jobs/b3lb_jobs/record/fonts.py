"""Which installed font has a character: cairo's simple texts are drawn with one font each, and know no other one.

fontconfig's program ``fc-match`` is asked for a character that the wanted font lacks (https://www.freedesktop.org/wiki/
Software/fontconfig/, "charset" in a pattern).
"""

from __future__ import annotations

import subprocess
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import cairocffi

from b3lb_jobs.record.drawings import Font

FAMILIES = {Font.SANS: "Liberation Sans", Font.SERIF: "Liberation Serif", Font.MONO: "Liberation Mono"}
_SECONDS = 10.0
# Texts of all scripts together need a few fonts; more questions only a hostile text has.
_MAXIMUM_QUESTIONS = 64
_questions = iter(range(_MAXIMUM_QUESTIONS))
_other_families: dict[str, None] = {}


def runs(text: str, font: Font) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a text with the family that each is drawn with."""
    for family, letters in groupby(text, key=lambda letter: family_of(letter, font) or FAMILIES[font]):
        yield family, "".join(letters)


def missing(text: str, font: Font) -> frozenset[str]:
    """Return the characters of a text that no font has."""
    return frozenset(letter for letter in set(text) if family_of(letter, font) is None)


def visible(text: str) -> str:
    """Return a text without what is never seen but would be drawn as a box: control and format characters."""
    return "".join(letter for letter in text if letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cf"))


@lru_cache(maxsize=8_192)
def family_of(letter: str, font: Font) -> str | None:
    """Return a family that has the character, the wanted one if it can be, or None."""
    for family in (FAMILIES[font], *_other_families):
        if _has(family, letter):
            return family
    found = _asked(letter)
    if found is None or not _has(found, letter):
        return None
    _other_families[found] = None
    return found


def _has(family: str, letter: str) -> bool:
    # Glyph 0 is the box of what a font does not have.
    return all(glyph[0] for glyph in _scaled(family).text_to_glyphs(0, 0, letter, with_clusters=False))


@lru_cache(maxsize=_MAXIMUM_QUESTIONS)
def _scaled(family: str) -> cairocffi.ScaledFont:
    return cairocffi.ScaledFont(cairocffi.ToyFontFace(family))


def _asked(letter: str) -> str | None:
    """Ask fontconfig for a family with the character; it answers with some other one if there is none."""
    if next(_questions, None) is None:
        return None
    command = ["fc-match", "-f", "%{family[0]}", f":charset={ord(letter):x}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() or None
