"""Drawings as BBB from 2.6 on puts them into tldraw.json."""

from __future__ import annotations

from random import Random
from typing import Any

from dev.recordings.options import Generation, Options, SlideTime

_KINDS_1 = ("draw", "rectangle", "ellipse", "triangle", "line", "arrow", "text", "sticky", "group", "poll")
_GEOS = ("rectangle", "ellipse", "triangle", "diamond", "star", "cloud", "arrow-right", "x-box", "check-box", "oval")
_KINDS_2 = ("geo", "draw", "highlight", "line", "arrow", "text", "note", "frame", "poll", "geo")
_COLOURS = ("black", "red", "blue", "green")
_ANSWERS = [{"id": 0, "key": "Yes", "numVotes": 3}, {"id": 1, "key": "No", "numVotes": 1}]

Json = dict[str, Any]


def pages(options: Options, times: list[SlideTime]) -> Json:
    """Return the document: every shape of the generation, a fifth of them undone, draws in three versions."""
    random = Random(options.seed)
    document: Json = {"bbb_version": options.generation.value}
    shown = [time for time in times if time.page is not None]
    for time in shown:
        document[str(time.number)] = {"shapes": [], "timestamp": time.begin}
    for index in range(options.shapes):
        time = shown[index * len(shown) // max(options.shapes, 1)]
        begin = round(random.uniform(time.begin, time.end), 1)
        undo = round(random.uniform(begin, time.end), 1) if index % 5 == 4 else -1  # noqa: PLR2004 - every fifth
        width, height = options.generation.page
        place = (random.uniform(0.2, 0.5) * width, random.uniform(0.2, 0.5) * height)
        make = _version_2 if options.generation is Generation.V3_0 else _version_1
        kind = (_KINDS_2 if make is _version_2 else _KINDS_1)[index % 10]
        for version in range(3 if kind == "draw" else 1):
            data = make(kind, f"shape:{index}", place, version=version, random=random)
            entry = {"id": data["id"], "timestamp": begin + version / 10, "undo": undo, "shape_data": data}
            document[str(time.number)]["shapes"].append(entry)
    return document


def _points(version: int) -> list[list[float]]:
    return [[8.0 * n, (n % 3) * 12.0, 0.5] for n in range(6 * (version + 1))]


def _version_1(kind: str, name: str, place: tuple[float, float], *, version: int, random: Random) -> Json:
    size = random.choice(("small", "medium", "large"))
    style = {
        "color": random.choice(_COLOURS),
        "size": size,
        "isFilled": random.choice((True, False)),
        "dash": "draw",
        "scale": 1,
    }
    shape: Json = {"id": name, "type": kind, "point": list(place), "rotation": 0, "style": style, "parentId": "1"}
    fields: dict[str, Json] = {
        "draw": {"points": _points(version), "isComplete": True},
        "rectangle": {"size": [200, 120], "label": "a label"},
        "ellipse": {"radius": [100, 60]},
        "triangle": {"size": [200, 120], "rotation": 0.5},
        "line": {"handles": {"start": {"point": [0, 0]}, "end": {"point": [150, 90]}, "bend": {"point": [75, 45]}}},
        "arrow": {
            "handles": {"start": {"point": [0, 0]}, "end": {"point": [150, 0]}, "bend": {"point": [75, 40]}},
            "decorations": {"end": "arrow"},
        },
        "text": {"text": "Some text\nsecond line"},
        "sticky": {"text": "A note", "size": [200, 200]},
        "group": {"children": [], "size": [10, 10]},
        "poll": {"size": [300, 200], "questionText": "Well?", "answers": _ANSWERS},
    }
    return shape | fields[kind]


def _version_2(kind: str, name: str, place: tuple[float, float], *, version: int, random: Random) -> Json:
    common: Json = {"color": random.choice(_COLOURS), "size": random.choice("sml"), "dash": "draw", "fill": "solid"}
    points = [{"x": x, "y": y, "z": z} for x, y, z in _points(version)]
    segments = [{"type": "free", "points": points}]
    fields: dict[str, Json] = {
        "geo": {"geo": random.choice(_GEOS), "w": 200, "h": 120, "text": "a label", "growY": 0},
        "draw": {"segments": segments, "isClosed": False, "isComplete": True},
        "highlight": {"segments": segments},
        "line": {
            "handles": {
                "start": {"id": "start", "index": "a1", "x": 0, "y": 0},
                "end": {"id": "end", "index": "a2", "x": 120, "y": 60},
            },
            "spline": "line",
        },
        "arrow": {
            "start": {"type": "point", "x": 0, "y": 0},
            "end": {"type": "point", "x": 160, "y": 0},
            "bend": 30,
            "arrowheadEnd": "arrow",
            "arrowheadStart": "none",
            "text": "",
        },
        "text": {"text": "Some text", "w": 200, "autoSize": True, "scale": 1},
        "note": {"text": "A note", "growY": 0},
        "frame": {"w": 300, "h": 200, "name": ""},
        "poll": {"w": 300, "h": 200, "questionText": "Well?", "answers": _ANSWERS},
    }
    return {
        "id": name,
        "typeName": "shape",
        "type": kind,
        "x": place[0],
        "y": place[1],
        "rotation": 0,
        "opacity": 1,
        "parentId": "page:1",
        "index": "a1",
        "isModerator": True,
        "props": common | fields[kind],
    }
