"""The XML documents of a published recording."""

from __future__ import annotations

import json
from random import Random

from dev.recordings import legacy, tldraw
from dev.recordings.options import Generation, Options, SlideTime, share_times, slide_times

_START_MS = 1_700_000_000_000
PRESENTATION = "first"


def documents(options: Options) -> dict[str, str]:
    """Return all documents by their names."""
    times = slide_times(options)
    found = {
        "metadata.xml": _metadata(options),
        "shapes.svg": _shapes(options, times),
        "panzooms.xml": _panzooms(options, times),
        "cursor.xml": _cursor(options),
        "deskshare.xml": _screen_shares(options),
        "slides_new.xml": '<?xml version="1.0"?>\n<popcorn/>\n',
    }
    if options.generation.is_tldraw:
        found["tldraw.json"] = json.dumps(tldraw.pages(options, times))
    return found


def picture_path(options: Options, page: int) -> str:
    """Return the path of a page's picture."""
    if options.generation.is_tldraw:
        return f"presentation/{PRESENTATION}/svgs/slide{page + 1}.svg"
    return f"presentation/{PRESENTATION}/slide-{page + 1}.png"


def _metadata(options: Options) -> str:
    milliseconds = round(options.seconds * 1000)
    return (
        '<?xml version="1.0"?>\n<recording>\n'
        f"  <id>{options.meeting}</id>\n  <state>published</state>\n  <published>true</published>\n"
        f"  <start_time>{_START_MS}</start_time>\n  <end_time>{_START_MS + milliseconds + 60_000}</end_time>\n"
        "  <participants>2</participants>\n"
        f'  <meeting id="{options.meeting}" externalId="{options.external_meeting}" name="A test" breakout="false"/>\n'
        f"  <meta><meetingName>A test</meetingName><meetingId>{options.external_meeting}</meetingId></meta>\n"
        "  <playback><format>presentation</format>"
        f"<duration>{milliseconds}</duration></playback>\n</recording>\n"
    )


def _shapes(options: Options, times: list[SlideTime]) -> str:
    canvases = {} if options.generation.is_tldraw else legacy.canvases(options, times)
    parts = []
    for time in times:
        href = "presentation/deskshare.png" if time.page is None else picture_path(options, time.page)
        size = (
            'width="1280" height="720"' if time.page is None else f'width="{options.width}" height="{options.height}"'
        )
        parts.append(
            f'<image id="image{time.number}" class="slide" in="{time.begin:.1f}" out="{time.end:.1f}" '
            f'xlink:href="{href}" {size} x="0" y="0" style="display:none"/>'
        )
        if drawn := canvases.get(time.number):
            parts.append(
                f'<g class="canvas" id="canvas{time.number}" image="image{time.number}" display="none">'
                f"{''.join(drawn)}</g>"
            )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n'
        '<svg id="svgfile" style="position:absolute" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 800 600">' + "".join(parts) + "</svg>\n"
    )


def _root(name: str, options: Options, attributes: str, events: list[str]) -> str:
    mark = ' tldraw="true"' if options.generation.is_tldraw else ""
    return f'<?xml version="1.0"?>\n<{name} id="{name}s"{mark}{attributes}>{"".join(events)}</{name}>\n'


def _panzooms(options: Options, times: list[SlideTime]) -> str:
    random = Random(options.seed + 1)
    scale = min(options.generation.page[0] / options.width, options.generation.page[1] / options.height)
    boxes = {time.begin: (0.0, 0.0, 1.0) for time in times}
    for _ in range(options.zooms):
        at = round(random.uniform(0, options.seconds), 1)
        boxes[at] = (random.uniform(0, 0.4), random.uniform(0, 0.4), random.uniform(0.3, 0.6))
    events = []
    for time, (left, top, share) in sorted(boxes.items()):
        x, y = left * options.width, top * options.height
        if options.generation.is_tldraw:
            x, y = -x * scale, -y * scale
        box = f"{x:.3f} {y:.3f} {share * options.width:.3f} {share * options.height:.3f}"
        events.append(f'<event timestamp="{time:.1f}"><viewBox>{box}</viewBox></event>')
    return _root("recording", options, "", events)


def _cursor(options: Options) -> str:
    random = Random(options.seed + 2)
    across = {Generation.V0_8: (800, 600)}.get(options.generation, (1, 1))
    if options.generation.is_tldraw:
        across = options.generation.page
    events = []
    for index in range(options.moves):
        time = index * options.seconds / options.moves
        hidden = index % 7 == 6  # noqa: PLR2004 - every seventh
        x, y = (-1.0, -1.0) if hidden else (random.random() * across[0], random.random() * across[1])
        events.append(f'<event timestamp="{time:.1f}"><cursor>{x:.5f} {y:.5f}</cursor></event>')
    return _root("recording", options, "", events)


def _screen_shares(options: Options) -> str:
    events = [
        f'<event start_timestamp="{begin:.1f}" stop_timestamp="{end:.1f}" video_width="1280" video_height="720"/>'
        for begin, end in share_times(options)
    ]
    return _root("recording", options, "", events)
