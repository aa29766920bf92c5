"""The audit trail of a base, put together: what it logs beside changes of resources, and its export."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from app.configuration.settings import BaseSettings, SettingsError
from app.protocol.audit_log import AuditLog
from app.protocol.failed_logins import FailedLogins
from app.protocol.keys import Purpose
from app.wiring.state import State
from set_delivery.audit_export import AuditExport
from set_delivery.change_log import ChangeLog
from set_delivery.collectors import SYSLOG_PORTS, Collector, HttpCollector, SyslogCollector

_NEEDS_LOG: Final = "needs the change log, which the server does not keep here: set CHANGE_LOG=on"


@dataclass(frozen=True)
class Audit:
    """What appends to the change log beside writes, and the export of the log.

    `failed_logins` are None where no log is kept, `reads` where they are not logged, and `export` without a
    collector.
    """

    log: AuditLog
    reads: AuditLog | None = None
    failed_logins: FailedLogins | None = None
    export: AuditExport | None = None


def audit_log(state: State) -> AuditLog:
    """Return what a command appends rows with, without the other parts of a base."""
    return AuditLog(ChangeLog(state.database) if state.keeps_history else None)


def open_audit(settings: BaseSettings, state: State, log: ChangeLog) -> Audit:
    """Return the audit trail of a base. Raises SettingsError for a setting that needs a log, without one."""
    if not state.keeps_history:
        wanted = {"AUDIT_READS": settings.audit_reads, "AUDIT_EXPORT_URL": settings.audit_export_url}
        if problems := [f"{name}: {_NEEDS_LOG}" for name, value in wanted.items() if value]:
            raise SettingsError(problems)
        return Audit(AuditLog(None))
    rows = AuditLog(log)
    # The first key: a fingerprint changes with it.
    key = next(iter(state.keys.derived(Purpose.FINGERPRINTS)), None)
    return Audit(
        rows,
        rows if settings.audit_reads else None,
        FailedLogins(rows.append_failed, state.database.close, key),
        _export(settings, state, log),
    )


def _export(settings: BaseSettings, state: State, log: ChangeLog) -> AuditExport | None:
    url = settings.audit_export_url
    if not url:
        return None
    collector: Collector = HttpCollector(url, settings.audit_export_token)
    if urlsplit(url).scheme in SYSLOG_PORTS:
        collector = SyslogCollector(url)
    export = AuditExport(state.database, log, collector)
    export.prepare()
    # Connections do not survive a fork, and this may happen before one.
    state.database.close()
    return export
