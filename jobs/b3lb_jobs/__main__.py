"""``python -m b3lb_jobs`` is ``b3lb-job``."""

from __future__ import annotations

import sys

from b3lb_jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
