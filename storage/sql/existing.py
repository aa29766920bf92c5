"""Tables in a database that cannot be written now: they are served when they are up to date."""

import logging
from collections.abc import Mapping, Sequence

from schema.resource_type import ResourceType
from storage.errors import StorageError, StorageReadOnly, StorageUnavailable
from storage.index.database import Database
from storage.index.generation import generation_of
from storage.index.lacking import listed_paths
from storage.index.layout import TypeLayout
from storage.index.tables import VERSION, prepare_tables, version_of
from storage.index_paths import numbered_paths, rules_of

_LOG = logging.getLogger(__name__)


def tables_to_serve(
    database: Database,
    resource_types: Sequence[ResourceType],
    tables: Mapping[str, str],
    indexed: frozenset[str] | None,
) -> list[TypeLayout]:
    """Return the layout of each type: prepared, or found complete where nothing can be prepared.

    Raises the error of `prepare_tables` when neither is possible.
    """
    try:
        return prepare_tables(database, resource_types, tables, indexed)
    except (StorageReadOnly, StorageUnavailable) as exc:
        try:
            layouts = _found(database, resource_types, tables, indexed)
        except StorageError:
            # The first error tells the operator how to help.
            raise exc from exc.__cause__
        if layouts is None:
            raise
        _LOG.warning("the tables can be read but not prepared; they are up to date: %s", exc)
        return layouts


def _found(
    database: Database,
    resource_types: Sequence[ResourceType],
    tables: Mapping[str, str],
    indexed: frozenset[str] | None,
) -> list[TypeLayout] | None:
    """Return the layouts that are there, None when any is missing or made by other rules."""
    if version_of(database) != VERSION:
        return None
    # Before the paths: if others change them at the same time, this process has the older number.
    generation = generation_of(database)
    layouts = []
    for resource_type in resource_types:
        table = tables.get(resource_type.name, resource_type.endpoint.strip("/"))
        row = database.row(
            "SELECT number, documents, adopting FROM scim_type WHERE name = ?", (resource_type.name,)
        )
        if row is None or tuple(row[1:]) != (table, None):
            return None
        rows = database.rows("SELECT path, signature, number, ready FROM scim_path WHERE type = ?", (row[0],))
        found = {(path, rule): number for path, rule, number, is_ready in rows if is_ready}
        texts = numbered_paths(resource_type, indexed, [path for path, *_ in rows])
        wanted = {text: (text, rule) for text, rule in rules_of(resource_type, texts).items()}
        if not found.keys() >= set(wanted.values()):
            return None
        numbers = {text: found[key] for text, key in wanted.items()}
        layout = TypeLayout(resource_type, row[0], database.dialect.quoted(table), numbers)
        layout.follow(generation, numbers, listed_paths(database, layout))
        layouts.append(layout)
    return layouts
