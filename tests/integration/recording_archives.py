"""Archives of recordings as BBB nodes send them."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from dev.debian import debian_program
from dev.recordings.options import Options
from dev.recordings.writing import write_archive, write_recording

SHORT = Options(seconds=2, slides=1, shapes=4, zooms=0, moves=4, screen_shares=0, width=320, height=240)


def recording_archive(folder: Path, **changes: Any) -> bytes:
    """Return the archive of a recording of two seconds; ``folder`` gets its files."""
    debian_program("ffmpeg", "ffmpeg")
    debian_program("rsvg-convert", "librsvg2-bin")
    stream = io.BytesIO()
    write_recording(folder, replace(SHORT, **changes))
    write_archive(folder, stream)
    return stream.getvalue()
