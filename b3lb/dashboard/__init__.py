"""The page for the eyes: the operator's documents as HTML with charts, without scripts and without writing anything."""

from __future__ import annotations

from b3lb.dashboard.documents import Document
from b3lb.dashboard.pages import HEADERS, node_page, overview_page, problem_page, queue_page, run_page

__all__ = ["HEADERS", "Document", "node_page", "overview_page", "problem_page", "queue_page", "run_page"]
