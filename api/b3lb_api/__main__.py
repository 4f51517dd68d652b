"""Runs the command as ``python -m b3lb_api``."""

import sys

from b3lb_api.cli import main

sys.exit(main())
