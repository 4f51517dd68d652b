"""The pages in a real browser, headless Chromium: what it says of them, and how they look."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp.test_utils import TestServer

from b3lb.dashboard.site import site
from dev.browser import Browser, View, open_browser
from dev.debian import debian_program
from dev.toolchain import ToolchainError
from tests.unit import dashboard_documents as documents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PNG = b"\x89PNG\r\n\x1a\n"
RUN = documents.run(3, "core", "check-nodes", state="FAILURE", error="TransientError: away", seconds=1.0)


@pytest.fixture(scope="module")
def chromium() -> Path:
    """Chromium; without it a test is skipped, unless it must not be. The first time, root installs it."""
    try:
        return debian_program("chromium", "chromium")
    except ToolchainError as error:
        if os.environ.get("B3LB_REQUIRE_CLUSTER"):
            raise
        pytest.skip(f"no browser: {error}")


@asynccontextmanager
async def farm(document: dict[str, Any]) -> AsyncIterator[str]:
    """Serve the pages of a farm and yield their address."""

    async def ask(path: str, _query: Mapping[str, str]) -> dict[str, Any]:
        if path.startswith("/runs/"):
            return RUN | {"arguments": {"month": "2026-10"}, "traceback": "Traceback (most recent call last):\n  away"}
        return {"items": document["runs"]} if path == "/runs" else document

    async with TestServer(site(ask, lambda _: None)) as server:
        yield str(server.make_url("/"))


_MEASURE = """({
    width: document.documentElement.scrollWidth,
    background: getComputedStyle(document.body).backgroundColor,
    rows: document.querySelectorAll("tbody tr").length,
    heading: document.querySelector("h1").innerText,
    links: [...document.querySelectorAll("a")].map(link => link.href),
})"""


async def look(browser: Browser, url: str, view: View, picture: Path) -> dict[str, Any]:
    """Open a page, keep its picture, and return what is measured of it; it must not complain nor ask elsewhere."""
    async with browser.visit(url, view) as visit:
        assert visit.status == 200
        assert visit.messages == []
        assert [found for found in visit.requests if urlsplit(found).scheme != "data"] == [url]
        assert visit.picture.startswith(PNG)
        await asyncio.to_thread(picture.write_bytes, visit.picture)
        measured: dict[str, Any] = await visit.value(_MEASURE)
        assert measured["width"] <= view.width, "the page is wider than the window"
        return measured


async def test_pages_load_without_complaints_scripts_or_requests_elsewhere(chromium: Path, tmp_path: Path) -> None:
    """In light, dark and on a phone, with and without JavaScript, for a small and a large farm; links lead on."""
    assert chromium
    few, many = documents.overview(nodes=3), documents.overview(nodes=300, tenants=50)
    async with open_browser(tmp_path / "browser") as browser, farm(few) as small, farm(many) as large:
        light = await look(browser, small, View(), tmp_path / "light.png")
        assert light["heading"] == "✕ 2 problems"
        dark = await look(browser, small, View(dark=True, scripts=False), tmp_path / "dark.png")
        assert light.pop("background") != dark.pop("background")
        assert light == dark
        phone = View(width=390, height=844, scripts=False, whole=False)
        crowded = await look(browser, large, phone, tmp_path / "phone.png")
        assert crowded["rows"] > 300 + 50
        for kind in ("queues", "nodes", "runs"):
            link = next(found for found in light["links"] if found.startswith(f"{small}{kind}/"))
            further = await look(browser, link, View(width=800), tmp_path / f"{kind}.png")
            assert small in further["links"]
