"""The command `scim adopt`: entries of other programs become resources of this server."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import click
import orjson

from app import configure_log
from app.configuration.settings import Settings
from app.protocol.adoption import Found, foreign_entries
from app.protocol.context import system
from app.server.problems import problems_said
from app.wiring.base import Base, open_base
from schema.errors import InvalidFilter
from storage.errors import (
    ResourceNotFound,
    StorageReadOnly,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)
from storage.shared_options import Foreign

# After one of these, the next entry may succeed.
_FAILED = (
    ResourceNotFound,
    StorageReadOnly,
    UniquenessConflict,
    UnsupportedByBackend,
    ValueRefused,
    VersionMismatch,
)


@click.command()
@click.argument("filter_", metavar="FILTER")
@click.option("--resource-type", "type_name", metavar="TYPE", help="Only entries of a type, such as Group.")
@click.option("--dry-run", is_flag=True, help="List the entries, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each entry, one per line.")
def adopt(filter_: str, type_name: str | None, dry_run: bool, as_json: bool) -> None:
    """Adopt users and groups that other programs made in a directory, an iRODS zone or JumpCloud.

    FILTER is a filter of SCIM, such as 'userName sw "a"'; 'id pr' finds all. It finds entries of other
    programs only, whatever FOREIGN_ENTRIES is. They get the marks of this server: from then on clients
    can change and delete them. Their attributes and members stay. A member that another program made
    needs an adoption of its own.

    The change log gets a row of the kind adopt for each of them; no event tells of it. The command can
    be repeated. The exit code is 1 if an entry could not be adopted: standard error names it with the
    cause. It is 2 for an invalid FILTER or TYPE, and for a storage without entries of other programs.
    """
    failed = done = 0
    with _base() as base:
        context = system()
        for resource_type, stored in _found(base, filter_, type_name):
            shown = _shown((resource_type, stored), as_json)
            try:
                if not dry_run:
                    base.imports.adopt(context, resource_type, stored)
            except _FAILED as problem:
                failed += 1
                click.echo(f"{resource_type.name}/{stored.id}: {problem}", err=True)
                continue
            done += 1
            click.echo(shown)
    click.echo(f"found {done}" if dry_run else f"adopted {done}, failed {failed}", err=as_json)
    sys.exit(1 if failed else 0)


@contextmanager
def _base() -> Iterator[Base]:
    """Yield the base of the settings, with entries of other programs in view."""
    with problems_said():
        settings = Settings.from_env()
        configure_log(settings)
        name, options = settings.backend
        if not isinstance(options, Foreign):
            raise click.UsageError(f"the storage {name} has no entries of other programs.")
        reading: Any = replace(cast(Any, options), foreign_entries="read")
        base = open_base(replace(settings, backends={**settings.backends, name: reading}))
        try:
            yield base
        finally:
            base.delivery.database.close()
            base.adapter.close()


def _found(base: Base, text: str, type_name: str | None) -> list[Found]:
    types = base.registry.resource_types
    if type_name is not None:
        wanted = base.registry.resource_type(type_name)
        if wanted is None:
            names = ", ".join(resource_type.name for resource_type in types)
            raise click.BadParameter(f"{type_name} is none of {names}", param_hint="--resource-type")
        types = (wanted,)
    try:
        return list(foreign_entries(base.registry, base.adapter, text, types))
    except InvalidFilter as exc:
        raise click.BadParameter(str(exc), param_hint="FILTER") from exc


def _shown(found: Found, as_json: bool) -> str:
    resource_type, stored = found
    name = resource_type.display(stored.document) or ""
    if as_json:
        return orjson.dumps({"resourceType": resource_type.name, "id": stored.id, "name": name}).decode()
    return f"{resource_type.name}/{stored.id}\t{name if name.isprintable() else ascii(name)}"
