"""Whose a file is that cannot be written: what this server says, and what helps."""

import os
from pathlib import Path


def is_foreign(path: Path) -> bool:
    """Return whether a file or folder belongs to another user than this process runs as."""
    try:
        return path.stat().st_uid != os.geteuid()
    except OSError:
        return False


def advice(*paths: Path) -> str:
    """Return, as the end of a message, how to make the first of `paths` writable that is not ours."""
    for path in paths:
        if is_foreign(path) and not os.access(path, os.W_OK):
            user = os.geteuid()
            return f"; {path} belongs to user {path.stat().st_uid}: run chown -R {user} {path}"
    return ""


def is_full(path: Path) -> bool:
    """Return whether the disk of `path` has no room for a database to go on (64 KiB)."""
    try:
        room = os.statvfs(path)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < 64 * 1024


def is_meant_read_only(path: Path) -> bool:
    """Return whether `path` lies on a mount that is read-only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
