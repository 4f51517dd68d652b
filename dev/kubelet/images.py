"""Images without a registry: a JSON file says which local program an image name stands for.

.. code-block:: json

   {"b3lb-jobs:test": {"path": ["/opt/b3lb/bin"], "entrypoint": ["b3lb-job"], "env": {"B3LB_LOG_FORMAT": "console"},
                       "workingDir": "/opt/b3lb", "keep": ["/opt/b3lb"], "stopSignal": "SIGINT"}}

All keys are optional. ``path`` is put in front of ``PATH``. ``$(POD_IP)`` in a value of ``env`` is the pod's address:
a server that listens everywhere in its real image listens there. ``keep`` lists directories of this machine that the
programs need and that stay visible when a volume is mounted above them; ``workingDir``, the directories of ``path``
and, if those are called ``bin``, the directories around them do anyway.
"""

import json
import logging
import signal
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Image:
    """What an image name stands for."""

    path: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    keep: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def visible(self) -> list[str]:
        """Directories that no volume hides."""
        around = [str(Path(path).parent) for path in self.path if Path(path).name == "bin"]
        directory = [self.working_directory] if self.working_directory else []
        return [*around, *self.path, *directory, *self.keep]


class ImageFileError(ValueError):
    """The image file is not what it should be; the message says where."""


def parse_images(text: str) -> dict[str, Image]:
    """The images of an image file's text.

    Raises:
        ImageFileError: it is not JSON, or an image has an unknown key or a value of the wrong type.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ImageFileError(f"it is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ImageFileError("it is not an object of images")
    return {name: _image(name, entry) for name, entry in content.items()}


def _image(name: str, entry: object) -> Image:
    if not isinstance(entry, dict):
        raise ImageFileError(f"{name}: not an object")
    unknown = set(entry) - {"path", "entrypoint", "env", "workingDir", "keep", "stopSignal"}
    if unknown:
        raise ImageFileError(f"{name}: unknown keys {', '.join(sorted(unknown))}")
    environment, directory = entry.get("env", {}), entry.get("workingDir")
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise ImageFileError(f"{name}: env is not an object of strings")
    if directory is not None and not isinstance(directory, str):
        raise ImageFileError(f"{name}: workingDir is not a string")
    return Image(
        path=_strings(name, entry, "path"),
        entrypoint=_strings(name, entry, "entrypoint"),
        environment=environment,
        working_directory=directory,
        keep=_strings(name, entry, "keep"),
        stop_signal=_signal(name, entry),
    )


def _signal(name: str, entry: dict[str, object]) -> signal.Signals:
    try:
        return signal.Signals[str(entry.get("stopSignal", "SIGTERM"))]
    except KeyError:
        raise ImageFileError(f"{name}: stopSignal is not the name of a signal") from None


def _strings(name: str, entry: dict[str, object], key: str) -> tuple[str, ...]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ImageFileError(f"{name}: {key} is not a list of strings")
    return tuple(value)


class ImageFile:
    """The image file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._images: dict[str, Image] = {}
        self._read: tuple[int, int, int] | None = None
        self._problem = ""

    def find(self, name: str) -> Image | None:
        """The image of exactly this name, None if the file does not have it.

        A file that cannot be read or is wrong changes nothing; the log says so once.
        """
        try:
            status = self.path.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version != self._read:
                self._read = version
                self._images = parse_images(self.path.read_text(encoding="utf-8"))
                self._problem = ""
        except (OSError, ValueError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                logger.warning("the image file %s is not used: %s", self.path, error)
        return self._images.get(name)
