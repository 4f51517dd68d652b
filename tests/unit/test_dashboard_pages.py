"""The operator's documents as pages: what is shown, in which order, and that nothing in them can do harm."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import html

from b3lb.dashboard import HEADERS, node_page, overview_page, problem_page, queue_page, run_page
from tests.unit import dashboard_documents as documents

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>&\u202e\x00</style></title>"
WIDE_CHARACTERS = 1_000_000


def tree(page: str) -> html.HtmlElement:
    """Return a page as a browser would read it."""
    return html.document_fromstring(page)


def words(element: html.HtmlElement) -> str:
    """Return the text of an element, without what only machines read, on one line."""
    for svg in element.xpath(".//svg"):
        svg.drop_tree()
    return " ".join(" ".join(element.itertext()).split())


def section(page: str, name: str) -> str:
    """Return the words of a section."""
    (found,) = tree(page).xpath(f"//section[@aria-labelledby='{name}']")
    return words(found)


def test_a_small_farm_is_shown_whole() -> None:
    document = documents.overview(nodes=1, tenants=1, failing=False)
    document |= {"queues": document["queues"][:1], "runs": document["runs"][:1], "stats": document["stats"][:1]}
    document["tenants"][0] |= {"limitReached": False, "attendees": 10, "meetings": 3, "lastUsed": None, "secrets": 2}
    document["nodes"][0] |= {"load": 412.0, "cpuPercent": 20, "meetings": 12, "attendees": 171}
    document["nodes"][0]["lastGoodPollSeconds"] = 4.0
    page = overview_page(document)
    assert words(tree(page).xpath("//header")[0]) == (
        "b3lb in b3lb As of 2026-11-23 14:20:05 UTC · anew every 30 s · stop"
    )
    assert words(tree(page).xpath("//h1")[0]) == "✓ All is well"
    assert words(tree(page).xpath("//dl[@class='tiles']")[0]) == (
        "Nodes ready 1 of 1 Take meetings 1 Meetings 12 Attendees 171 room for 180 Queues up 1 of 1 "
        "Depth · active 0 · 1 Success, 24 h 100 % 0 failed Tenants 1"
    )
    assert section(page, "queues") == (
        "Queues and their workers core ✓ Up 24 h ago up: succeeded, down: failed now Depth 0 At work 1 "
        "1 hour 119 ok 0 failed 24 hours 2\u202f876 ok 0 failed".replace("\u202f", " ")
        + " Last success 6 s ago Next run in 55 s"
    )
    assert section(page, "active") == (
        "At work Task Queue For Started Attempt Pod check-nodes core 5.0 s 5 s ago 1 b3lb-core-29732420-x7k2p"
    )
    assert section(page, "tasks") == (
        "Tasks Task Queue 1 hour 24 hours p50 p95 Last Duration, 24 h check-nodes 43 140 succeeded in all core "
        "59 ok 0 failed 1 438 ok 0 failed 184 ms 410 ms 4 s ago"
    )
    assert section(page, "nodes") == (
        "Nodes Node State Load Share CPU Meetings Attendees Cluster Last answer Why "
        "bbb1 ✓ Ready 412 20 % 12 171 default 4.0 s"
    )
    assert section(page, "clusters") == (
        "Clusters Cluster State Ready Take meetings Meetings Attendees Room for Recommended nodes "
        "default ! 1 not ready 0 / 1 -1 12 200 180 1"
    ).replace("-1 ", "\u2013 ")
    assert section(page, "tenants") == (
        "Tenants Tenant State Meetings Share Attendees Share Secrets Last used "
        "UNIAB ✓ Accepted 3 / 80 10 / 500 2 \u2013"
    )


def test_what_needs_a_person_stands_first_and_leads_to_more() -> None:
    page = tree(overview_page(documents.overview(nodes=3)))
    findings = page.xpath("//ul[@class='findings']/li")
    assert [words(item) for item in findings] == [
        "✕ Problem Queue statistics is down: JobsFailing: the Job that finished last failed",
        "✕ Problem Node bbb3 is not ready: Refused (connection refused by 192.0.2.7:443)",
        "! Warning Tenant UNIAB: Limit reached",
        "! Warning Task update-statistics of queue statistics failed 2 times in the last hour",
    ]
    assert [item.xpath(".//a/@href") for item in findings] == [
        ["queues/b3lb/statistics"],
        ["nodes/b3lb/bbb3"],
        ["#tenants"],
        ["#tasks"],
    ]


def test_a_queue_that_stands_still_says_so_though_its_condition_is_good() -> None:
    document = documents.overview(failing=False)
    document["queues"][0] |= {"up": False, "ready": "True", "reason": "Scheduled", "message": "A CronJob runs it"}
    assert "Queue core is down: no run succeeded within its last three periods" in words(tree(overview_page(document)))


def test_runs_of_a_queue_that_is_gone_have_no_link_to_it() -> None:
    document = documents.overview()
    document["queues"] = [item for item in document["queues"] if item["name"] != "statistics"]
    links = tree(overview_page(document)).xpath("//section[@aria-labelledby='tasks']//td/a/@href")
    assert set(links) == {"queues/b3lb/core"}


@pytest.mark.parametrize(
    ("ping", "text"),
    [
        ({"databaseUp": False}, "The operator cannot read the database: figures are old or missing"),
        ({"leads": False}, "This operator stands by: another one leads and knows more"),
        ({"problems": ["the watch stands still"]}, "Operator: the watch stands still"),
    ],
)
def test_an_operator_that_does_not_work_is_a_finding(ping: dict[str, Any], text: str) -> None:
    document = documents.overview(failing=False, tenants=0)
    document["ping"] |= ping
    (finding,) = tree(overview_page(document)).xpath("//ul[@class='findings']/li")
    assert words(finding).endswith(text)


def test_nodes_are_listed_worst_first_and_then_by_load() -> None:
    rows = tree(overview_page(documents.overview(nodes=20))).xpath("//section[@aria-labelledby='nodes']//tbody/tr")
    states = [row.xpath("string(.//span[contains(@class, 'badge')])").split()[-1] for row in rows]
    kinds = ["bad" if state in documents.FAILURES else state for state in states]
    assert kinds == ["bad"] * 2 + ["Suspect"] + ["Ready"] * 16 + ["Cordoned"]
    loads = [int(row.xpath("string(.//td[@data-label='Load'])")) for row in rows[3:19]]
    assert loads == sorted(loads, reverse=True)


def test_a_large_farm_stays_below_a_megabyte_and_folds_what_is_well() -> None:
    page = overview_page(documents.overview(nodes=500, tenants=50))
    assert len(page.encode()) < WIDE_CHARACTERS
    shown = tree(page).xpath("//section[@aria-labelledby='nodes']/div//tbody/tr")
    folded = tree(page).xpath("//section[@aria-labelledby='nodes']/details//tbody/tr")
    assert (len(shown), len(folded)) == (20, 480)
    assert len(tree(page).xpath("//section[@aria-labelledby='tenants']//tbody/tr")) == 50
    # However many nodes fail, a reason is one line.
    assert len(tree(page).xpath("//ul[@class='findings']/li")) < 15


def hostile(value: Any) -> Any:
    """Return a document whose texts, but for times and states, are an attack."""
    if isinstance(value, dict):
        return {
            key: item if key in {"ready", "accepted"} or "At" in key else hostile(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def pages(document: dict[str, Any], run: dict[str, Any], namespace: str, names: tuple[str, str]) -> list[str]:
    """Return every page that there is of a document."""
    queue = queue_page(document, {"items": document["runs"]}, namespace=namespace, name=names[0])
    node = node_page(document, namespace=namespace, name=names[1])
    assert queue is not None
    assert node is not None
    return [
        overview_page(document),
        queue,
        node,
        run_page(run, now=documents.NOW),
        problem_page(503, HOSTILE, root="./", refresh=True),
    ]


def test_hostile_texts_are_texts_on_every_page() -> None:
    document = hostile(documents.overview(nodes=30))
    run = {**document["runs"][0], "arguments": {HOSTILE: HOSTILE}, "result": HOSTILE, "traceback": HOSTILE}
    for page in pages(document, run, HOSTILE, (HOSTILE, HOSTILE)):
        seen = tree(page)
        assert not seen.xpath("//script | //img | //iframe | //object | //form | //*[@onerror]")
        assert len(seen.xpath("//style")) == len(seen.xpath("//title[not(ancestor::svg)]")) == 1
        assert "\u202e" not in page
        assert "\x00" not in page
        assert all(not link.startswith(("javascript:", "http", "//")) for link in seen.xpath("//@href"))


def test_every_page_is_one_file_with_the_style_that_its_headers_allow() -> None:
    document = documents.overview()
    policy = HEADERS["Content-Security-Policy"]
    for page in pages(document, document["runs"][0], "b3lb", ("core", "bbb1")):
        (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy
        assert not tree(page).xpath("//@style | //@src")
        assert not re.search(r"url\(|@import", style)
        assert page.startswith('<!doctype html>\n<html lang="en">')
    assert policy.startswith("default-src 'none'; ")
    assert "script-src" not in policy


def test_the_page_can_be_heard_and_read_without_colours() -> None:
    seen = tree(overview_page(documents.overview(nodes=40)))
    assert all(chart.xpath("string(title)") for chart in seen.xpath("//svg[@role='img']"))
    assert seen.xpath("//svg[@role='img']")
    assert all(chart.get("aria-hidden") == "true" for chart in seen.xpath("//svg[not(@role)]"))
    assert all(
        badge.xpath("string(span)") and len(words(badge).split()) > 1
        for badge in seen.xpath("//span[contains(@class, 'badge')]")
    )
    assert all(cell.get("scope") in {"col", "row"} for cell in seen.xpath("//th"))
    identifiers = seen.xpath("//@id")
    assert len(identifiers) == len(set(identifiers))
    assert {link[1:] for link in seen.xpath("//@href") if link.startswith("#")} <= set(identifiers)


def luminance(colour: str) -> float:
    """Return the relative luminance (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_texts_have_the_contrast_that_wcag_asks_for_in_light_and_in_dark() -> None:
    style = overview_page({}).split("<style>")[1].split("</style>")[0]
    light, dark = (
        {*re.findall(r"--([\w-]+): (#\w{6})", block)} for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    )
    for colours in (dict(light), dict(dark)):
        pairs = [(name, ground) for name in ("text", "quiet", "link") for ground in ("page", "surface")]
        pairs += [(name, f"{name}-soft") for name in ("good", "bad", "warning", "unknown", "busy", "idle")]
        pairs.append(("bad", "surface"))
        for name, ground in pairs:
            bright, faint = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (bright + 0.05) / (faint + 0.05) >= 4.5, (name, ground)


def test_a_queue_has_a_page_of_its_own() -> None:
    document = documents.overview()
    page = queue_page(document, {"items": document["runs"]}, namespace="b3lb", name="statistics")
    assert page is not None
    assert words(tree(page).xpath("//h1")[0]) == "statistics ✕ Down"
    facts = words(tree(page).xpath("//dl")[0])
    assert "Depth 4 (1 waiting, 3 missed) Oldest waiting 20 min" in facts
    assert "Schedule */5 * * * * Etc/UTC" in facts
    assert "check-nodes" not in section(page, "tasks")
    assert queue_page(document, {}, namespace="b3lb", name="other") is None
    assert queue_page(document, {}, namespace="elsewhere", name="core") is None


def test_a_node_s_page_says_what_its_reason_means() -> None:
    page = node_page(documents.overview(), namespace="b3lb", name="bbb3")
    assert page is not None
    assert words(tree(page).xpath("//dl[@class='meanings']")[0]) == "Refused Nothing listens there."
    assert node_page(documents.overview(), namespace="b3lb", name="bbb4") is None


def test_a_run_s_page_has_arguments_result_and_traceback() -> None:
    run = documents.run(1, "reports", "render-report", state="FAILURE", error="PermanentError: no paper", seconds=3.0)
    run |= {"arguments": {"month": "2026-10"}, "result": {"pages": 3}, "traceback": "Traceback\n  File x\nno paper"}
    page = run_page(run, now=documents.NOW)
    assert [block.text for block in tree(page).xpath("//pre")] == [
        '{\n  "month": "2026-10"\n}',
        '{\n  "pages": 3\n}',
        "Traceback\n  File x\nno paper",
    ]
    assert words(tree(page).xpath("//p[@class='error']")[0]) == "PermanentError: no paper"
    assert not tree(page).xpath("//meta[@http-equiv]")
    running = {**run, "state": "STARTED", "finishedAt": None}
    assert tree(run_page(running, now=documents.NOW)).xpath("//meta[@http-equiv]/@content") == ["30"]


def test_a_page_is_loaded_anew_until_the_reader_stops_it() -> None:
    document = documents.overview()
    assert tree(overview_page(document)).xpath("//meta[@http-equiv='refresh']/@content") == ["30"]
    assert not tree(overview_page(document, refresh=False)).xpath("//meta[@http-equiv]")


def test_names_of_several_namespaces_are_told_apart() -> None:
    document = documents.overview()
    document["ping"]["namespaces"] = ["b3lb", "other"]
    document["nodes"].append({**document["nodes"][0], "namespace": "other"})
    assert "other/ bbb1" in section(overview_page(document), "nodes")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_TEXT_FIELDS = ("namespace", "name", "queue", "task", "state", "ready", "error", "lastSuccess", "startedAt")
_OTHER_FIELDS = ("load", "meetings", "tasks", "depth", "up", "buckets", "p50Seconds", "failed1h", "attendeeLimit")
_ITEM = st.fixed_dictionaries({}, optional=dict.fromkeys(_TEXT_FIELDS + _OTHER_FIELDS, _JSON))
_PARTS = ("queues", "active", "runs", "stats", "nodes", "clusters", "tenants", "history")


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {}, optional={part: st.lists(_ITEM, max_size=2) | _JSON for part in _PARTS} | {"ping": _JSON, "asOf": _JSON}
    )
)
def test_a_document_of_another_version_costs_what_is_not_understood_only(document: dict[str, Any]) -> None:
    assert "</html>" in overview_page(document)
    assert "</html>" in run_page(document, now=documents.NOW)


def test_recordings_stand_with_what_failed_first_and_how_far_the_others_are() -> None:
    document = documents.overview(failing=False)
    rendering = documents.recording("RENDERING", progressPercent=41.6)
    failed = documents.recording("FAILED", reason="OutOfMemory", message="twice", legalHold=True)
    document["recordings"] = [documents.recording("RENDERED"), rendering, failed, documents.recording("UPLOADED")]
    page = overview_page(document)
    rows = [words(row) for row in tree(page).xpath("//section[@aria-labelledby='recordings']//tbody/tr")]
    assert [row.split(" ", 2)[1] for row in rows] == ["failed", "rendering", "uploaded", "rendered"]
    assert "Failed T001 1 / 2 3.29 GiB 1 20 min ago legal hold OutOfMemory: twice" in rows[0]
    assert "Rendering 42 %" in rows[1]
    assert "1 recording was not rendered: OutOfMemory: twice" in words(tree(page).xpath("//ul[@class='findings']")[0])


def test_a_farm_without_recordings_has_no_section_of_them() -> None:
    document = documents.overview(failing=False)
    document["recordings"] = []
    assert not tree(overview_page(document)).xpath("//*[@id='recordings']")


@pytest.mark.parametrize(
    ("state", "more", "word"),
    [
        ("UPLOADED", {"paused": True}, "Paused"),
        ("UPLOADED", {}, "Waiting"),
        ("NEW\x00", {}, "New"),
        (None, {}, "Unknown"),
    ],
)
def test_a_recording_in_any_state_has_a_word(state: str | None, more: dict[str, Any], word: str) -> None:
    document = documents.overview(failing=False)
    document["recordings"] = [documents.recording(state, **more)]
    assert word in section(overview_page(document), "recordings")
