"""How pip reaches the package index here, for the build alone: a pip.conf and certificates, as build secrets."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from urllib.parse import urlsplit

from dev.images.commands import run

_PASSED = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout", "retries")
_URLS = ("index-url", "extra-index-url")
CA_BUNDLE = "/run/secrets/cabundle"
"""Where the Dockerfile mounts the secret ``cabundle``."""


def read_pip_settings() -> dict[str, str]:
    """This machine's settings of pip, from its files and the environment; a later source goes before an earlier one."""
    return parse_settings(run([sys.executable, "-m", "pip", "config", "list"], seconds=60))


def parse_settings(text: str) -> dict[str, str]:
    """Read the output of ``pip config list``: lines of ``section.name='value'``, ordered by section."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section and value:
            found.setdefault(section, {})[name] = str(ast.literal_eval(value))
    return {**found.get("global", {}), **found.get("install", {}), **found.get(":env:", {})}


def build_secrets(settings: dict[str, str], directory: Path) -> dict[str, Path]:
    """Write the files that the build needs to reach the index, readable by this user alone.

    Args:
        settings: Settings of pip.
        directory: Where the files are written; remove it after the build.

    Returns:
        The file of each secret of the Dockerfile; empty where pip needs no settings.
    """
    lines = [
        f"{name.replace('default-', '')} = {' '.join(settings[name].split())}" for name in _PASSED if settings.get(name)
    ]
    secrets: dict[str, Path] = {}
    if bundle := settings.get("cert"):
        lines.append(f"cert = {CA_BUNDLE}")
        secrets["cabundle"] = Path(bundle)
    if lines:
        secrets["pipconf"] = directory / "pip.conf"
        secrets["pipconf"].touch(mode=0o600)
        secrets["pipconf"].write_text("\n".join(["[global]", *lines, ""]))
    return secrets


def index_hosts(settings: dict[str, str]) -> list[str]:
    """The hosts of the indexes that pip is told to use: none of them may be named in an image."""
    urls = [url for name in _URLS for url in settings.get(name, "").split()]
    return sorted({host for url in urls if (host := urlsplit(url).hostname)})
