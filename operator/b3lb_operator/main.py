"""How kopf is used: as the engine that watches. Handlers hand over and do nothing else.

Nothing of kopf's own is written to any object, no annotation, no finalizer and no last state: there are only
low-level handlers, which need none.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import kopf
from kopf._cogs.clients.errors import APINotFoundError

from b3lb.bbb.client import NodeClient
from b3lb_operator.app import Operator
from b3lb_operator.control.dashboard import add_dashboard
from b3lb_operator.control.routes import add_control
from b3lb_operator.credentials import Credentials
from b3lb_operator.endless import EXIT_OK
from b3lb_operator.http import Check, application, serve
from b3lb_operator.instruments import Instruments
from b3lb_operator.kinds import CRON_JOB, JOB, KINDS, LEASE, PART_OF_LABEL, SECRET, SECRET_FIELDS, Kind
from b3lb_operator.kube import Kube, connect, in_cluster
from b3lb_operator.leadership import Elector
from b3lb_operator.liveness import LEASE_NAME
from b3lb_operator.settings import OperatorSettings, ProgramSettings

T = TypeVar("T")

PROBES_IN_FLIGHT = 50
LOGIN_SECONDS = 1.0
_NEVER = timedelta(days=3650)

REGISTRY = kopf.OperatorRegistry()


class WatchLostError(Exception):
    """The API server serves a watched kind no more; everything is to begin anew, and waits for the definitions then."""


class Backoffs:
    """Pauses between attempts of a watch: jittered, at most 3 s, without end."""

    def __iter__(self) -> Iterator[float]:
        for longest in (0.2, 0.5, 1.0, 2.0):
            yield random.uniform(longest / 2, longest)  # noqa: S311 - spreads retries, no cryptography
        while True:
            yield random.uniform(1.5, 3.0)  # noqa: S311 - spreads retries, no cryptography


def kopf_settings() -> kopf.OperatorSettings:
    """Return how kopf behaves."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = 8
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = Backoffs()
    # Streams through load balancers fall silent without an end: the server ends them regularly.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.chunk_size = 500
    settings.watching.field_selectors[SECRET.group_version_plural] = SECRET_FIELDS
    settings.watching.field_selectors[LEASE.group_version_plural] = f"metadata.name={LEASE_NAME}"
    settings.watching.label_selectors[CRON_JOB.group_version_plural] = PART_OF_LABEL
    settings.watching.label_selectors[JOB.group_version_plural] = PART_OF_LABEL
    # A worker serves one object for as long as events come: with hundreds of objects at the start, not 5 s each.
    settings.queueing.idle_timeout = 0.5
    settings.queueing.exit_timeout = 1
    settings.queueing.worker_limit = 500
    return settings


@kopf.on.startup(registry=REGISTRY)
async def start(memo: kopf.Memo, **_: Any) -> None:
    """Start the operator's own tasks."""
    memo.operator.start()


@kopf.on.cleanup(registry=REGISTRY)
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """End the operator's own tasks."""
    await memo.operator.stop()


@kopf.on.login(registry=REGISTRY, backoff=LOGIN_SECONDS)
async def login(memo: kopf.Memo, **arguments: Any) -> kopf.ConnectionInfo:
    """Read the credentials, and anew whenever the API server refuses them.

    While an API server starts it may refuse good ones. kopf gives up when it is handed refused ones again, so each
    answer differs from the one before, in a date that never comes.
    """
    if "logged_in" in memo:
        await asyncio.sleep(LOGIN_SECONDS)
    memo.logged_in = True
    log_in = kopf.login_with_service_account if in_cluster() else kopf.login_with_kubeconfig
    info = log_in(**arguments)
    if info is None:
        raise kopf.TemporaryError("there are no credentials yet", delay=LOGIN_SECONDS)
    return dataclasses.replace(info, expiration=datetime.now(UTC) + _NEVER)


def _watch(kind: Kind) -> None:
    group, version, plural = kind.group_version_plural

    @kopf.on.event(group, version, plural, id=plural, registry=REGISTRY)
    async def observe(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
        memo.operator.observe(kind, event["type"], event["object"])


for _kind in KINDS:
    _watch(_kind)


async def run(settings: ProgramSettings) -> int:
    """Run the operator until SIGTERM or SIGINT; return the exit code.

    Settings that are no `OperatorSettings` lack database or key: their Secrets are waited for first.

    Raises:
        KubeConfigError: there is no access to a Kubernetes API.
        OSError: the HTTP port cannot be opened.
    """
    instruments = Instruments()
    async with connect(instruments.count_request) as kube:
        complete = settings if isinstance(settings, OperatorSettings) else await _completed(settings, kube, instruments)
        return EXIT_OK if complete is None else await _run(complete, kube, instruments)


async def _completed(settings: ProgramSettings, kube: Kube, instruments: Instruments) -> OperatorSettings | None:
    """Wait for the Secrets, alive and not ready; return None when told to stop meanwhile."""
    credentials = Credentials(kube, settings)

    async def own_metrics() -> bytes:
        return instruments.text()

    app = application(live=(), ready=(credentials.problem,), metrics=own_metrics)
    add_control(app, token=_control_token(settings), farms=None, waiting=credentials.problem)
    stop_flag = asyncio.Event()
    _stop_by_signals(stop_flag)
    async with serve(app, address=settings.http_address, port=settings.http_port):
        return await _unless_stopped(stop_flag, credentials.wait())


async def _run(settings: OperatorSettings, kube: Kube, instruments: Instruments) -> int:
    async with NodeClient(PROBES_IN_FLIGHT) as client:
        elector = _elector(settings, kube) if settings.leader_election else None
        if elector is None:
            operator = Operator(settings, kube=kube, client=client, instruments=instruments)
        else:
            operator = Operator(
                settings,
                kube=kube.fenced(elector.problem),
                client=client,
                fence=elector.problem,
                instruments=instruments,
            )
        ready = _ready_checks(operator, elector)
        app = application(live=operator.live_checks, ready=ready, metrics=operator.metrics.text)
        token, farms = _control_token(settings), dataclasses.replace(operator.farms, ready=ready)
        add_control(app, token=token, farms=farms)
        if settings.dashboard and token is not None:
            add_dashboard(app, token=token, farms=farms)
        async with serve(app, address=settings.http_address, port=settings.http_port), _stopping(operator, elector):
            defined = await _unless_stopped(operator.stop_flag, _true_after(operator.wait_for_definitions()))
            if defined and await _lead(operator, elector):
                await _run_kopf(operator, settings)
        return operator.exit_code


async def _run_kopf(operator: Operator, settings: OperatorSettings) -> None:
    """Run kopf until the operator is told to stop.

    Raises:
        WatchLostError: A definition was deleted while it was watched, which ends kopf as a whole.
    """
    try:
        await kopf.operator(
            registry=REGISTRY,
            settings=kopf_settings(),
            namespaces=list(settings.namespaces),
            memo=kopf.Memo(operator=operator),
            stop_flag=operator.stop_flag,
        )
    except APINotFoundError as error:
        raise WatchLostError from error


def _control_token(settings: ProgramSettings) -> str | None:
    return None if settings.control_token is None else settings.control_token.get_secret_value()


def _elector(settings: OperatorSettings, kube: Kube) -> Elector:
    return Elector(kube, namespace=settings.namespaces[0], identity=settings.identity)


def _ready_checks(operator: Operator, elector: Elector | None) -> tuple[Check, ...]:
    """Return what ``/readyz`` asks; an operator that stands by is ready to lead, and nothing more is asked of it."""
    if elector is None:
        return operator.ready_checks
    return tuple(_unless_waiting(elector, check) for check in operator.ready_checks)


def _unless_waiting(elector: Elector, check: Check) -> Check:
    return lambda: None if elector.waiting else check()


async def _lead(operator: Operator, elector: Elector | None) -> bool:
    """Wait for the lead, where there is an election; return False when the operator was told to stop meanwhile."""
    if elector is None:
        return True
    if not await _unless_stopped(operator.stop_flag, _true_after(elector.acquire())):
        return False
    operator.run_until_lost(elector.keep)
    return True


@contextlib.asynccontextmanager
async def _stopping(operator: Operator, elector: Elector | None) -> AsyncIterator[None]:
    """Let signals end the operator while kopf does not run yet, and end its tasks when kopf could not."""
    _stop_by_signals(operator.stop_flag)
    try:
        yield
    finally:
        await operator.stop()
        if elector is not None:
            await elector.release()


def _stop_by_signals(stop_flag: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_flag.set)


async def _true_after(work: Coroutine[Any, Any, None]) -> bool:
    await work
    return True


async def _unless_stopped(stop_flag: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Do something before kopf runs and return its result; None when the operator was told to stop meanwhile."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop_flag.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        result = working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
    return None if stop_flag.is_set() else result
