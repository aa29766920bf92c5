"""Operations that a PATCH passes over because no schema has their attribute: counted and logged."""

import json
import logging
from collections.abc import Iterable
from threading import Lock
from typing import Final

from telemetry.catalogue import IGNORED
from telemetry.metrics import bounded

_LOG = logging.getLogger(__name__)

# Clients choose the paths: what is remembered of them must not fill the memory or the log.
_MOST_PATHS: Final = 1000
_MOST_CHARACTERS: Final = 200


class IgnoredPaths:
    """Counts the operations that were passed over, and logs each path once for each client."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str, str]] = set()
        self._lock = Lock()

    def note(self, client: str, resource_type: str, paths: Iterable[str]) -> None:
        """Take note of the paths of the operations that one PATCH of a client passed over."""
        for path in paths:
            IGNORED.inc(bounded(client))
            key = client, resource_type, path[:_MOST_CHARACTERS]
            with self._lock:
                is_new = key not in self._logged and len(self._logged) < _MOST_PATHS
                if is_new:
                    self._logged.add(key)
            if is_new:
                # The path is the client's: as JSON it cannot break the line.
                _LOG.warning(
                    "the client %s patches %s of a %s, which no schema has: the operation is ignored",
                    *(key[0], json.dumps(key[2]), resource_type),
                )
