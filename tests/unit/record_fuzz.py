"""What hostile recordings are made of: values, documents and archives that no program of BBB writes."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from hypothesis import strategies as st

NUMBERS = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "0.1",
        "-0.0",
        "5",
        "1e7",
        "-1e7",
        "1e308",
        "1e-300",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "9" * 400,
        "",
        " ",
        "1,5",
        "0x10",
        "1_000",
        "\u0661",
        "None",
        "true",
        "1e",
        "+",
        "12px",
        "100%",
    ]
)
_PATHS = st.text("MLHVCQAZmlz0123456789.,-+eE \t\n\u00b2x", max_size=60)
_HREFS = st.sampled_from(
    [
        "presentation/deskshare.png",
        "presentation/p/slide-1.png",
        "presentation/../../etc/passwd",
        "/etc/passwd",
        "",
        "file:///etc/passwd",
        "presentation/%2e%2e/x.png",
        "presentation/a.svg?x",
        "presentation/a\u0000.png",
    ]
)
_STYLES = st.sampled_from(
    [
        "stroke:#ff0000;stroke-width:1e9;fill:none",
        "color:#0088ffstroke-width:5px",
        "stroke-width:nan;opacity:inf",
        "font-size:1e99px",
        "stroke:url(#a);fill:rgb(999,1,1)",
        ":::;;;",
        "visibility:hidden",
        "font-size:0",
    ]
)
_NAMES = [
    "id",
    "in",
    "out",
    "timestamp",
    "undo",
    "shape",
    "style",
    "width",
    "height",
    "x",
    "y",
    "x1",
    "y1",
    "x2",
    "y2",
    "cx",
    "cy",
    "r",
    "rx",
    "ry",
    "d",
    "points",
    "image",
    "xlink:href",
    "class",
    "start_timestamp",
    "stop_timestamp",
    "tldraw",
    "fill",
    "stroke",
]
_TAGS = [
    "image",
    "g",
    "path",
    "line",
    "circle",
    "ellipse",
    "rect",
    "polyline",
    "polygon",
    "switch",
    "foreignObject",
    "p",
    "br",
    "event",
    "viewBox",
    "cursor",
    "meeting",
    "meta",
    "playback",
    "duration",
    "id",
    "unknown",
]
_IDENTITIES = st.sampled_from(["image1", "image2", "canvas1", "image99999999999", "imageX", ""])
VALUES = st.one_of(NUMBERS, NUMBERS, _PATHS, _HREFS, _STYLES, _IDENTITIES, st.sampled_from(["true", "slide", "canvas"]))
TEXTS = st.one_of(NUMBERS, st.sampled_from(["0 0 1 1", "nan nan 1 1", "1 1 0 0", "-1.0 -1.0", "1e7 1e7"]), st.text())


def _plain(text: str) -> str:
    """Leave out what XML cannot hold."""
    return "".join(letter for letter in text if letter >= " " and letter not in "<&\ufffe\uffff\ud800")


def _element(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    attributes = st.dictionaries(st.sampled_from(_NAMES), VALUES, max_size=8)
    return st.builds(
        lambda tag, known, inner, text: (
            f"<{tag} {' '.join(f'{name}={quoteattr(_plain(value))}' for name, value in known.items())}>"
            f"{_plain(text)}{''.join(inner)}</{tag}>"
        ),
        st.sampled_from(_TAGS),
        attributes,
        st.lists(children, max_size=3),
        TEXTS,
    )


_LEAF = _element(st.just(""))
ELEMENTS = _element(_element(_LEAF))
_SLIDE = st.builds(
    lambda begin, end, size, href: (
        f'<image id="image1" in={quoteattr(_plain(begin))} out={quoteattr(_plain(end))} width="{size}" height="{size}" '
        f"xlink:href={quoteattr(_plain(href))}/>"
    ),
    NUMBERS,
    NUMBERS,
    st.sampled_from(["1", "1600", "1e7", "1e-7", "0", "nan"]),
    _HREFS,
)
_SHAPES = st.builds(
    lambda inner, style, begin, undo: (
        f'<g class="canvas" image="image1"><g class="shape" id="a" shape="b" timestamp={quoteattr(_plain(begin))} '
        f'undo={quoteattr(_plain(undo))} style="{style}">{inner}</g></g>'
    ),
    ELEMENTS,
    _STYLES,
    NUMBERS,
    NUMBERS,
)


def document(root: str, children: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Return documents with this root."""
    start = f'<{root} tldraw="true" xmlns:xlink="x">'
    return st.lists(children, max_size=6).map(lambda inner: f"{start}{''.join(inner)}</{root}>".encode())


SHAPES = document("svg", st.one_of(_SLIDE, _SHAPES, ELEMENTS))
EVENTS = document("recording", ELEMENTS)

_JSON_NUMBERS = st.one_of(
    st.floats(), st.integers(-3, 3), st.sampled_from([1e7, -1e7, 1e308, 10**400, -0.0, 1e-300, 0.5])
)
_FIELDS = [
    "point",
    "points",
    "size",
    "radius",
    "rotation",
    "style",
    "label",
    "text",
    "handles",
    "start",
    "end",
    "bend",
    "decorations",
    "props",
    "w",
    "h",
    "growY",
    "geo",
    "segments",
    "x",
    "y",
    "z",
    "type",
    "boundShapeId",
    "answers",
    "normalizedAnchor",
    "parentId",
    "id",
    "key",
    "numVotes",
    "questionText",
    "richText",
    "content",
    "font",
    "color",
    "fill",
    "dash",
    "opacity",
    "scale",
    "align",
    "autoSize",
    "spline",
    "index",
    "arrowheadEnd",
    "isClosed",
]
_WORDS = st.sampled_from(
    [
        "rectangle",
        "ellipse",
        "triangle",
        "draw",
        "line",
        "arrow",
        "text",
        "sticky",
        "group",
        "poll",
        "geo",
        "highlight",
        "note",
        "frame",
        "star",
        "cloud",
        "free",
        "straight",
        "dashed",
        "dotted",
        "solid",
        "shape:1",
        "cubic",
        "m",
        "\ud800",
        "\u0000",
        "a" * 300,
        "\u4e2d\u6587",
        "",
        "binding",
        "doc",
        "paragraph",
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), _JSON_NUMBERS, _WORDS),
    lambda children: st.one_of(
        st.lists(children, max_size=4), st.dictionaries(st.sampled_from(_FIELDS), children, max_size=8)
    ),
    max_leaves=25,
)
_POINTS = st.one_of(
    st.lists(_JSON_NUMBERS, max_size=3), st.fixed_dictionaries({"x": _JSON_NUMBERS, "y": _JSON_NUMBERS})
)
_SHAPE_FIELDS = {
    "type": _WORDS,
    "point": _POINTS,
    "size": _POINTS,
    "radius": _POINTS,
    "points": st.lists(_POINTS, max_size=4),
    "rotation": _JSON_NUMBERS,
    "x": _JSON_NUMBERS,
    "y": _JSON_NUMBERS,
    "parentId": st.sampled_from(["shape:1", "shape:2", "page:1"]),
    "text": _WORDS,
    "label": _WORDS,
    "handles": st.dictionaries(
        st.sampled_from(["start", "end", "bend"]), st.fixed_dictionaries({"point": _POINTS}) | _POINTS, max_size=3
    ),
    "answers": st.lists(st.fixed_dictionaries({"key": _WORDS, "numVotes": _JSON_NUMBERS}), max_size=3),
    "props": st.fixed_dictionaries(
        {},
        optional={
            "w": _JSON_NUMBERS,
            "h": _JSON_NUMBERS,
            "growY": _JSON_NUMBERS,
            "geo": _WORDS,
            "text": _WORDS,
            "richText": JSON,
            "start": _POINTS | JSON,
            "end": _POINTS | JSON,
            "bend": _JSON_NUMBERS,
            "segments": st.lists(
                st.fixed_dictionaries({"type": _WORDS, "points": st.lists(_POINTS, max_size=4)}), max_size=2
            ),
            "handles": st.dictionaries(_WORDS, _POINTS, max_size=3),
            "dash": _WORDS,
            "size": _WORDS,
            "scale": _JSON_NUMBERS,
        },
    ),
}
SHAPE = st.fixed_dictionaries({}, optional=_SHAPE_FIELDS) | JSON
_ENTRY = st.fixed_dictionaries(
    {"shape_data": SHAPE, "id": st.sampled_from(["shape:1", "shape:2"])},
    optional={"timestamp": _JSON_NUMBERS | st.just(0.5), "undo": _JSON_NUMBERS | st.just(-1)},
)
TLDRAW = st.fixed_dictionaries(
    {"bbb_version": st.sampled_from(["2.6.0", "2.7.1", "3.0.4", None, "x", "99999.1"])},
    optional={"1": st.fixed_dictionaries({"shapes": st.lists(_ENTRY | JSON, max_size=4)}) | JSON, "x": JSON},
)
