"""The end points for Kubernetes' probes."""

from __future__ import annotations

import aiohttp
import pytest

from b3lb_operator.http import application, serve
from dev.processes import free_ports


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        assert answer.content_type == "text/plain"
        return answer.status, await answer.text()


async def no_metrics() -> bytes:
    return b"b3lb_build_info 1.0\n"


async def test_each_end_point_says_what_fails_in_plain_text() -> None:
    problems: dict[str, str | None] = {"loop": None, "database": None}
    live, database = (lambda: problems["loop"]), (lambda: problems["database"])
    async with serve(
        application(live=[live], ready=[live, database], metrics=no_metrics), address="127.0.0.1", port=0
    ) as port:
        assert await ask(port, "/livez") == (200, "ok\n")
        assert await ask(port, "/readyz") == (200, "ok\n")
        problems["database"] = "the database is away"
        assert await ask(port, "/livez") == (200, "ok\n")
        assert await ask(port, "/readyz") == (503, "the database is away\n")
        problems["loop"] = "the event loop is 6.0 s late"
        assert await ask(port, "/livez") == (503, "the event loop is 6.0 s late\n")
        assert await ask(port, "/readyz") == (503, "the event loop is 6.0 s late\nthe database is away\n")


async def test_other_paths_are_not_found() -> None:
    async with serve(application(live=[], ready=[], metrics=no_metrics), address="127.0.0.1", port=0) as port:
        assert (await ask(port, "/metric"))[0] == 404


async def test_the_metrics_are_in_the_text_format_that_prometheus_knows() -> None:
    async with (
        serve(application(live=[], ready=[], metrics=no_metrics), address="127.0.0.1", port=0) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.text() == "b3lb_build_info 1.0\n"


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with serve(application(live=[], ready=[], metrics=no_metrics), address="127.0.0.1", port=0) as port:
        with pytest.raises(OSError, match="address already in use"):
            async with serve(application(live=[], ready=[], metrics=no_metrics), address="127.0.0.1", port=port):
                pass


async def test_an_empty_address_answers_at_loopback_too_where_port_forward_comes_from() -> None:
    # With port 0 each family of addresses would get a port of its own.
    async with serve(application(live=[], ready=[], metrics=no_metrics), address="", port=free_ports(1)[0]) as port:
        assert await ask(port, "/readyz") == (200, "ok\n")
