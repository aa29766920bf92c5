"""Deviations of clients from the RFCs that were accepted: counted, and logged once per client and kind."""

import logging
from threading import Lock
from typing import Final

from telemetry.catalogue import TOLERANCES
from telemetry.current import current
from telemetry.metrics import bounded

_LOG = logging.getLogger(__name__)

# Clients are as many as the operator makes.
_MOST: Final = 1000
_logged: set[tuple[str, str]] = set()
_logging = Lock()


def accepted(kind: str) -> None:
    """Count a deviation of the client at hand; `kind` is a word of this program, no text of the client.

    Without a client, as in a command or at the start, nothing is counted or logged.
    """
    activity = current.get()
    client = activity.principal if activity is not None else ""
    if not client:
        return
    TOLERANCES.inc(kind, bounded(client))
    key = client, kind
    if key in _logged:
        return
    with _logging:
        is_new = key not in _logged and len(_logged) < _MOST
        if is_new:
            _logged.add(key)
    if is_new:
        _LOG.info("a request of the client %s deviates from the RFCs and is accepted: %s", client, kind)
