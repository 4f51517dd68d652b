"""The result of a poll as BBB puts it onto the whiteboard: a bar for each answer."""

from __future__ import annotations

from b3lb_jobs.record.drawings import WHITE, Align, Colour, Drawing, Outline, TextBlock
from b3lb_jobs.record.failures import SkippedShapeError
from b3lb_jobs.record.paths import polygon
from b3lb_jobs.record.tldraw.fields import Json, text
from b3lb_jobs.record.values import number

_INK = Colour(51, 51, 51)
_MAXIMUM_ANSWERS = 50
_TITLE_SHARE = 0.2
_LARGEST_TEXT = 24.0
_KEY_SHARE, _BAR_SHARE = 0.3, 0.5


def poll(data: Json, width: float, height: float) -> Drawing:
    """Return the picture of a poll's result of this size.

    Raises:
        SkippedShapeError: it has no answers or no size.
    """
    answers = _answers(data)
    if not answers or width <= 0 or height <= 0:
        raise SkippedShapeError("a poll without answers or size")
    question = text(data, "questionText", "question")
    top = height * _TITLE_SHARE if question else 0.0
    frame = polygon([(0, 0), (width, 0), (width, height), (0, height)])
    parts: list[Outline | TextBlock] = [Outline(frame, _INK, 2.0, WHITE)]
    if question:
        size = min(top * 0.5, _LARGEST_TEXT)
        parts.append(TextBlock(question, 8, 4, max(width - 16, 1.0), top, size, _INK, vertical=Align.MIDDLE))
    row = (height - top) / len(answers)
    most = max(1.0, *(votes for _, votes in answers))
    size = min(row * 0.6, _LARGEST_TEXT)
    for index, (key, votes) in enumerate(answers):
        y = top + index * row
        left, bar = width * _KEY_SHARE, width * _BAR_SHARE * votes / most
        parts.append(
            TextBlock(key, 8, y, left - 16, row, size, _INK, align=Align.END, vertical=Align.MIDDLE),
        )
        low, high, right = y + row * 0.15, y + row * 0.85, left + max(bar, 1.0)
        parts.append(Outline(polygon([(left, low), (right, low), (right, high), (left, high)]), fill=_INK))
        box = (left + bar + 8, y, width * (1 - _KEY_SHARE - _BAR_SHARE) - 16, row)
        parts.append(TextBlock(f"{votes:.0f}", *box, size, _INK, vertical=Align.MIDDLE))
    return tuple(parts)


def _answers(data: Json) -> list[tuple[str, float]]:
    listed = data.get("answers")
    return [
        (text(answer, "key")[:200], max(number(answer.get("numVotes")) or 0.0, 0.0))
        for answer in (listed[:_MAXIMUM_ANSWERS] if isinstance(listed, list) else ())
        if isinstance(answer, dict)
    ]
