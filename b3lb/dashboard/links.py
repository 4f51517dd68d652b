"""Addresses of the pages, relative to the first one, so that the page works below any path."""

from __future__ import annotations

from urllib.parse import quote


def queue_link(namespace: str, name: str) -> str:
    """Return the address of a queue's page."""
    return f"queues/{quote(namespace, safe='')}/{quote(name, safe='')}"


def node_link(namespace: str, name: str) -> str:
    """Return the address of a node's page."""
    return f"nodes/{quote(namespace, safe='')}/{quote(name, safe='')}"


def run_link(run_id: str, namespace: str) -> str:
    """Return the address of a run's page."""
    return f"runs/{quote(run_id, safe='')}?namespace={quote(namespace, safe='')}"
