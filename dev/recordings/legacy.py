"""Drawings as BBB up to 2.5 puts them into shapes.svg."""

from __future__ import annotations

from random import Random

from dev.recordings.options import Generation, Options, SlideTime

_COLOURS = ("#ff0000", "#0000ff", "#00aa00", "#0088ff", "#000000")
_KINDS = ("pencil", "line", "rectangle", "ellipse", "triangle", "text", "point", "poll_result")


def canvases(options: Options, times: list[SlideTime]) -> dict[int, list[str]]:
    """Return the elements of each picture's canvas: about a third of the shapes grows in three versions."""
    random = Random(options.seed)
    shown = [time for time in times if time.page is not None]
    drawn: dict[int, list[str]] = {time.number: [] for time in shown}
    for index in range(options.shapes):
        time = shown[index * len(shown) // max(options.shapes, 1)]
        kind = _KINDS[index % len(_KINDS)]
        begin = round(random.uniform(time.begin, time.end), 1)
        undo = round(random.uniform(begin, time.end), 1) if index % 5 == 4 else -1  # noqa: PLR2004 - every fifth
        versions = 3 if kind == "pencil" else 1
        place = (random.uniform(0.2, 0.6) * options.width, random.uniform(0.2, 0.6) * options.height)
        colour = random.choice(_COLOURS)
        for version in range(versions):
            number = len(drawn[time.number]) + 1
            at = min(begin + version / 10, time.end)
            drawn[time.number].append(
                f'<g id="image{time.number}-draw{number}" class="shape" timestamp="{at:.1f}" undo="{undo}" '
                f'shape="image{time.number}-{kind}{index}" style="{_style(kind, colour, options)}">'
                f"{_content(kind, place, version + 1, options)}</g>"
            )
    return drawn


def _style(kind: str, colour: str, options: Options) -> str:
    if kind == "text":
        # Older servers forget a semicolon.
        junk = "" if options.generation is Generation.V2_5 else "stroke-width:5px"
        return f"color:{colour}{junk};word-wrap:break-word;visibility:hidden;font-family:Arial;font-size:30px"
    if kind == "poll_result":
        return "visibility:hidden"
    return f"stroke:{colour};stroke-width:6;visibility:hidden;fill:none;stroke-linejoin:miter"


def _content(kind: str, place: tuple[float, float], version: int, options: Options) -> str:
    x, y = place
    side = options.width / 16 * version
    box = f'width="{side * 3:.2f}" height="{side:.2f}" x="{x:.2f}" y="{y:.2f}"'
    half = f"A{side:.2f} {side / 2:.2f} 0 0 1"
    curves = "".join(f" Q{x + side * n:.2f},{y + 40:.2f} {x + side * (n + 1):.2f},{y:.2f}" for n in range(2))
    corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
    return {
        "pencil": f'<path d="M{x:.2f} {y:.2f}{curves}"/>',
        "line": f'<line x1="{x:.2f}" y1="{y:.2f}" x2="{x + side:.2f}" y2="{y + side:.2f}"/>',
        "rectangle": _polygon(corners),
        "ellipse": f'<path d="M{x:.2f} {y:.2f} {half} {x + 2 * side:.2f} {y:.2f} {half} {x:.2f} {y:.2f} Z"/>',
        "triangle": _polygon([(x, y), (x + side, y + side), (x - side, y + side)]),
        "point": f'<circle cx="{x:.2f}" cy="{y:.2f}" r="4"/>',
        "text": f"<switch><foreignObject {box}>"
        '<p xmlns="http://www.w3.org/1999/xhtml" style="margin:0;padding:0">Text &amp; more<br/>second line</p>'
        "</foreignObject></switch>",
        "poll_result": f'<image {box} xlink:href="presentation/first/poll_result1.svg"/>',
    }[kind]


def _polygon(corners: list[tuple[float, float]]) -> str:
    return f'<path d="M{" L".join(f"{x:.2f} {y:.2f}" for x, y in corners)} Z"/>'
