"""The Gateway API's own CustomResourceDefinitions, as its project publishes them in the pinned Go module.

https://gateway-api.sigs.k8s.io/guides/#installing-gateway-api (standard channel)
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from dev.toolchain import ToolchainError, go_program

_MODULE = "sigs.k8s.io/gateway-api"
_DIRECTORY = Path(__file__).resolve().parent / "tools" / "gateway"
_SECONDS = 600.0


def gateway_definitions() -> Path:
    """Return the directory with a file ``GROUP_PLURAL.yaml`` each; Go fetches and checks the module on first use.

    Raises:
        ToolchainError: It cannot be had.
    """
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [go_program(), "mod", "download", "-json", _MODULE]
    try:
        done = subprocess.run(
            command, cwd=_DIRECTORY, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        found: dict[str, str] = json.loads(done.stdout or "{}")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"go mod download {_MODULE}: {type(error).__name__}") from None
    if "Dir" not in found:
        # What Go says may name the address of a proxy.
        raise ToolchainError(f"go mod download {_MODULE} failed: check the network")
    return Path(found["Dir"]) / "config" / "crd" / "standard"
