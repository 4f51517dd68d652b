"""The row of Grafana's dashboard with the recordings."""

from __future__ import annotations

from dev.dashboard_panel import NAMESPACES, Panel


def _renders(state: str) -> str:
    total = f'b3lb_renders_total{{{NAMESPACES},state="{state}"}}'
    return f"sum by (profile, reason) (max by (namespace, profile, reason) (increase({total}[1h])))"


def _render_cost() -> str:
    """Return the seconds of work for a second of video, whichever of two operators tells of them."""
    spent, shown = (
        f"sum by (profile) (max by (namespace, profile) (increase({name}{{{NAMESPACES}}}[1d])))"
        for name in ("b3lb_render_seconds_total", "b3lb_rendered_video_seconds_total")
    )
    return f"{spent} / {shown}"


def _of_recordings(name: str, *by: str) -> str:
    labels = ", ".join(("namespace", *by))
    return f"sum by ({', '.join(by)}) (max by ({labels}) ({name}{{{NAMESPACES}}}))"


def _deletions() -> str:
    total = f"increase(b3lb_record_deletions_total{{{NAMESPACES}}}[1d])"
    return f"sum by (kind, reason) (max by (namespace, kind, reason) ({total}))"


RECORDINGS: tuple[str, tuple[Panel, ...]] = (
    "Recordings",
    (
        Panel("Recordings by state", ((_of_recordings("b3lb_record_sets", "state"), "{{state}}"),)),
        Panel("Videos that wait", ((f"max by (namespace) (b3lb_record_backlog{{{NAMESPACES}}})", "{{namespace}}"),)),
        Panel(
            "Longest wait",
            ((f"max by (namespace) (b3lb_record_oldest_seconds{{{NAMESPACES}}})", "{{namespace}}"),),
            unit="s",
        ),
        Panel("Rendered within an hour", ((_renders("RENDERED"), "{{profile}}"),)),
        Panel("Failed within an hour", ((_renders("FAILED"), "{{profile}} {{reason}}"),)),
        Panel(
            "Work for a second of video",
            ((_render_cost(), "{{profile}}"),),
            unit="s",
            text="Over a day; of renderings that succeeded.",
        ),
        Panel(
            "Stored",
            ((_of_recordings("b3lb_record_bytes", "tenant", "kind"), "{{tenant}} {{kind}}"),),
            unit="bytes",
        ),
        Panel("Callbacks", ((_of_recordings("b3lb_callbacks", "state"), "{{state}}"),)),
        Panel("Deleted within a day", ((_deletions(), "{{kind}} {{reason}}"),)),
    ),
)
