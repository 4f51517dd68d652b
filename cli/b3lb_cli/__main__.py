"""``python -m b3lb_cli`` is ``b3lb``."""

from __future__ import annotations

import sys

from b3lb_cli.cli import main

if __name__ == "__main__":
    sys.exit(main())
