"""Rows of the change log that are no change of a resource: reads, failed logins, erased values, tokens.

They have a place in the same order and in the same chain of hashes, and no events.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from app.protocol.changes import new_txn
from app.protocol.context import Context, Principal
from app.protocol.failed_logins import FailedLogin
from set_delivery.change_line import shown_time
from set_delivery.change_log import ChangeEntry, ChangeLog
from set_delivery.clock import now_ms

# The type and the id in a row without a resource.
_NOTHING: Final = ("", "")


class AuditLog:
    """Appends such rows; `log` is None where no change log is kept, and nothing is appended."""

    def __init__(self, log: ChangeLog | None) -> None:
        self._log = log

    def append(
        self,
        context: Context,
        kind: str,
        subject: tuple[str, str],
        details: Mapping[str, Any] | None = None,
        at: int | None = None,
    ) -> None:
        """Append a row, in the caller's transaction of the state database if there is one.

        `subject` is a resource type and an id, or the name of another kind of object and its name. `details`
        are JSON values without secrets; they are logged as the values after the change. `at` is in
        milliseconds since 1970, None for now.
        """
        if self._log is not None:
            values = None if details is None else (None, orjson.dumps(details).decode())
            self._log.append(_entry(context, kind, subject, at or now_ms()), values=values)

    def append_failed(self, logins: Sequence[FailedLogin]) -> None:
        """Append a row for each address and kind of credential, together."""
        if self._log is None:
            return
        with self._log.transaction():
            for one in logins:
                unknown = Principal("", "", one.scheme, credential=one.scheme)
                context = Context(unknown, address=one.address or "")
                self.append(context, "login-failed", _NOTHING, one.as_details(shown_time), one.first_at)


def _entry(context: Context, kind: str, subject: tuple[str, str], at: int) -> ChangeEntry:
    principal = context.principal
    return ChangeEntry(
        at,
        *subject,
        external_id=None,
        kind=kind,
        version=None,
        paths="[]",
        principal=principal.id or None,
        credential=principal.credential or None,
        address=context.address or None,
        origin=context.origin,
        txn=context.txn or new_txn(),
        request_id=context.request_id or None,
    )
