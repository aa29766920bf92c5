"""The commands `scim owner`: which client owns which resources, and another owner for them."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import click
import orjson

from app import configure_log
from app.configuration.settings import Settings
from app.protocol.context import SCOPES, Context, Principal, system
from app.server.problems import problems_said
from app.wiring.base import Base, open_base
from schema.resource_type import ResourceType
from storage.adapter import Selection, StoredResource
from storage.errors import ResourceNotFound, UniquenessConflict, VersionMismatch

_NOBODY = "-"
# After one of these, the next resource may be handed over.
_FAILED = (ResourceNotFound, UniquenessConflict, VersionMismatch)


@click.group()
def owner() -> None:
    """List the owners of resources, and hand resources over to another owner.

    A client with a token that is --own-only owns the resources that it creates, and sees no other resource.
    Resources of other clients have no owner.
    """


@owner.command("list")
@click.argument("owner_id", metavar="[OWNER]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each line.")
def list_owners(owner_id: str | None, as_json: bool) -> None:
    """Count the resources of each owner, or list the resources of OWNER.

    OWNER is the id of a client. Without OWNER the command reads every resource; "-" counts the resources
    without owner.
    """
    with _base() as base:
        if owner_id is not None:
            for resource_type, stored in _owned(base, owner_id):
                name = resource_type.display(stored.document) or ""
                if as_json:
                    shown = {"resourceType": resource_type.name, "id": stored.id, "name": name}
                    click.echo(orjson.dumps(shown))
                else:
                    printed = name if name.isprintable() else ascii(name)
                    click.echo(f"{resource_type.name}/{stored.id}\t{printed}")
            return
        counts: Counter[tuple[str | None, str]] = Counter()
        for resource_type in base.registry.resource_types:
            found = base.resources.scan(system(), resource_type)
            counts.update((one.owner, resource_type.name) for one in found)
        for (known, type_name), count in sorted(counts.items(), key=lambda entry: entry[0][0] or ""):
            if as_json:
                click.echo(orjson.dumps({"owner": known, "resourceType": type_name, "count": count}))
            else:
                click.echo(f"{known or _NOBODY}\t{type_name}\t{count}")


@owner.command("hand-over")
@click.argument("owner_id", metavar="OWNER")
@click.option("--to", "other", metavar="OWNER", help="The id of the token that owns the resources then.")
@click.option("--to-nobody", is_flag=True, help="The resources have no owner then.")
@click.option("--resource", metavar="TYPE/ID", help="Hand over this resource only, such as User/2819c223.")
def hand_over(owner_id: str, other: str | None, to_nobody: bool, resource: str | None) -> None:
    """Hand the resources of OWNER over to another client, or to nobody.

    "-" as the OWNER stands for the resources without owner; then --resource is required. Each resource gets
    a new version, and the change log a row of the kind hand-over; no event tells of it. The command can be
    repeated. The exit code is 1 if a resource stays: the new owner has a resource with its externalId.
    """
    if (other is None) is not to_nobody:
        raise click.UsageError("one of --to and --to-nobody is required.")
    if owner_id == _NOBODY and resource is None:
        raise click.UsageError("--resource is required for resources without owner.")
    context, failed, done = system(), 0, 0
    with _base() as base:
        tokens = base.credentials.tokens
        if other is not None and (tokens is None or tokens.current(other) is None):
            raise click.BadParameter(f"there is no token with the id {other[:100]!r}", param_hint="--to")
        chosen = _owned(base, owner_id) if resource is None else [_named(base, owner_id, resource)]
        for resource_type, stored in chosen:
            try:
                base.imports.hand_over(context, resource_type, stored, other)
            except _FAILED as problem:
                failed += 1
                click.echo(f"{resource_type.name}/{stored.id}: {problem}", err=True)
            else:
                done += 1
    click.echo(f"handed over {done}, failed {failed}")
    sys.exit(1 if failed else 0)


@contextmanager
def _base() -> Iterator[Base]:
    """Yield the base of the settings. The program ends where the storage keeps no owners."""
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        base = open_base(settings)
        try:
            if not base.adapter.capabilities.owners:
                raise click.UsageError(f"the storage {settings.backend[0]} keeps no owners.")
            yield base
        finally:
            base.delivery.database.close()
            base.adapter.close()


def _owned(base: Base, owner_id: str) -> list[tuple[ResourceType, StoredResource]]:
    """Return what the client with this id sees."""
    context = Context(Principal(owner_id, owner_id, "system", SCOPES, own_only=True), origin="system")
    types = base.registry.resource_types
    return [(one, stored) for one in types for stored in base.resources.page(context, one, Selection())[0]]


def _named(base: Base, owner_id: str, name: str) -> tuple[ResourceType, StoredResource]:
    type_name, _, resource_id = name.partition("/")
    resource_type = base.registry.resource_type(type_name)
    if resource_type is None or not resource_id:
        raise click.BadParameter(f"{name} is not a resource type and an id, such as User/2819c223")
    try:
        stored = base.resources.get(system(), resource_type, resource_id)
    except ResourceNotFound as exc:
        raise click.BadParameter(f"there is no {name}") from exc
    if (stored.owner or _NOBODY) != owner_id:
        raise click.BadParameter(f"the owner of {name} is {stored.owner or 'nobody'}")
    return resource_type, stored
