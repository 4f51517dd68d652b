"""Probes: what a container's spec means, when tries count, and the tries themselves."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dev.kubelet import prober as module
from dev.kubelet.actions import ActionError, Target, named_ports, perform, port_number, probe_url
from dev.kubelet.api import Manifest
from dev.kubelet.containers import Plan
from dev.kubelet.prober import Prober
from dev.kubelet.probes import Probe, ProbeKind, Verdict, container_probe
from dev.kubelet.statuses import ContainerRecord


def target(root: Path, **ports: int) -> Target:
    plan = Plan(
        name="main",
        command=["true"],
        environment={"PATH": "/usr/bin:/bin", "WHO": "probe"},
        working_directory=str(root),
        pod_root=root,
        mounts=[],
        hostname="p",
        private_mounts=False,
        termination_log=root / "internal" / "main.termination-log",
        log_fallback=False,
        stop_signal=signal.SIGTERM,
    )
    (root / "internal").mkdir()
    return Target(plan=plan, address="127.0.0.1", ports=ports)


def test_a_probe_has_the_defaults_of_kubernetes() -> None:
    action = {"tcpSocket": {"port": 80}}
    assert container_probe({"livenessProbe": action}, ProbeKind.LIVENESS) == Probe(
        kind=ProbeKind.LIVENESS,
        action=action,
        initial_delay=0,
        period=10,
        timeout=1,
        success_threshold=1,
        failure_threshold=3,
        grace=None,
    )
    assert container_probe({"livenessProbe": action}, ProbeKind.READINESS) is None


def test_a_probe_has_what_the_spec_says() -> None:
    spec = {
        "exec": {"command": ["true"]},
        "initialDelaySeconds": 1,
        "periodSeconds": 2,
        "timeoutSeconds": 3,
        "successThreshold": 4,
        "failureThreshold": 5,
        "terminationGracePeriodSeconds": 6,
    }
    probe = container_probe({"startupProbe": spec}, ProbeKind.STARTUP)
    assert probe == Probe(ProbeKind.STARTUP, spec, 1, 2, 3, 4, 5, 6)


def test_a_verdict_needs_as_many_tries_in_a_row_as_the_threshold_says() -> None:
    verdict = Verdict(Probe(ProbeKind.READINESS, {}, success_threshold=2, failure_threshold=3))
    tries = [True, True, True, False, False, True, False, False, False, False, True, True]
    found = [verdict.note(success=success) for success in tries]
    assert found == [None, True, True, None, None, None, None, None, False, False, None, True]


@pytest.mark.parametrize(("port", "number"), [(80, 80), ("http", 8080), ("81", 81)])
def test_ports_are_numbers_or_names(port: int | str, number: int) -> None:
    ports = named_ports({"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}]})
    assert port_number(port, ports) == number


def test_an_unknown_port_name_fails_the_probe() -> None:
    with pytest.raises(ActionError, match="there is no port named admin"):
        port_number("admin", named_ports({}))


@pytest.mark.parametrize(
    ("get", "url"),
    [
        ({"port": 80}, "http://127.77.0.2:80/"),
        ({"port": "http", "path": "/livez?full=1"}, "http://127.77.0.2:8080/livez?full=1"),
        ({"port": 443, "path": "x", "scheme": "HTTPS", "host": "10.0.0.1"}, "https://10.0.0.1:443/x"),
    ],
)
def test_addresses_of_http_probes(get: Manifest, url: str) -> None:
    assert probe_url(get, address="127.77.0.2", ports={"http": 8080}).human_repr() == url


@pytest.fixture
async def server() -> AsyncIterator[tuple[int, list[web.Request]]]:
    """A server that answers with the status in the path, or not at all."""
    requests: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(request)
        if request.path == "/slow":
            await asyncio.sleep(5)
        return web.Response(status=int(request.path[1:]), headers={"Location": "/500"})

    application = web.Application()
    application.router.add_get("/{status}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1], requests
    await runner.cleanup()


async def test_an_http_probe_takes_2xx_and_3xx_for_success(
    server: tuple[int, list[web.Request]], tmp_path: Path
) -> None:
    port, requests = server
    where = target(tmp_path, http=port)
    for status in (200, 204, 302):
        headers = [{"name": "X-A", "value": "b"}]
        get = {"port": "http", "path": f"/{status}", "httpHeaders": headers}
        await perform({"httpGet": get}, where, purpose="p", seconds=1)
    assert [request.headers["X-A"] for request in requests] == ["b"] * 3
    assert requests[0].headers["User-Agent"].startswith("kube-probe/")
    for status in (404, 503):
        with pytest.raises(ActionError, match=f"^/{status} answers {status}$"):
            await perform({"httpGet": {"port": port, "path": f"/{status}"}}, where, purpose="p", seconds=1)
    with pytest.raises(ActionError, match=r"^no answer within 0\.1 s$"):
        await perform({"httpGet": {"port": port, "path": "/slow"}}, where, purpose="p", seconds=0.1)


async def test_a_tcp_probe_needs_somebody_who_listens(server: tuple[int, list[web.Request]], tmp_path: Path) -> None:
    where = target(tmp_path)
    await perform({"tcpSocket": {"port": server[0]}}, where, purpose="p", seconds=1)
    with pytest.raises(ActionError, match="ConnectionRefusedError"):
        await perform({"tcpSocket": {"port": 1}}, where, purpose="p", seconds=1)


async def test_a_command_runs_with_the_containers_environment_and_says_nothing(tmp_path: Path) -> None:
    where = target(tmp_path)

    def shell(script: str) -> Manifest:
        return {"exec": {"command": ["sh", "-c", script]}}

    await perform(shell('[ "$WHO" = probe ] && [ "$PWD" = "' + str(tmp_path) + '" ]'), where, purpose="p", seconds=5)
    with pytest.raises(ActionError, match=r"^sh ended with code 3$"):
        await perform(shell("echo geheim; exit 3"), where, purpose="p", seconds=5)
    with pytest.raises(ActionError, match=r"^no-such-program ended with code 128$"):
        await perform({"exec": {"command": ["no-such-program"]}}, where, purpose="p", seconds=5)
    with pytest.raises(ActionError, match="no answer within"):
        await perform(shell("sleep 5; touch late"), where, purpose="p", seconds=0.5)
    assert not (tmp_path / "main.log").exists()


async def test_an_unknown_kind_of_probe_fails(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match="not supported"):
        await perform({"grpc": {"port": 1}}, target(tmp_path), purpose="p", seconds=1)


Play = Callable[..., tuple[Prober, ContainerRecord, list[tuple[float, bool, bool]]]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Makes a prober whose tries succeed or fail as listed, the last one for ever, and take no time."""

    def begin(results: dict[str, list[bool]], **probes: Manifest) -> Any:
        loop = asyncio.get_running_loop()
        record = ContainerRecord("main", "image")
        reports: list[tuple[float, bool, bool]] = []

        async def perform(action: Manifest, target: Target, *, purpose: str, seconds: float | None) -> None:
            assert (target.plan.name, seconds) == ("main", 1)
            tries = results[purpose.removesuffix("-probe")]
            if not (tries.pop(0) if len(tries) > 1 else tries[0]):
                raise ActionError(str(action))

        monkeypatch.setattr(module, "perform", perform)
        container = {f"{kind}Probe": {"exec": {}, **probe} for kind, probe in probes.items()}
        begun = loop.time()
        prober = Prober(
            container,
            target(tmp_path),
            record,
            label="p",
            report=lambda: reports.append((loop.time() - begun, record.started, record.ready)),
        )
        record.run("id", datetime.now(UTC), started=not prober.waits_for_start, ready=not prober.waits_for_readiness)
        return prober, record, reports

    return begin


@pytest.mark.looptime
async def test_a_container_without_probes_is_started_and_ready_at_once_and_never_ended(play: Play) -> None:
    prober, record, reports = play({})
    assert (record.started, record.ready) == (True, True)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(prober.run(), 1000)
    assert reports == []


@pytest.mark.looptime
async def test_readiness_comes_and_goes_with_its_probe(play: Play) -> None:
    prober, record, reports = play({"readiness": [False, True, False, False, False, True]}, readiness={})
    assert (record.started, record.ready) == (True, False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(prober.run(), 100)
    assert [(round(at), ready) for at, _, ready in reports] == [(10, True), (40, False), (50, True)]


@pytest.mark.looptime
async def test_liveness_ends_the_container_at_the_failure_threshold(play: Play) -> None:
    prober, _, _ = play(
        {"liveness": [True, False, True, False, False]},
        liveness={"initialDelaySeconds": 5, "periodSeconds": 2, "failureThreshold": 2},
    )
    begun = asyncio.get_running_loop().time()
    probe = await prober.run()
    assert probe.kind is ProbeKind.LIVENESS
    assert asyncio.get_running_loop().time() - begun == pytest.approx(5 + 4 * 2)


@pytest.mark.looptime
async def test_the_other_probes_wait_for_the_start(play: Play) -> None:
    prober, record, reports = play(
        {"startup": [False, False, True], "liveness": [True], "readiness": [True]},
        startup={"periodSeconds": 1, "failureThreshold": 5},
        liveness={},
        readiness={},
    )
    assert (record.started, record.ready) == (False, False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(prober.run(), 100)
    assert [(round(at), started, ready) for at, started, ready in reports] == [(2, True, False), (2, True, True)]


@pytest.mark.looptime
async def test_a_container_that_does_not_start_in_time_is_ended(play: Play) -> None:
    prober, record, reports = play({"startup": [False]}, startup={"periodSeconds": 1})
    assert (await prober.run()).kind is ProbeKind.STARTUP
    assert (record.started, reports) == (False, [])
