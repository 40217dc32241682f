"""The last net: an exception nobody expected becomes one line for the person and a file with the traceback. Shell.

Called by __main__.py only. The file holds no secret that a traceback does not hold: values are not printed.
"""

import datetime as dt
import os
import platform
import tempfile
import traceback
from pathlib import Path

from hawse_agent import files, version

DIRECTORY = "logs"
_KEEP = 20


def report(error: BaseException, directory: Path, now: dt.datetime) -> Path | None:
    """Write the traceback; the file's path, or None if nowhere can be written."""
    text = (
        f"hawse {version.text()}, Python {platform.python_version()}, {platform.platform()}, {now.isoformat()}\n\n"
        + "".join(traceback.format_exception(error))
    )
    name = f"crash-{now:%Y%m%dT%H%M%S}-{os.getpid()}.log"
    for place in (directory / DIRECTORY, Path(tempfile.gettempdir())):
        try:
            place.mkdir(mode=files.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            path = place / name
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, files.PRIVATE_FILE), "w") as file:
                file.write(text)
        except OSError:
            continue
        for old in sorted(place.glob("crash-*.log"))[:-_KEEP]:
            old.unlink(missing_ok=True)
        return path
    return None
