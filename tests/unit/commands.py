"""The command ``b3lb`` run within the test's process."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from b3lb_cli import cli


def b3lb(*arguments: str) -> tuple[int, str, str]:
    """Run the command; return exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = cli.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()
