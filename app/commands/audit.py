"""The commands `scim audit`: the change log, for operators and auditors."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from app import configure_log
from app.configuration.settings import Settings
from app.protocol.audit_log import AuditLog
from app.protocol.context import system
from app.server.problems import problems_said
from app.wiring.base import open_base
from schema.values import parse_date_time
from set_delivery.change_line import EPOCH, json_line, parsed, shown_time
from set_delivery.change_log import ChangeLog, Head, LoggedChange
from set_delivery.change_order import ChangeOrder
from set_delivery.change_verification import LogBroken

# A row may have values of a megabyte and more.
_BATCH: Final = 100
_WAITING: Final = "scim: {} changes have no position yet: the server, or scim worker, gives them one"
_NO_LOG: Final = "scim: there is no change log: set CHANGE_LOG=on"
_NOT_THERE: Final = (
    "scim: the log has no position {after}: its last one is {last}. After a restored backup, compare the log"
    " with an earlier head (scim audit verify --head), and export it anew without --after"
)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _instant(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return an instant in milliseconds since 1970; a span is that long before now."""
    if value is None:
        return None
    span = re.fullmatch("([0-9]+)([smhdw])", value)
    try:
        if span is not None:
            instant = datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
        else:
            instant = parse_date_time(value)
    except (OverflowError, ValueError) as exc:
        raise click.BadParameter(
            f"{value} is neither a time such as 2026-01-31T12:00:00Z nor a span such as 2d"
        ) from exc
    return (instant - EPOCH) // timedelta(milliseconds=1)


def _resource(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, str] | None:
    if value is None:
        return None
    resource_type, _, resource_id = value.partition("/")
    if not (resource_type and resource_id):
        raise click.BadParameter(f"{value} is not a resource type and an id, such as User/2819c223")
    return resource_type, resource_id


def _head(context: click.Context, parameter: click.Parameter, value: str | None) -> Head | None:
    if value is None:
        return None
    found = re.fullmatch("([0-9]{1,18}):([0-9a-f]{64})", value)
    if found is None:
        raise click.BadParameter(f"{value} is not a position and a hash of 64 hexadecimal digits")
    return Head(int(found[1]), found[2])


@click.group()
def audit() -> None:
    """List, export, verify and sign the change log."""


@audit.command("list")
@click.option(
    "--resource",
    callback=_resource,
    metavar="TYPE/ID",
    help="List only the changes of this resource, such as User/2819c223.",
)
@click.option(
    "--since",
    callback=_instant,
    metavar="TIME",
    help="List only changes from a time (2026-01-31T12:00:00Z) or of a span until now (30m, 12h, 2d, 1w).",
)
@click.option(
    "--until",
    callback=_instant,
    metavar="TIME",
    help="List only changes before a time, or older than a span.",
)
@click.option("--limit", type=click.IntRange(1, 2**31), default=50, help="List at most so many changes (50).")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line, as the export does.")
def list_changes(
    resource: tuple[str, str] | None, since: int | None, until: int | None, limit: int, as_json: bool
) -> None:
    """List changes, newest first.

    The columns are separated by tabs: position, time in UTC, client, kind, resource, externalId,
    attributes, origin, address of the client, and transaction (txn). A value that is absent is -.
    """
    with _change_log() as (log, _):
        for change in log.newest(limit, resource, since, until):
            click.echo(json_line(change).decode() if as_json else _line(change), nl=not as_json)


@audit.command("export")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Write only changes behind a position.")
def export_changes(after: int) -> None:
    """Write the changes to standard output, one JSON object per line, in the order of their positions.

    Standard error has the last position and its hash at the end: store them outside of the database,
    for --head of the command verify.

    The exit code is 1 if --after is behind the last position, as it is after a restored backup.
    """
    out = sys.stdout.buffer
    with _change_log() as (log, order):
        end = head = order.head()
        if after > end.position:
            click.echo(_NOT_THERE.format(after=after, last=end.position), err=True)
            sys.exit(1)
        position = after
        while position < end.position and (changes := log.after(position, _BATCH)):
            if position == after and after and changes[0].position != after + 1:
                click.echo(f"scim: the first position behind {after} is {changes[0].position}", err=True)
            out.write(b"".join(map(json_line, changes)))
            head = Head(changes[-1].position or 0, changes[-1].hash or "")
            position = head.position
        out.flush()
    click.echo(f"head: {_shown(head)}", err=True)


@audit.command("verify")
@click.option(
    "--head",
    callback=_head,
    metavar="POSITION:HASH",
    help="Compare the log with a head that an earlier command printed.",
)
def verify_log(head: Head | None) -> None:
    """Verify that the changes are those that the server has logged.

    The exit code is 1 if the log was changed; each line names a position and what is wrong there. Store
    the head that the command prints outside of the database, for --head of the next verification.
    """
    with _change_log() as (log, order):
        last = order.head()
        first = next((one.position or 0 for one in log.after(0, 1)), last.position + 1)
        length = last.position + 1 - first
        with click.progressbar(length=length, label="verifying", file=sys.stderr) as bar:
            problems = order.verify(head, bar.update)
    for problem in problems:
        click.echo(f"position {problem.position}: {problem.text}")
    if problems:
        click.echo("the log does not verify")
        sys.exit(1)
    if head is not None and 0 < head.position < first - 1:
        click.echo(f"position {head.position} is trimmed: the log has nothing to compare --head with")
    click.echo(f"the log verifies, positions {first} to {last.position}" if length else "the log is empty")
    click.echo(f"head: {_shown(last)}")


@audit.command("erase")
@click.option(
    "--resource",
    callback=_resource,
    metavar="TYPE/ID",
    required=True,
    help="Erase the values of this resource, such as User/2819c223.",
)
def erase_values(resource: tuple[str, str]) -> None:
    """Erase the logged values of a resource (AUDIT_VALUES=values); the log still verifies.

    The rows stay: who changed which attributes, when and from where. A row of the kind erase says that the
    values were erased.
    """
    with _change_log() as (log, _), log.transaction():
        count = log.erase_values(*resource)
        if count:
            AuditLog(log).append(system(), "erase", resource)
    click.echo(f"the values of {count} changes are erased")


@audit.command("checkpoint")
def sign_head() -> None:
    """Verify the log and sign its last position, so that a later change of the log before it is found.

    The command signs with a key from SECRET_KEYS, or from the secret in the state database. It also signs the
    checkpoints of earlier secrets anew, so that these can be removed.
    """
    with _change_log() as (_, order):
        try:
            head = order.checkpoint()
        except LogBroken as exc:
            sys.exit(f"scim: the log does not verify, nothing is signed: {exc}")
        except ValueError as exc:
            sys.exit(f"scim: {exc}: set SECRET_KEYS")
    click.echo(f"signed head: {_shown(head)}" if head.position else "the log is empty")


@contextmanager
def _change_log() -> Iterator[tuple[ChangeLog, ChangeOrder]]:
    """Yield the log and its order; the program ends where there is no log.

    It gives no positions: only the server knows who is to receive the events of a change.
    """
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        base = open_base(settings)
        try:
            if not base.delivery.keeps_history:
                click.echo(_NO_LOG, err=True)
                sys.exit(2)
            if waiting := base.delivery.order.waiting():
                click.echo(_WAITING.format(waiting), err=True)
            yield base.delivery.log, base.delivery.order
        finally:
            base.delivery.database.close()
            base.adapter.close()


def _line(change: LoggedChange) -> str:
    entry = change.entry
    paths = parsed(entry.paths)
    fields = (
        str(change.position),
        shown_time(entry.at),
        entry.principal,
        entry.kind,
        f"{entry.resource_type}/{entry.resource_id}" if entry.resource_type else None,
        entry.external_id,
        ", ".join(map(str, paths)) if isinstance(paths, list) else entry.paths,
        entry.origin,
        entry.address,
        entry.txn,
    )
    return "\t".join(_printable(field or "-") for field in fields)


def _printable(text: str) -> str:
    """Return `text` without what would move the cursor of a terminal or add a column: clients chose it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _shown(head: Head) -> str:
    return f"{head.position}:{head.hash}"
