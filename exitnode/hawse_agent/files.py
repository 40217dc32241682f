"""The agent's files: where they are, private modes, writing that never leaves half a file.

Directories are 0700 and files 0600. A mode that is too wide is corrected and the correction is told to the caller (the
person should know that others could read it); a file of somebody else, or a link in
place of one, is refused. Knows no content: credentials.py,
running.py and config.py do.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from hawse_agent.errors import AgentError
from hawse_api import names

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
_OTHERS = 0o077
_UNREADABLE = names.BY_NAME["CONFIG_UNREADABLE"].code

Tell: TypeAlias = Callable[[str], None]
"""Where corrections are told: the person should know."""


def config_directory(environ: Mapping[str, str]) -> Path:
    """$HAWSE_CONFIG_DIR, else $XDG_CONFIG_HOME/hawse, else ~/.config/hawse."""
    if own := environ.get("HAWSE_CONFIG_DIR"):
        return Path(own).expanduser()
    if xdg := environ.get("XDG_CONFIG_HOME"):
        return Path(xdg) / "hawse"
    return Path(environ.get("HOME") or "~").expanduser() / ".config" / "hawse"


def make_private_directory(path: Path, tell: Tell) -> None:
    """Create the directory (0700), or correct the modes of ours.

    Raises:
        AgentError: it cannot be made, or belongs to somebody else.
    """
    try:
        path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise _unreadable(path, "is not a directory")
        _own(path, found)
        if stat.S_IMODE(found.st_mode) & _OTHERS:
            path.chmod(PRIVATE_DIRECTORY)
            tell(f"{path} was open to other users ({_mode(found)}); corrected to 0700.")
    except OSError as exc:
        raise _unreadable(path, _reason(exc)) from exc


def read_private(path: Path, *, limit_bytes: int, tell: Tell, follow_link: bool = False) -> bytes | None:
    """Content of a private file, or None if there is none. Corrects its mode; see the module.

    `follow_link`: for files that the person named, such as those of a mounted Secret, which are links.

    Raises:
        AgentError: a link, not a regular file, not ours, too large or unreadable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_link else os.O_NOFOLLOW))
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise _unreadable(path, "is a symbolic link, not a file") from exc
        raise _unreadable(path, _reason(exc)) from exc
    try:
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise _unreadable(path, "is not a regular file")
            _own(path, found)
            if stat.S_IMODE(found.st_mode) & _OTHERS:
                tell(_close_to_others(path, descriptor, found, named=follow_link))
            content = file.read(limit_bytes + 1)
    except OSError as exc:
        raise _unreadable(path, _reason(exc)) from exc
    if len(content) > limit_bytes:
        raise _unreadable(path, f"is larger than {limit_bytes} bytes")
    return content


def write_private(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace the file in one step; readers see the old content or the new, never half. Mode 0600.

    `durable`: also survives a power cut; costs a sync, so not for what is written every second.
    """
    try:
        # mkstemp makes it 0600, whatever the umask says.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise unwritable(path, exc) from exc


def unwritable(path: Path, exc: OSError) -> AgentError:
    """What to say of a file that cannot be written."""
    return AgentError(
        f"{path} cannot be written: {_reason(exc)}. Check the directory, or set HAWSE_CONFIG_DIR.", code=_UNREADABLE
    )


def _close_to_others(path: Path, descriptor: int, found: os.stat_result, *, named: bool) -> str:
    """Correct the mode; what to tell. A file that the person named may be a mounted Secret, where nobody can."""
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
    except OSError as exc:
        why = f"can be read by other users ({_mode(found)}), and that cannot be corrected: {_reason(exc)}"
        if named:
            return f"{path} {why}. Where it is mounted from, give it mode 0600."
        raise AgentError(
            f"{path} {why}. Give it mode 0600 where it is mounted from, or set HAWSE_CONFIG_DIR.", code=_UNREADABLE
        ) from exc
    return (
        f"{path} could be read by other users ({_mode(found)}); corrected to 0600. "
        "If somebody else uses this machine, log in again with a new token."
    )


def _own(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise _unreadable(path, f"belongs to another user (uid {found.st_uid})")


def _unreadable(path: Path, why: str) -> AgentError:
    return AgentError(f"{path}: {why}. Remove it or set HAWSE_CONFIG_DIR to a directory of yours.", code=_UNREADABLE)


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"


def _reason(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
