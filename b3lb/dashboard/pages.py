"""Documents in, HTML out. Every page is one file: style and charts are in it, scripts and other addresses are not."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from b3lb.dashboard import formats
from b3lb.dashboard.documents import Document, items, line, moment
from b3lb.dashboard.levels import Badge, Level, folded
from b3lb.dashboard.links import node_link, queue_link, run_link
from b3lb.dashboard.overview import Overview, active_of, find_node, find_queue, overview, tasks_of
from b3lb.dashboard.runs import newest_first, run, whole_run

REFRESH_SECONDS = 30
"""A page is loaded anew so often, unless the reader has stopped it."""

_MESSAGE_CHARACTERS = 500


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("b3lb.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ago": formats.ago,
        "instant": formats.instant,
        "machine_time": formats.machine_time,
        "span": formats.span,
        "stored": formats.stored,
        "whole": formats.whole,
    }
    made.globals |= {
        "Badge": Badge,
        "Level": Level,
        "node_link": node_link,
        "queue_link": queue_link,
        "run_link": run_link,
        "share": formats.share,
    }
    return made


_TEMPLATES = _environment()
_STYLE = (files("b3lb.dashboard") / "templates" / "style.css").read_text(encoding="utf-8").strip()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)
"""Headers of every answer: nothing is kept, nothing is loaded from elsewhere, nothing runs, nobody frames it
(https://www.w3.org/TR/CSP3/)."""


def overview_page(document: Document, *, refresh: bool = True) -> str:
    """Return the first page, for a document of ``/control/v1/overview``."""
    seen = overview(document)
    return _page("overview.html", title="Overview", root="./", refresh=refresh, seen=seen)


def queue_page(document: Document, runs: Document, *, namespace: str, name: str, refresh: bool = True) -> str | None:
    """Return a queue's page for an overview and a ``TaskRunList`` of its runs, None if there is no such queue."""
    found = find_queue(document, namespace, name)
    if found is None:
        return None
    listed = newest_first(run(item) for item in items(runs))
    return _page(
        "queue.html",
        title=f"Queue {found.name}",
        root="../../",
        refresh=refresh,
        seen=overview(document),
        queue=found,
        tasks=tasks_of(document, found),
        active=folded(active_of(document, found)),
        runs=folded(listed, 30),
    )


def node_page(document: Document, *, namespace: str, name: str, refresh: bool = True) -> str | None:
    """Return a node's page for an overview, None if there is no such node."""
    found = find_node(document, namespace, name)
    if found is None:
        return None
    return _page(
        "node.html",
        title=f"Node {found.name}",
        root="../../",
        refresh=refresh,
        seen=overview(document),
        node=found,
    )


def run_page(document: Document, *, now: datetime, refresh: bool = True) -> str:
    """Return the page of a run, for a document of ``/control/v1/runs/ID``; one that is over is not loaded anew."""
    found = whole_run(document)
    return _page(
        "run.html",
        title=f"Run of {found.run.task}",
        root="../",
        refresh=refresh and found.run.finished_at is None,
        refreshable=found.run.finished_at is None,
        as_of=moment(document, "asOf") or now,
        run=found,
    )


def problem_page(status: int, message: str, *, root: str, refresh: bool = False) -> str:
    """Return a page that says why there is no other one; ``root`` leads back to the first page."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Problem"
    return _page(
        "problem.html",
        title=title,
        root=root,
        refresh=refresh,
        refreshable=refresh,
        as_of=None,
        message=line(message, _MESSAGE_CHARACTERS),
    )


def _page(name: str, *, seen: Overview | None = None, **values: Any) -> str:
    values.setdefault("refreshable", True)
    if seen is not None:
        values.setdefault("as_of", seen.as_of)
    return _TEMPLATES.get_template(name).render(
        # The style sheet is the package's own, and its hash holds only for the text as it is.
        style=Markup(_STYLE),  # noqa: S704 - a constant of this package
        refresh_seconds=REFRESH_SECONDS,
        seen=seen,
        **values,
    )
