"""Asks API server and operator for all that ``b3lb doctor`` shows; whatever is missing, the rest is shown."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from b3lb.findings import Finding, FindingStatus, sorted_findings
from b3lb_cli.cluster_checks import API_PATH, ClusterLook, Reply, check_cluster, operator_does_not_answer
from b3lb_cli.doctor import as_text, summary
from b3lb_cli.kube import Server, api_server
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.operator_client import SECRET_ANNOTATION, SELECTOR
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import write_document
from b3lb_cli.source import operator

_MOST = 500


def doctor(options: argparse.Namespace) -> None:
    """Examine and print.

    Raises:
        CommandError: Something failed: exit code 1.
    """
    _tell("asking the API server")
    look = _look(options)
    _tell("asking the operator, which asks database and servers (up to ten seconds)")
    found, problem = _of_operator(options)
    findings = [*check_cluster(look, now=datetime.now(UTC), answered=not problem), *found]
    if problem:
        findings.append(operator_does_not_answer(problem, namespace=look.namespace))
    findings = sorted_findings(findings)
    if options.output == "table":
        sys.stdout.write(as_text(findings))
    else:
        items = [finding.document() for finding in findings]
        as_of = datetime.now(UTC).isoformat(timespec="seconds")
        write_document({"kind": "FindingList", "asOf": as_of, "items": items}, options.output)
    if any(finding.status is FindingStatus.FAILED for finding in findings):
        raise CommandError(ExitCode.NOT_FOUND, f"something is wrong: {summary(findings)}")


def _tell(what: str) -> None:
    sys.stderr.write(f"{what} …\n")
    sys.stderr.flush()


def _of_operator(options: argparse.Namespace) -> tuple[list[Finding], str]:
    """Return what the operator found, and why it does not say."""
    try:
        document = operator(options).get("/doctor", namespace=farm_namespace(options))
        return [Finding.from_document(item) for item in document.get("items") or ()], ""
    except CommandError as error:
        return [], str(error)
    except (ValueError, TypeError):
        return [], "the operator's answer makes no sense: is it of the same version as this command?"


def _look(options: argparse.Namespace) -> ClusterLook:
    try:
        api = api_server(options.kubeconfig, options.context)
        named = options.operator_namespace or os.environ.get("B3LB_OPERATOR_NAMESPACE") or farm_namespace(options)
    except CommandError as error:
        return ClusterLook(problem=str(error))
    version = _ask(api, "/version")
    namespace = named or api.namespace or "default"
    if version.problem:
        # Whoever does not answer once is not asked seven times.
        return ClusterLook(namespace=namespace, version=version)
    services = _ask(api, f"/api/v1/namespaces/{namespace}/services", labelSelector=SELECTOR)
    if services.items == () and not options.operator_namespace:
        everywhere = _ask(api, "/api/v1/services", labelSelector=SELECTOR)
        if everywhere.items:
            namespace, services = str(everywhere.items[0]["metadata"]["namespace"]), everywhere
    core, apps = f"/api/v1/namespaces/{namespace}", f"/apis/apps/v1/namespaces/{namespace}"
    return ClusterLook(
        namespace=namespace,
        version=version,
        kinds=_ask(api, API_PATH),
        services=services,
        deployments=_ask(api, f"{apps}/deployments", labelSelector=SELECTOR),
        pods=_ask(api, f"{core}/pods", labelSelector=SELECTOR),
        events=_ask(api, f"{core}/events", fieldSelector="type=Warning"),
        token=_token(api, namespace, services),
    )


def _token(api: Server, namespace: str, services: Reply) -> Reply | None:
    """Return the answer for the Secret with the operator's token, without its content; None where none is named."""
    metadata: Mapping[str, Any] = services.items[0]["metadata"] if services.items else {}
    name, _, _ = str((metadata.get("annotations") or {}).get(SECRET_ANNOTATION, "")).partition("/")
    if not name:
        return None
    reply = _ask(api, f"/api/v1/namespaces/{namespace}/secrets/{name}")
    return Reply(reply.status, problem=reply.problem)


def _ask(api: Server, path: str, **query: object) -> Reply:
    try:
        answer = api.get(path, query={**query, "limit": _MOST} if query else None)
    except CommandError as error:
        return Reply(problem=str(error))
    return Reply(answer.status, answer.content)
