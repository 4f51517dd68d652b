"""What a test recording is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise


class Generation(StrEnum):
    """Versions of BBB whose recordings differ."""

    V0_8 = "0.8"
    V2_0 = "2.0"
    V2_5 = "2.5"
    V2_6_0 = "2.6.0"
    V2_7 = "2.7.12"
    V3_0 = "3.0.4"

    @property
    def is_tldraw(self) -> bool:
        """Whether drawings are in tldraw.json."""
        return self in (Generation.V2_6_0, Generation.V2_7, Generation.V3_0)

    @property
    def page(self) -> tuple[int, int]:
        """Size of tldraw's page."""
        return (2048, 1536) if self is Generation.V2_6_0 else (1440, 1080)


class Webcams(StrEnum):
    """How sound and webcams are published."""

    WEBM = "webm"
    MP4 = "mp4"
    NONE = "none"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Options:
    """A recording: its length in seconds, and how much of everything there is.

    ``shapes`` are versions of shapes, ``moves`` those of the cursor. ``screen_share`` is the share of the time, in
    percent, for which the screen is shared, once for each ``screen_shares``. ``meeting`` is the internal ID of the
    meeting and so the recording's, ``external_meeting`` the one that it was created with.
    """

    generation: Generation = Generation.V2_5
    seconds: float = 12.0
    seed: int = 1
    slides: int = 3
    shapes: int = 24
    moves: int = 20
    zooms: int = 6
    webcams: Webcams = Webcams.WEBM
    screen_shares: int = 1
    screen_share: int = 15
    width: int = 1600
    height: int = 1200
    meeting: str = "0123456789abcdef0123456789abcdef01234567-1700000000000"
    external_meeting: str = "ABC-000-test"


@dataclass(frozen=True, slots=True)
class SlideTime:
    """A picture's time: number N of its id imageN, the page of the presentation that it shows, None for the share."""

    number: int
    page: int | None
    begin: float
    end: float


def slide_times(options: Options) -> list[SlideTime]:
    """Return who has the stage when: the pages one after the other, screen shares in between."""
    shares = share_times(options)
    tenths = round(options.seconds * 10)
    cuts = {round(tenths * index / options.slides) / 10: index for index in range(options.slides)}
    borders = sorted({*cuts, *(time for share in shares for time in share), tenths / 10})
    times, page = [], 0
    for number, (begin, end) in enumerate(pairwise(borders), start=1):
        page = cuts.get(begin, page)
        shared = any(start <= begin < stop for start, stop in shares)
        times.append(SlideTime(number, None if shared else page, begin, end))
    return times


def share_times(options: Options) -> list[tuple[float, float]]:
    """Return when the screen is shared: evenly spread, on the tenths of seconds that BBB writes."""
    if not options.screen_shares or not options.screen_share:
        return []
    period = options.seconds / options.screen_shares
    length = period * options.screen_share / 100
    begins = [period * index + (period - length) / 2 for index in range(options.screen_shares)]
    return [(round(begin, 1), round(begin + length, 1)) for begin in begins]
