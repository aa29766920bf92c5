"""The commands `scim guard`: clients that the deprovisioning guard watches and stops."""

import sys

import click
import orjson

from app.commands.opening import opened_state
from set_delivery.change_line import shown_time
from set_delivery.deprovisions import DeprovisionTable


@click.group()
def guard() -> None:
    """List and release the clients that the deprovisioning guard has stopped (DEPROVISION_LIMIT)."""


@guard.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line.")
def list_windows(as_json: bool) -> None:
    """List the clients that have deleted or deactivated resources.

    The columns are separated by tabs: the id of the client, the resource type, open or closed, the number of
    deletions and deactivations, and the begin of the window in UTC.
    """
    with opened_state() as (state, _):
        windows = DeprovisionTable(state.database).windows()
    for one in windows:
        since = shown_time(one.since)
        shown_as = "open" if one.closed_at is None else "closed"
        if as_json:
            shown = {"client": one.principal, "resourceType": one.resource_type, "state": shown_as}
            click.echo(orjson.dumps({**shown, "count": one.removed, "since": since}))
        else:
            click.echo(f"{one.principal}\t{one.resource_type}\t{shown_as}\t{one.removed}\t{since}")


@guard.command()
@click.argument("client")
def release(client: str) -> None:
    """Let CLIENT delete and deactivate again: a new window begins. CLIENT is an id of scim guard list."""
    with opened_state() as (state, _):
        released = DeprovisionTable(state.database).release(client)
    if not released:
        sys.exit(f"scim: the guard has not stopped {client}")
    click.echo(f"released {client}")
