"""``python -m dev.recordings TARGET``: a folder, or an archive when the name ends with .tar."""

import argparse
import tempfile
from pathlib import Path

from dev.recordings.options import Generation, Options, Webcams
from dev.recordings.writing import write_archive, write_recording


def main() -> None:
    """Write one recording."""
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m dev.recordings", description="Writes a test recording.")
    parser.add_argument("target", type=Path, help="a new folder, or a file NAME.tar")
    parser.add_argument("--generation", type=Generation, choices=list(Generation), default=default.generation)
    parser.add_argument("--webcams", type=Webcams, choices=list(Webcams), default=default.webcams)
    parser.add_argument("--seconds", type=float, default=default.seconds)
    for name in ("seed", "slides", "shapes", "moves", "zooms", "screen_shares"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(default, name))
    arguments = vars(parser.parse_args())
    target: Path = arguments.pop("target")
    options = Options(**arguments)
    if target.suffix != ".tar":
        write_recording(target, options)
        return
    with tempfile.TemporaryDirectory() as folder, target.open("wb") as stream:
        write_recording(Path(folder), options)
        write_archive(Path(folder), stream)


if __name__ == "__main__":
    main()
