"""Files that other programs have changed, found without reading every file all the time."""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from storage.files.folders import is_listed

try:
    from inotify_simple import INotify, flags
except ImportError:  # not on Linux
    INotify = None

_LOG = logging.getLogger(__name__)

# Seconds between two looks at all files: changes by other hosts that share the folder cause no event.
_ROUND_S: Final = 30.0
# The same without events of the system. Looks take at most one part in `_SHARE` of the time.
_ROUND_WITHOUT_EVENTS_S: Final = 0.5
_SHARE: Final = 20

Name = tuple[str, str]
"""a folder and a file in it"""


class Watch:
    """Reports changed files in some folders, until they are settled."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._events: INotify | None = None
        self._names: dict[int, str] = {}
        self._pending: dict[Name, int] = {}
        self._heard = 0
        self._due_s = 0.0
        self.has_looked = False

    def begin(self) -> None:
        """Listen from now on; every file must be looked at after this."""
        with self._lock:
            self._stop()
            self.has_looked = False
            if INotify is None:
                return
            try:
                self._events = INotify()
                wanted = flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE
                wanted |= flags.ATTRIB | flags.MOVE_SELF
                for name, path in self._folders.items():
                    self._names[self._events.add_watch(path, wanted)] = name
            except OSError as exc:
                _LOG.warning("no inotify (%s): the server scans the folders for changed files", exc.strerror)
                self._stop()

    def is_due(self) -> bool:
        """Return whether every file must be looked at."""
        return not self.has_looked or time.monotonic() >= self._due_s

    def completed(self, duration_s: float) -> None:
        """Record that a look at every file has ended, and its duration."""
        shortest = _ROUND_S if self._events is not None else _ROUND_WITHOUT_EVENTS_S
        self._due_s = time.monotonic() + max(shortest, _SHARE * duration_s)
        self.has_looked = True

    def changed(self) -> dict[Name, int]:
        """Return the files that may have changed, with a number for `settled`."""
        with self._lock:
            if self._events is None:
                return {}
            for event in self._events.read(timeout=0):
                if event.mask & (flags.Q_OVERFLOW | flags.IGNORED | flags.MOVE_SELF):
                    self.has_looked = False
                elif event.name and is_listed(event.name):
                    self._heard += 1
                    self._pending[self._names[event.wd], event.name] = self._heard
            return dict(self._pending)

    def settled(self, changed: Mapping[Name, int]) -> None:
        """Forget changes, except of files that have changed again."""
        with self._lock:
            for name, number in changed.items():
                if self._pending.get(name) == number:
                    del self._pending[name]

    def close(self) -> None:
        """Stop listening."""
        with self._lock:
            self._stop()
            self.has_looked = False

    def _stop(self) -> None:
        if self._events is not None:
            self._events.close()
        self._events, self._names, self._pending = None, {}, {}
