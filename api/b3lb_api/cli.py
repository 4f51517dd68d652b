"""The command ``b3lb-api``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from b3lb import __version__, logs
from b3lb.settings import SettingsError, load_settings

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_SETTINGS = 78
"""EX_CONFIG of sysexits.h."""

_DESCRIPTION = """\
The front end of b3lb: takes recordings that BigBlueButton servers upload, and shows the videos made of them. It serves
HTTP until SIGTERM; put TLS in front of it. It is configured by the environment.
"""

_EPILOG = """\
environment:
  B3LB_DATABASE_URL         postgresql://user:password@host:port/database (needed)
  B3LB_ENCRYPTION_KEYS      id:base64[,id:base64...], keys of 32 bytes (needed)
  B3LB_NAMESPACE            namespace of the custom resources (default: the pod's)
  B3LB_STORAGE_DIRECTORY    directory for archives and videos, or:
  B3LB_S3_BUCKET, B3LB_S3_ENDPOINT, B3LB_S3_PUBLIC_ENDPOINT, B3LB_S3_REGION, B3LB_S3_ACCESS_KEY_ID,
  B3LB_S3_SECRET_ACCESS_KEY, B3LB_S3_PATH_STYLE (default: true), B3LB_S3_PART_MIB (default: 8)
  B3LB_HTTP_ADDRESS         where to listen (default: 0.0.0.0)
  B3LB_HTTP_PORT            (default: 8080)
  B3LB_METRICS_PORT         where /metrics, /livez and /readyz answer for the cluster alone (default: nowhere)
  B3LB_UPLOAD_MAX_BYTES     largest archive (default: 20 GiB)
  B3LB_UPLOADS_AT_ONCE      (default: 4)
  B3LB_UPLOAD_IDLE_SECONDS  within which an upload has to bring 64 KiB (default: 60)
  B3LB_PLAYBACKS_AT_ONCE    videos sent at once (default: 64)
  B3LB_PLAYBACK_IDLE_SECONDS     within which a player has to take 64 KiB (default: 60)
  B3LB_PLAYBACK_REDIRECT         whether players are sent to S3 itself (default: true)
  B3LB_PLAYBACK_SIGNED_LINKS     whether only signed links show a video (default: false)
  B3LB_PLAYBACK_LINK_MAX_SECONDS how far ahead a signed link may expire (default: 2592000, 30 days)
  B3LB_SHUTDOWN_SECONDS     how long uploads and playback may go on after SIGTERM (default: 25)
  B3LB_LOG_FORMAT           json (default) or console
  B3LB_LOG_LEVEL            debug, info (default), warning or error
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 (failure), 78 (settings)."""
    parser = argparse.ArgumentParser(
        prog="b3lb-api",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.parse_args(arguments)
    # Imports of a second that --help can do without.
    from b3lb.storage.settings import open_storage  # noqa: PLC0415
    from b3lb_api.server import serve  # noqa: PLC0415
    from b3lb_api.settings import ApiSettings  # noqa: PLC0415

    try:
        settings = load_settings(ApiSettings)
        storage = open_storage(settings)
    except SettingsError as error:
        print(f"b3lb-api: {error}", file=sys.stderr)  # noqa: T201 - one line for people, before any log
        return EXIT_SETTINGS
    logs.configure(settings.log_format, settings.log_level)
    return EXIT_OK if serve(settings, storage) else EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main())
