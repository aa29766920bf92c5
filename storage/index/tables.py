"""The tables of the SQL adapter, their versions, and the resource types and paths they number.

    "Users"(id, details)                     a table per resource type: the documents
    scim_resource(rid, type, id, ...)        a narrow row per resource, the key of all that follows;
                                             (id, twin) is unique, and twin is 0 but for the later of
                                             two resources of one id that were taken over
    scim_attribute(path, value, rid, ...)    a row per filterable value
    scim_unique(path, value, owner, rid)     its primary key is the uniqueness constraint
    scim_lacking(path, rid)                  resources without a value of some paths
    scim_member(group_rid, member_rid, ...)  memberships, keyed both ways
    scim_path(number, type, path, ...)       what the numbers in `path` stand for
    scim_type(number, name, ...)             what the numbers in `type` stand for
    scim_count(type, shard, total)           how many resources there are
    scim_generation(number)                  grows with each change of the indexed paths and their rules
    scim_layout(version)                     which version of these tables this is
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from schema.resource_type import ResourceType
from storage.errors import StorageUnavailable
from storage.index.database import Database
from storage.index.generation import generation_of
from storage.index.lacking import listed_paths
from storage.index.layout import TypeLayout
from storage.index.numbering import number_paths, prepare_type

_LOG = logging.getLogger(__name__)

# Raise it with every change of `_TABLES` or `_INDEXES`, and say in `_STEPS` what else old tables need.
VERSION: Final = 7

_TABLES: Final[Mapping[str, str]] = {
    "scim_layout": "version INTEGER NOT NULL PRIMARY KEY",
    "scim_generation": "number BIGINT NOT NULL PRIMARY KEY",
    "scim_type": "number SMALLINT NOT NULL PRIMARY KEY, name VARCHAR(190) NOT NULL UNIQUE, "
    "documents VARCHAR(190), adopting VARCHAR(20), adopted_to {id}, indexed_to {row}",
    "scim_path": "number SMALLINT NOT NULL PRIMARY KEY, type SMALLINT NOT NULL, path VARCHAR(500) NOT NULL, "
    "signature VARCHAR(100), ready SMALLINT NOT NULL DEFAULT 0, UNIQUE (type, path)",
    "scim_count": "type SMALLINT NOT NULL, shard SMALLINT NOT NULL, total BIGINT NOT NULL, "
    "PRIMARY KEY (type, shard)",
    "scim_resource": "rid {row_key}, type SMALLINT NOT NULL, id {id} NOT NULL, version BIGINT NOT NULL, "
    "created VARCHAR(32) NOT NULL, last_modified VARCHAR(32) NOT NULL, display {long}, secrets {long}, "
    # Releases before this column leave it: such rows are indexed again (`storage.index.mending`).
    "twin SMALLINT NOT NULL DEFAULT 0, owner {id}, indexed_version BIGINT NOT NULL DEFAULT 0",
    "scim_attribute": "path SMALLINT NOT NULL, value {key} NOT NULL, rid {row} NOT NULL, "
    "element INTEGER NOT NULL, long_value {long}, PRIMARY KEY (path, value, rid, element)",
    # In the key, the owner is the last: releases before this column look up path and value. The columns
    # of the key come first: the check of SQLite 3.40 takes `rid` between them for NULL.
    "scim_unique": "path SMALLINT NOT NULL, value {key} NOT NULL, owner {id} NOT NULL DEFAULT '', "
    "rid {row} NOT NULL, PRIMARY KEY (path, value, owner)",
    "scim_lacking": "path SMALLINT NOT NULL, rid {row} NOT NULL, PRIMARY KEY (path, rid), "
    "FOREIGN KEY (rid) REFERENCES scim_resource (rid) ON DELETE CASCADE",
    "scim_member": "group_rid {row} NOT NULL, member_rid {row} NOT NULL, display {long}, "
    "PRIMARY KEY (group_rid, member_rid), FOREIGN KEY (member_rid) REFERENCES scim_resource (rid)",
}
_KEYED: Final = ("scim_attribute", "scim_unique", "scim_member")
_INDEXES: Final[Mapping[str, str]] = {
    "scim_resource_type": "scim_resource (type, rid)",
    "scim_resource_id": "scim_resource (id, twin)",
    "scim_resource_owner": "scim_resource (owner, type, rid)",
    "scim_attribute_of": "scim_attribute (rid, path)",
    "scim_lacking_of": "scim_lacking (rid)",
    "scim_member_of": "scim_member (member_rid, group_rid)",
}
# For the few resources that each start looks for, in databases that can leave the others out.
_TWINS: Final = {"scim_resource_twin": "scim_resource (twin) WHERE twin <> 0"}
# The same (`storage.index.mending`). On PostgreSQL, each update would then change all indexes of the table.
_UNINDEXED: Final = {"scim_resource_unindexed": "scim_resource (type, rid) WHERE indexed_version <> version"}
_UNIQUE: Final = ("scim_resource_id",)


def prepare_tables(
    database: Database,
    resource_types: Sequence[ResourceType],
    tables: Mapping[str, str],
    indexed: frozenset[str] | None,
) -> list[TypeLayout]:
    """Make what is missing, bring what is old up to date, and return the layout of each type.

    `tables` maps names of resource types to names of tables, `indexed` is the setting of
    `storage.index_paths.indexed_paths`. Paths whose rows are missing or were made by other rules
    are marked as not ready (`storage.index.building`). Raises StorageUnavailable for tables of a
    later version.
    """
    _bring_up_to_date(database)

    documents = {one: tables.get(one.name, one.endpoint.strip("/")) for one in resource_types}

    def paths() -> tuple[int, list[tuple[TypeLayout, set[int]]]]:
        layouts = []
        for one, table in documents.items():
            numbers = number_paths(database, one, types[one], indexed)
            layout = TypeLayout(one, types[one], database.dialect.quoted(table), numbers)
            layouts.append((layout, listed_paths(database, layout)))
        return generation_of(database), layouts

    types = database.prepare(lambda: {one: prepare_type(database, one, documents[one]) for one in documents})
    generation, layouts = database.prepare(paths)
    for layout, listed in layouts:
        layout.follow(generation, layout.numbers, listed)
    return [layout for layout, _ in layouts]


def _bring_up_to_date(database: Database) -> None:
    """Do the steps that the tables need: each alone, so that it can be repeated and readers go on."""
    version = database.prepare(lambda: supported_version_of(database))
    if version == VERSION:
        return
    if version:
        _LOG.warning("upgrading the tables from version %d to version %d", version, VERSION)
    for step in (
        _create_tables,
        *(step for before, step in _STEPS if 0 < version <= before),
        _create_indexes,
        _write_version,
    ):
        _once(database, step)


def _once(database: Database, step: Callable[[Database], None]) -> None:
    """Do a step, unless another process has finished meanwhile."""

    def attempt() -> None:
        if version_of(database) != VERSION:
            step(database)

    database.prepare(attempt)


def supported_version_of(database: Database) -> int:
    """Return the version of the tables that are there. Raises StorageUnavailable for a later version."""
    version = version_of(database)
    if version > VERSION:
        raise StorageUnavailable(
            f"the tables have version {version}, made by a later release; this release supports versions up "
            f"to {VERSION}: install the later release again, or restore the backup made before the upgrade"
        )
    return version


def version_of(database: Database) -> int:
    """Return the version of the tables that are there, 0 for none."""
    if database.has_table("scim_layout"):
        row = database.row("SELECT version FROM scim_layout")
        # MySQL has no transaction around definitions: they may have been interrupted.
        return int(row[0]) if row else 0
    # Version 1 was SQLite's alone, and had no table for its number.
    return 1 if database.dialect.name == "sqlite" and database.has_table("scim_type") else 0


def _create_tables(database: Database) -> None:
    version = version_of(database)
    if database.has_table("scim_member"):
        removed = database.run(
            "DELETE FROM scim_member WHERE NOT EXISTS (SELECT 1 FROM scim_resource r "
            "WHERE r.rid = scim_member.member_rid) OR NOT EXISTS (SELECT 1 FROM scim_resource r "
            "WHERE r.rid = scim_member.group_rid)"
        ).rowcount
        if removed:
            _LOG.warning("%d memberships of resources that do not exist were deleted", removed)
    database.dialect.create_tables(database, _TABLES, _KEYED)
    if database.row("SELECT 1 FROM scim_layout") is None:
        # What the next steps go by, should this one be the last for now.
        database.run("INSERT INTO scim_layout (version) VALUES (?)", (version,))


def _create_indexes(database: Database) -> None:
    indexes = dict(_INDEXES)
    if database.dialect.name != "mysql":
        # Where a database can leave rows out, the others cost nothing.
        indexes["scim_resource_owner"] += " WHERE owner IS NOT NULL"
        indexes |= _TWINS
    if database.dialect.name == "sqlite":
        indexes |= _UNINDEXED
    database.dialect.create_indexes(database, indexes, _UNIQUE)
    if database.dialect.name == "postgresql":
        # Which values are common depends on the path; the planner does not guess that.
        database.run_ddl(
            "CREATE STATISTICS IF NOT EXISTS scim_attribute_values (mcv, ndistinct) "
            "ON path, value FROM scim_attribute"
        )


def _write_version(database: Database) -> None:
    if database.row("SELECT 1 FROM scim_generation") is None:
        database.run("INSERT INTO scim_generation (number) VALUES (1)")
    database.run("UPDATE scim_layout SET version = ?", (VERSION,))


def _count_in_shards(database: Database) -> None:
    """Version 1 had the totals with the types."""
    if "total" in database.columns("scim_type"):
        database.run("INSERT INTO scim_count (type, shard, total) SELECT number, 0, total FROM scim_type")
        database.run_ddl("ALTER TABLE scim_type DROP COLUMN total")


def _mark_twins(database: Database) -> None:
    """Before version 4, ids were unique within a type."""
    later = database.rows(
        "SELECT DISTINCT r.rid, r.id, r.type FROM scim_resource r "
        "JOIN scim_resource o ON o.id = r.id AND o.rid < r.rid"
    )
    for rid, resource_id, number in later:
        _LOG.warning("two resources of different types have the id %s; both are stored", resource_id)
        database.run("UPDATE scim_resource SET twin = ? WHERE rid = ?", (number, rid))
    for statement in database.dialect.ids_by_type_no_more(database):
        database.run_ddl(statement)


def _mark_indexed(database: Database) -> None:
    """Before version 6, all resources were indexed by the rules that were in force."""
    database.run("UPDATE scim_resource SET indexed_version = version WHERE indexed_version = 0")


# What the rows of a version, and of those before it, lack.
_STEPS: Final = ((1, _count_in_shards), (3, _mark_twins), (5, _mark_indexed))
