"""``python -m dev.images``: builds both images, checks them from inside, prints their sizes."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from b3lb import __version__
from dev.images.checks import IMAGES, check
from dev.images.commands import ImagesError, run, say
from dev.images.engines import ROOT, find_engine
from dev.images.secrets import build_secrets, index_hosts, read_pip_settings

_MEGABYTE = 1_000_000


def main() -> int:
    """Build and check; return 0, or 1 if something is wrong with an image or it could not be built."""
    argparse.ArgumentParser(prog="python -m dev.images", description=__doc__).parse_args()
    try:
        return _main()
    except ImagesError as error:
        say(f"images: {error}")
        return 1


def _main() -> int:
    engine = find_engine()
    engine.prepare()
    settings = read_pip_settings()
    forbidden = index_hosts(settings)
    arguments = {"VERSION": __version__, "REVISION": _revision()}
    wrong = False
    with tempfile.TemporaryDirectory(prefix="b3lb-images-") as directory:
        secrets = build_secrets(settings, Path(directory))
        for image in IMAGES:
            name = f"{image.target}:{__version__}"
            began = time.monotonic()
            say(f"images: building {name}")
            engine.build(image.target, name, arguments=arguments, secrets=secrets)
            built = time.monotonic()
            problems, seen = check(engine, image, name, version=__version__, forbidden=forbidden)
            print(
                f"{name}: {engine.size(name) / _MEGABYTE:.0f} MB, {seen}; built in {built - began:.0f} s, "
                f"checked in {time.monotonic() - built:.0f} s"
            )
            for problem in problems:
                print(f"{name}: {problem}")
                wrong = True
    return int(wrong)


def _revision() -> str:
    """The commit, with ``-dirty`` if files differ from it; ``unknown`` outside a checkout."""
    try:
        commit = run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"], seconds=30
        )
    except ImagesError:
        return "unknown"
    return commit.strip()


if __name__ == "__main__":
    sys.exit(main())
