"""Whose a file is that cannot be written: what this server says, and what helps."""

import os
import shlex
from pathlib import Path


def is_foreign(path: Path) -> bool:
    """Return whether a file or folder belongs to another user than this process runs as."""
    try:
        return path.stat().st_uid != os.geteuid()
    except OSError:
        return False


def advice(folder: Path, *others: Path) -> str:
    """Return, as the end of a message, the command that makes a folder, or other paths, writable.

    The text is empty where another user owns none of them. For a folder that does not exist, the owner
    of the folder in which it is missing counts.
    """
    user = os.geteuid()
    for path in (folder, *others):
        # A command must not give away the whole system.
        if _is_withheld(path) and path.absolute() != Path(path.absolute().anchor):
            return _remedy(path, f": run chown -R {user} {_quoted(path)}")
    above = next((path for path in folder.absolute().parents if os.path.exists(path)), folder)
    if not os.path.exists(folder) and _is_withheld(above):
        return _remedy(above, f": run install -d -o {user} {_quoted(folder)}")
    return ""


def _is_withheld(path: Path) -> bool:
    return is_foreign(path) and not os.access(path, os.W_OK)


def _remedy(owned: Path, command: str) -> str:
    owner = owned.stat().st_uid
    start = f"or start the server as user {owner} (a container: --user {owner})"
    return f"; {owned.absolute()} belongs to user {owner}{command}, {start}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path.absolute()))


def is_full(path: Path) -> bool:
    """Return whether the disk of `path` has no room for a database to go on (64 KiB)."""
    try:
        room = os.statvfs(path)
    except OSError:
        return False
    # File systems without blocks, such as /proc, have no room and are not full.
    return room.f_blocks > 0 and room.f_bavail * room.f_frsize < 64 * 1024


def is_meant_read_only(path: Path) -> bool:
    """Return whether `path` lies on a mount that is read-only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
