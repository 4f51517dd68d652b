"""The operator's parts put together, and the tasks that run them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from b3lb.bbb.client import NodeClient
from b3lb.crypto import KeyRing
from b3lb.db.configuration import Action, Changed
from b3lb.db.configuration import Kind as RowKind
from b3lb.db.work import read_work
from b3lb_operator.audit_events import AuditEvents
from b3lb_operator.control.farms import Farms
from b3lb_operator.database import Database
from b3lb_operator.dispatch import Dispatcher
from b3lb_operator.doctor.doctor import Doctor, Subject
from b3lb_operator.doctor.operator import OperatorFacts
from b3lb_operator.endless import EndlessTasks
from b3lb_operator.events import EventRecorder
from b3lb_operator.http import Check, problems
from b3lb_operator.instruments import Instruments
from b3lb_operator.kinds import API_SECRET, LEASE, NODE, QUEUE, Key, Kind
from b3lb_operator.kube import Kube
from b3lb_operator.liveness import LeaseRenewer, LoopMonitor, WatchMonitor
from b3lb_operator.manifests.cronjob import JobDefaults
from b3lb_operator.metrics import MetricsPage
from b3lb_operator.mirror import Mirror
from b3lb_operator.objects import ObjectApplier
from b3lb_operator.probe import Prober
from b3lb_operator.reconcilers.node import NodeReconciler
from b3lb_operator.reconcilers.queue import QueueReconciler
from b3lb_operator.reconcilers.recordings import COALESCE_SECONDS, RecordingReconciler
from b3lb_operator.reconcilers.requests import RequestReconciler
from b3lb_operator.reconcilers.runs import RunReconciler
from b3lb_operator.reconcilers.secret import ApiSecretReconciler
from b3lb_operator.request_outcomes import RequestOutcomes
from b3lb_operator.served import Definitions
from b3lb_operator.settings import OperatorSettings
from b3lb_operator.sight import Sight
from b3lb_operator.status import StatusWriter
from b3lb_operator.store import Store
from b3lb_operator.sync import Sync
from b3lb_operator.view import View
from b3lb_operator.workqueue import WorkQueue

RECOUNT_SECONDS = 2.0
"""Runs come, begin and end together mostly, and numbers may be written once a minute only."""


class Operator:
    """All parts; the watches feed ``observe``, everything else follows."""

    def __init__(
        self,
        settings: OperatorSettings,
        *,
        kube: Kube,
        client: NodeClient,
        fence: Check = lambda: None,
        instruments: Instruments | None = None,
    ) -> None:
        """Put the parts together; nothing runs yet.

        Args:
            settings: All settings.
            kube: The API server.
            client: What polls nodes.
            fence: Says why nothing may be committed now.
            instruments: What counts requests; absent: new ones.
        """
        instruments = instruments or Instruments()
        clock = asyncio.get_running_loop().time
        keys = settings.key_ring
        self._kube = kube
        self.namespaces = settings.namespaces
        self._tasks = EndlessTasks()
        self._definitions = Definitions(kube)
        self._lease_seen = False
        self._loop_monitor = LoopMonitor(clock)
        self._watch_monitor = WatchMonitor(clock)
        self._lease = LeaseRenewer(kube, self._watch_monitor, namespace=self.namespaces[0], identity=settings.identity)
        self._store = Store(Dispatcher(self).dispatch)
        self._database = self._new_database(settings, fence)
        self._prober = Prober(database=self._database, client=client, keys=keys, on_stored=self.mirror)
        self._sync = self._new_sync(keys)
        self._events = EventRecorder(kube, instance=settings.identity)
        self._objects = ObjectApplier(kube, self._events, namespaces=self.namespaces, names=settings.objects)
        writer = StatusWriter(kube, self._store, self._events, clock=clock, instruments=instruments)
        self.metrics = self._new_metrics(instruments)
        outcomes = RequestOutcomes(clock)
        self.farms = self._new_farms(outcomes, self._new_doctor(settings, client))
        self._nodes = WorkQueue("nodes", NodeReconciler(kube, self._store, self._view).reconcile)
        self._runs, self._queues = self._new_queues(writer, settings.job_defaults)
        self._recording = self._new_recording(writer)
        self._recordings = WorkQueue("recordings", self._recording.reconcile)
        secrets = self._new_secrets()
        self._api_secrets = WorkQueue("API secrets", secrets.reconcile)
        self._requests = WorkQueue("requests", self._new_requests(outcomes).reconcile)
        self._mirrors = {
            namespace: self._new_mirror(namespace, writer=writer, secrets=secrets) for namespace in self.namespaces
        }

    def _new_recording(self, writer: StatusWriter) -> RecordingReconciler:
        missed, events = self._definitions.missed, self._events
        return RecordingReconciler(
            kube=self._kube, store=self._store, database=self._database, writer=writer, events=events, missed=missed
        )

    def _new_metrics(self, instruments: Instruments) -> MetricsPage:
        instruments.observe(
            loop_lag_seconds=self._loop_monitor.longest_lag,
            live=lambda: float(not problems(self.live_checks)),
            ready=lambda: float(not problems(self.ready_checks)),
            leads=lambda: float(self._tasks.are_running()),
        )
        return MetricsPage(
            store=self._store,
            database=self._database,
            namespaces=self.namespaces,
            instruments=instruments,
            leads=self._tasks.are_running,
        )

    def _new_secrets(self) -> ApiSecretReconciler:
        return ApiSecretReconciler(
            kube=self._kube, store=self._store, events=self._events, on_problem=lambda key: self.mirror(key.namespace)
        )

    def _new_farms(self, outcomes: RequestOutcomes, doctor: Doctor) -> Farms:
        return Farms(
            namespaces=self.namespaces,
            store=self._store,
            database=self._database,
            kube=self._kube,
            live=self.live_checks,
            ready=self.ready_checks,
            leads=self._tasks.are_running,
            loop_lag=self._loop_monitor.longest_lag,
            sight=self.metrics.sight,
            outcomes=outcomes,
            works=Sight(self._database, lambda connection: read_work(connection, self.namespaces)),
            doctor=doctor,
            settled=self._sync.settled,
        )

    def _new_requests(self, outcomes: RequestOutcomes) -> RequestReconciler:
        return RequestReconciler(
            kube=self._kube, store=self._store, database=self._database, events=self._events, outcomes=outcomes
        )

    def _new_queues(self, writer: StatusWriter, defaults: JobDefaults) -> tuple[WorkQueue[str], WorkQueue[Key]]:
        """Return what brings enqueued runs on by namespace, and what reconciles queues, whose statuses count them."""
        runs = RunReconciler(
            kube=self._kube,
            store=self._store,
            database=self._database,
            defaults=defaults,
            on_counts=self.recount_queue,
        )
        queues = QueueReconciler(
            kube=self._kube,
            store=self._store,
            writer=writer,
            defaults=defaults,
            row_block=self._sync.queue_block,
            run_counts=runs.counts,
        )
        return WorkQueue("enqueued runs", runs.reconcile), WorkQueue("queues", queues.reconcile)

    def _new_sync(self, keys: KeyRing) -> Sync:
        return Sync(
            kube=self._kube,
            store=self._store,
            database=self._database,
            keys=keys,
            namespaces=self.namespaces,
            on_stored=self._stored,
            on_compared=self._compared,
        )

    def _new_database(self, settings: OperatorSettings, fence: Check) -> Database:
        return Database(
            url=settings.url,
            direct_url=settings.direct_url,
            on_notify=self._notified,
            on_connected=self._connected,
            pool_size=settings.database_pool_size,
            keepalive=settings.keepalive,
            fence=fence,
        )

    def _new_doctor(self, settings: OperatorSettings, client: NodeClient) -> Doctor:
        return Doctor(
            Subject.of(settings),
            kube=self._kube,
            store=self._store,
            database=self._database,
            client=client,
            sight=self.metrics.sight,
            itself=lambda: OperatorFacts(
                not_live=problems(self.live_checks),
                not_ready=problems(self.ready_checks),
                lag_seconds=self._loop_monitor.longest_lag(),
            ),
        )

    def _new_mirror(self, namespace: str, *, writer: StatusWriter, secrets: ApiSecretReconciler) -> Mirror:
        return Mirror(
            namespace,
            store=self._store,
            database=self._database,
            writer=writer,
            sync=self._sync,
            problem_of=secrets.problem,
            on_deleting=self._nodes.add,
        )

    def observe(self, kind: Kind, event_type: str | None, manifest: Mapping[str, object]) -> None:
        """Take in what a watch shows; ``event_type`` is None for an object of a list.

        A watch that lost its place (410 Gone, after every restart of an API server) begins anew with a list, which says
        nothing of objects that went meanwhile. The Lease is always there, so its second list is the sign of that.
        """
        if kind == LEASE:
            if event_type is None and self._lease_seen:
                self._sync.request_full()
            self._lease_seen = True
        self._store.observe(kind, event_type, manifest)

    @property
    def stop_flag(self) -> asyncio.Event:
        """Set when the process is to end."""
        return self._tasks.stop_flag

    @property
    def exit_code(self) -> int:
        """That with which the process is to end."""
        return self._tasks.exit_code

    @property
    def live_checks(self) -> tuple[Check, ...]:
        """What ``/livez`` asks: whether a restart would help."""
        return self._loop_monitor.problem, self._watch_monitor.problem

    @property
    def ready_checks(self) -> tuple[Check, ...]:
        """What ``/readyz`` asks: whether the operator does its work."""
        return self._definitions.problem, self._database.problem, self._sync.problem

    async def wait_for_definitions(self) -> None:
        """Wait until the API server serves the custom resources."""
        await self._definitions.wait()

    def start(self) -> None:
        """Start all tasks."""
        runs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "loop monitor": self._loop_monitor.run,
            "lease": self._lease.run,
            "database": self._database.run,
            "synchronisation": self._sync.run,
            "probes": self._prober.run,
            "events": self._events.run,
            "audit": AuditEvents(self._database, self._store, self._events, namespaces=self.namespaces).run,
            "objects": self._objects.run,
            "nodes": self._nodes.run,
            "queues": self._queues.run,
            "API secrets": self._api_secrets.run,
            "enqueued runs": self._runs.run,
            "requests": self._requests.run,
            "recordings": self._recordings.run,
            **{f"mirror of {namespace}": mirror.run for namespace, mirror in self._mirrors.items()},
        }
        for name, run in runs.items():
            self._tasks.start(name, run)

    def run_until_lost(self, keep: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do what keeps the lead; when it ends, another operator leads and this process has to begin anew."""
        self._tasks.start("lead", keep, may_end=True)

    async def stop(self) -> None:
        """End all tasks; nothing is lost, for everything follows from the cluster and the database."""
        await self._tasks.stop()
        await self.metrics.close()
        await self.farms.works.close()
        await self.farms.doctor.close()
        self._database.close()
        # kopf waits for its own waiter on this flag before it lets the process go.
        self.stop_flag.set()

    def sync(self, kind: Kind, key: Key, uid: str) -> None:
        """See ``Sinks``."""
        self._sync.mark(kind, key, uid)

    def reconcile_node(self, key: Key) -> None:
        """See ``Sinks``."""
        self._nodes.add(key)

    def reconcile_queue(self, key: Key) -> None:
        """See ``Sinks``."""
        self._queues.add(key)

    def recount_queue(self, key: Key) -> None:
        """See ``Sinks``."""
        self._queues.add_after(key, RECOUNT_SECONDS)

    def reconcile_queues(self, namespace: str) -> None:
        """See ``Sinks``."""
        for key, _ in self._store.in_namespace(QUEUE, namespace):
            self._queues.add(key)

    def reconcile_api_secret(self, key: Key) -> None:
        """See ``Sinks``."""
        self._api_secrets.add(key)

    def release(self, namespace: str) -> None:
        """See ``Sinks``; namespaces of other operators that share the database are none of ours."""
        if namespace in self._mirrors:
            self._runs.add(namespace)

    def take_requests(self, key: Key) -> None:
        """See ``Sinks``."""
        self._requests.add(key)

    def reconcile_recordings(self, namespace: str) -> None:
        """See ``Sinks``; namespaces of other operators that share the database are none of ours."""
        if namespace in self._mirrors:
            self._recordings.add_after(namespace, COALESCE_SECONDS)

    def mirror(self, namespace: str) -> None:
        """See ``Sinks``; namespaces of other operators that share the database are none of ours."""
        if namespace in self._mirrors:
            self._mirrors[namespace].request()

    def redeclare(self) -> None:
        """See ``Sinks``."""
        self._objects.request()

    def seen(self, renew_time: str) -> None:
        """See ``Sinks``."""
        self._watch_monitor.seen(renew_time)

    def _view(self, namespace: str) -> View:
        return self._mirrors[namespace].view()

    def _notified(self, namespace: str) -> None:
        self.mirror(namespace)
        self.release(namespace)
        self.reconcile_recordings(namespace)

    def _connected(self) -> None:
        self._sync.request_full()
        for mirror in self._mirrors.values():
            mirror.request()

    def _stored(self, namespace: str, changes: list[Changed]) -> None:
        fresh = [item for item in changes if item.kind is RowKind.NODE and item.repoll and item.action != Action.DELETE]
        self._prober.request(namespace, [item.id for item in fresh])
        self.mirror(namespace)
        self.reconcile_recordings(namespace)
        for key, _ in self._store.in_namespace(QUEUE, namespace):
            if self._sync.queue_block(key) is not None or any(item.kind is RowKind.QUEUE for item in changes):
                self._queues.add(key)

    def _compared(self, namespace: str) -> None:
        self.release(namespace)
        self._recording.begin(namespace)
        self.reconcile_recordings(namespace)
        for key, _ in self._store.in_namespace(NODE, namespace):
            self._nodes.add(key)
        for key, _ in self._store.in_namespace(API_SECRET, namespace):
            self._api_secrets.add(key)
        self.reconcile_queues(namespace)
