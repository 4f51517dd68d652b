"""Whether the operator may do what it does: its Role's rules against those that the API server reports, pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from b3lb.findings import Check, Finding, Group
from b3lb.resources import GROUP
from b3lb_operator.kinds import CUSTOM_KINDS

_RIGHTS = Check(Group.OPERATOR, "OperatorRights")
_SHOWN = 5

_CUSTOM = tuple(kind.plural for kind in CUSTOM_KINDS)
_QUEUES = ("core", "statistics", "record", "housekeeping")
_DECLARED = ("b3lb-cluster-default", *(f"b3lb-queue-{name}" for name in _QUEUES), "b3lb-record-profile-default")
_EVENTS, _LEASES = "events.k8s.io", "coordination.k8s.io"


class Rule(NamedTuple):
    """One rule of a Role; without ``names`` it holds for every object."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()


RULES = (
    Rule(GROUP, _CUSTOM, ("list", "watch")),
    Rule(GROUP, ("bbbnodes",), ("get", "patch")),
    Rule(GROUP, ("bbbqueues",), ("patch",)),
    Rule(GROUP, ("bbbrecordings",), ("get", "create", "delete")),
    Rule(GROUP, tuple(f"{plural}/status" for plural in _CUSTOM), ("patch",)),
    Rule(GROUP, ("bbbqueues/finalizers",), ("update",)),
    Rule("batch", ("cronjobs",), ("get", "list", "watch", "create", "patch", "update")),
    Rule("batch", ("jobs",), ("get", "list", "watch", "create", "delete")),
    Rule("", ("pods",), ("list",)),
    Rule("", ("secrets",), ("get", "list", "watch", "create")),
    Rule("", ("namespaces",), ("get",)),
    Rule("", ("configmaps",), ("get",), _DECLARED),
    Rule(GROUP, ("bbbclusters", "bbbqueues", "bbbrecordprofiles"), ("create",)),
    Rule(GROUP, ("bbbclusters", "bbbrecordprofiles"), ("get", "patch"), ("default",)),
    Rule(GROUP, ("bbbqueues",), ("get",), _QUEUES),
    Rule(_EVENTS, ("events",), ("create",)),
    Rule(_LEASES, ("leases",), ("create",)),
    Rule(_LEASES, ("leases",), ("list", "watch", "patch"), ("b3lb-operator",)),
    Rule(_LEASES, ("leases",), ("get", "patch"), ("b3lb-operator-leader",)),
)
"""The rules of deploy/rbac.yaml; a test holds the two together."""


class Right(NamedTuple):
    """One thing that one may do; ``name`` is empty for every object of the resource."""

    group: str
    resource: str
    verb: str
    name: str

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}" + (f" {self.name}" if self.name else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsFacts:
    """What a SelfSubjectRulesReview says of one namespace.

    ``rules`` are its ``resourceRules``. ``incomplete`` is why there may be more, and ``error`` why nothing is known.
    """

    namespace: str
    rules: Sequence[Mapping[str, Any]] = ()
    incomplete: str = ""
    error: str = ""


def expand(rules: Sequence[Rule]) -> Iterator[Right]:
    """Yield every single right of some rules."""
    for rule in rules:
        for resource in rule.resources:
            for verb in rule.verbs:
                for name in rule.names or ("",):
                    yield Right(rule.group, resource, verb, name)


def missing_rights(rules: Sequence[Mapping[str, Any]]) -> list[Right]:
    """Return what the operator needs and ``rules`` (``resourceRules`` of a review) do not allow."""
    return [right for right in expand(RULES) if not any(_allows(rule, right) for rule in rules)]


def check_rights(facts: RightsFacts) -> Finding:
    """Return what the operator lacks in one namespace."""
    about = {"namespace": facts.namespace, "object": f"namespace/{facts.namespace}"}
    if facts.error:
        return _RIGHTS.unknown(f"the API server was not asked: {facts.error}", **about)
    missing = missing_rights(facts.rules)
    if not missing:
        return _RIGHTS.ok("the operator may do all that it does", **about)
    rest = len(missing) - _SHOWN
    listed = ", ".join(str(right) for right in missing[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
    if facts.incomplete:
        message = f"the API server does not tell all rights ({facts.incomplete}); not among those told: {listed}"
        return _RIGHTS.unknown(message, **about)
    remedy = f"kubectl apply -n {facts.namespace} -f deploy/rbac.yaml, or helm upgrade where the chart installed it"
    return _RIGHTS.failed(f"the operator may not {listed}", remedy=remedy, **about)


def _allows(rule: Mapping[str, Any], right: Right) -> bool:
    """Whether a rule grants a right (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources)."""
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("apiGroups"), right.group)
        and _has(rule.get("verbs"), right.verb)
        and (_has(rule.get("resources"), right.resource) or _has_subresource(rule.get("resources"), right.resource))
        and (not names or right.name in names)
    )


def _has(values: Sequence[str] | None, value: str) -> bool:
    return any(item in {"*", value} for item in values or ())


def _has_subresource(values: Sequence[str] | None, resource: str) -> bool:
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in (values or ())
