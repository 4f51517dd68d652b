"""What a person has to look at, worst first: the first lines of the page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from b3lb.dashboard.documents import Document, flag, texts
from b3lb.dashboard.farm import Cluster, Node, Tenant
from b3lb.dashboard.formats import span, whole
from b3lb.dashboard.levels import RANK, Level
from b3lb.dashboard.links import node_link, queue_link
from b3lb.dashboard.queues import LONG_QUEUE, VERY_LONG_QUEUE, Queue, Task
from b3lb.dashboard.recordings import Recording

_NAMED_NODES = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One line with what is wrong; the link leads to more, relative to the first page."""

    level: Level
    text: str
    link: str = ""


def findings(
    ping: Document,
    *,
    database_up: bool,
    queues: Iterable[Queue],
    tasks: Iterable[Task],
    nodes: Sequence[Node],
    clusters: Iterable[Cluster],
    tenants: Iterable[Tenant],
    recordings: Iterable[Recording] = (),
) -> list[Finding]:
    """Return what needs a person, worst first; nothing when all is well."""
    found = [
        *_operator(ping, database_up=database_up),
        *_queues(queues),
        *_clusters(clusters),
        *_nodes(nodes),
        *_tenants(tenants),
        *_tasks(tasks),
        *_recordings(recordings),
    ]
    return sorted(found, key=lambda finding: RANK[finding.level])


def _operator(ping: Document, *, database_up: bool) -> Iterator[Finding]:
    if not database_up:
        yield Finding(Level.BAD, "The operator cannot read the database: figures are old or missing")
    if flag(ping, "leads") is False:
        yield Finding(Level.WARNING, "This operator stands by: another one leads and knows more")
    for problem in texts(ping, "problems"):
        yield Finding(Level.BAD, f"Operator: {problem}")
    if flag(ping, "live") is False and not texts(ping, "problems"):
        yield Finding(Level.BAD, "Operator: not alive")


def _queues(queues: Iterable[Queue]) -> Iterator[Finding]:
    for queue in queues:
        link = queue_link(queue.namespace, queue.name)
        if queue.suspended:
            yield Finding(Level.WARNING, f"Queue {queue.name} is suspended", link)
        elif queue.badge.level in {Level.BAD, Level.WARNING}:
            why = f": {queue.why}" if queue.why else ""
            yield Finding(queue.badge.level, f"Queue {queue.name} is {queue.badge.word.lower()}{why}", link)
        if (queue.depth or 0) > LONG_QUEUE:
            level = Level.BAD if (queue.depth or 0) > VERY_LONG_QUEUE else Level.WARNING
            oldest = f", the oldest for {span(queue.oldest_waiting)}" if queue.oldest_waiting else ""
            yield Finding(level, f"Queue {queue.name}: {whole(queue.depth)} wait{oldest}", link)


def _clusters(clusters: Iterable[Cluster]) -> Iterator[Finding]:
    for cluster in clusters:
        if cluster.mass_failure:
            text = f"Cluster {cluster.name}: mass failure, all of its nodes keep the states they had"
            yield Finding(Level.BAD, text, "#clusters")


def _nodes(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Yield a line per reason, however many nodes have it."""
    by_reason: defaultdict[tuple[Level, str], list[Node]] = defaultdict(list)
    for node in nodes:
        if node.badge.level in {Level.BAD, Level.WARNING, Level.UNKNOWN}:
            by_reason[node.badge.level, node.badge.word].append(node)
    for (level, word), concerned in by_reason.items():
        what = "gets no new meetings" if level is Level.WARNING else "is not ready"
        if len(concerned) == 1:
            (node,) = concerned
            message = f" ({node.message})" if level is not Level.WARNING and node.message else ""
            yield Finding(level, f"Node {node.name} {what}: {word}{message}", node_link(node.namespace, node.name))
            continue
        named = ", ".join(node.name for node in concerned[:_NAMED_NODES])
        more = f" and {len(concerned) - _NAMED_NODES} more" if len(concerned) > _NAMED_NODES else ""
        verb = what.replace("gets", "get", 1).replace("is ", "are ", 1)
        yield Finding(level, f"{len(concerned)} nodes {verb}: {word} ({named}{more})", "#nodes")


def _tenants(tenants: Iterable[Tenant]) -> Iterator[Finding]:
    concerned = [tenant for tenant in tenants if tenant.badge.level in {Level.BAD, Level.WARNING}]
    for (level, word), many in Counter((tenant.badge.level, tenant.badge.word) for tenant in concerned).items():
        slugs = [tenant.slug for tenant in concerned if (tenant.badge.level, tenant.badge.word) == (level, word)]
        named = ", ".join(slugs[:_NAMED_NODES])
        more = f" and {many - _NAMED_NODES} more" if many > _NAMED_NODES else ""
        yield Finding(level, f"Tenant{'' if many == 1 else 's'} {named}{more}: {word}", "#tenants")


def _tasks(tasks: Iterable[Task]) -> Iterator[Finding]:
    for task in tasks:
        if task.rates.failed_1h:
            times = "once" if task.rates.failed_1h == 1 else f"{whole(task.rates.failed_1h)} times"
            text = f"Task {task.task} of queue {task.queue} failed {times} in the last hour"
            yield Finding(Level.WARNING, text, "#tasks")


def _recordings(recordings: Iterable[Recording]) -> Iterator[Finding]:
    """Yield a line per reason; a recording that failed harms nobody else."""
    failed = Counter(found.why for found in recordings if found.badge.level is Level.BAD)
    for why, many in failed.items():
        what = "1 recording was not rendered" if many == 1 else f"{many} recordings were not rendered"
        yield Finding(Level.WARNING, f"{what}{f': {why}' if why else ''}", "#recordings")
