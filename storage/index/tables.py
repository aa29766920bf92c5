"""The tables of the SQL adapter, their versions, and the resource types and paths they number.

    "Users"(id, details)                     a table per resource type: the documents
    scim_resource(rid, type, id, ...)        a narrow row per resource, the key of all that follows;
                                             (id, twin) is unique, and twin is 0 but for the later of
                                             two resources of one id that were taken over
    scim_attribute(path, value, rid, ...)    a row per filterable value
    scim_unique(path, value, owner, rid)     its primary key is the uniqueness constraint
    scim_member(group_rid, member_rid, ...)  memberships, keyed both ways
    scim_path(number, type, path, ...)       what the numbers in `path` stand for
    scim_type(number, name, ...)             what the numbers in `type` stand for
    scim_count(type, shard, total)           how many resources there are
    scim_generation(number)                  changes with the paths that are indexed, and their rules
    scim_layout(version)                     which version of these tables this is
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from schema.resource_type import ResourceType
from storage.attempts import repeated
from storage.errors import Contention, StorageUnavailable
from storage.index.database import Database
from storage.index.layout import TypeLayout
from storage.index_keys import numbered_paths, signature

_LOG = logging.getLogger(__name__)

# Raise it with every change of `_TABLES` or `_INDEXES`, and say in `_STEPS` what else old tables need.
VERSION: Final = 5

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
    "twin SMALLINT NOT NULL DEFAULT 0, owner {id}",
    "scim_attribute": "path SMALLINT NOT NULL, value {key} NOT NULL, rid {row} NOT NULL, "
    "element INTEGER NOT NULL, long_value {long}, PRIMARY KEY (path, value, rid, element)",
    "scim_unique": "path SMALLINT NOT NULL, value {key} NOT NULL, rid {row} NOT NULL, "
    # Last: releases before this column look up path and value.
    "owner {id} NOT NULL DEFAULT '', PRIMARY KEY (path, value, owner)",
    "scim_member": "group_rid {row} NOT NULL, member_rid {row} NOT NULL, display {long}, "
    "PRIMARY KEY (group_rid, member_rid), FOREIGN KEY (member_rid) REFERENCES scim_resource (rid)",
}
_KEYED: Final = ("scim_attribute", "scim_unique", "scim_member")
_INDEXES: Final[Mapping[str, str]] = {
    "scim_resource_type": "scim_resource (type, rid)",
    "scim_resource_id": "scim_resource (id, twin)",
    "scim_resource_owner": "scim_resource (owner, type, rid)",
    "scim_attribute_of": "scim_attribute (rid, path)",
    "scim_member_of": "scim_member (member_rid, group_rid)",
}
_UNIQUE: Final = ("scim_resource_id",)


def prepare_tables(
    database: Database,
    resource_types: Sequence[ResourceType],
    tables: Mapping[str, str],
    indexed: frozenset[str] | None,
) -> list[TypeLayout]:
    """Make what is missing, bring what is old up to date, and return the layout of each type.

    `tables` maps names of resource types to names of tables, `indexed` is the setting of
    `storage.index_keys.indexed_paths`. Paths whose rows are missing or were made by other rules
    are marked as not ready (`storage.index.building`). Raises StorageUnavailable for tables of a
    later version.
    """
    _bring_up_to_date(database)
    with database.dialect.preparing(database), database.transaction():
        layouts = []
        for resource_type in resource_types:
            table = tables.get(resource_type.name, resource_type.endpoint.strip("/"))
            layouts.append(_prepare_type(database, resource_type, table, indexed))
    return layouts


def _bring_up_to_date(database: Database) -> None:
    """Do the steps that the tables need: each alone, so that it can be repeated and readers go on."""
    with database.dialect.preparing(database):
        version = version_of(database)
    if version > VERSION:
        raise StorageUnavailable(
            f"the tables have version {version}, made by a later release; this release supports versions up "
            f"to {VERSION}: install the later release again, or restore the backup made before the upgrade"
        )
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
    """Do a step, unless another process has finished meanwhile; after a deadlock with one, again."""

    def attempt() -> None:
        with database.dialect.preparing(database), database.transaction():
            if version_of(database) != VERSION:
                step(database)

    repeated(attempt, Contention)


def version_of(database: Database) -> int:
    """Return the version of the tables that are there, 0 for none."""
    if database.has_table("scim_layout"):
        row = database.row("SELECT version FROM scim_layout")
        # MySQL has no transaction around definitions: they may have been interrupted.
        return int(row[0]) if row else 0
    # Version 1 was SQLite's alone, and had no table for its number.
    return 1 if database.dialect.name == "sqlite" and database.has_table("scim_type") else 0


def generation_of(database: Database) -> int:
    """Return the generation of the index: the number is another one when the indexed paths or rules are."""
    return int(database.row("SELECT number FROM scim_generation")[0])


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
    # A resource without an owner costs nothing there, where a database can leave rows out.
    end = "" if database.dialect.name == "mysql" else " WHERE owner IS NOT NULL"
    owned = {"scim_resource_owner": _INDEXES["scim_resource_owner"] + end}
    database.dialect.create_indexes(database, {**_INDEXES, **owned}, _UNIQUE)
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


# What the rows of a version, and of those before it, lack.
_STEPS: Final = ((1, _count_in_shards), (3, _mark_twins))


# -- resource types


def _prepare_type(
    database: Database, resource_type: ResourceType, table: str, indexed: frozenset[str] | None
) -> TypeLayout:
    dialect = database.dialect
    quoted = dialect.quoted(table)
    row = database.row("SELECT number, documents FROM scim_type WHERE name = ?", (resource_type.name,))
    if row is not None and row[1] not in (None, table):
        raise StorageUnavailable(
            f"the settings name the table {table}, but the {resource_type.name} documents are in the table "
            f"{row[1]}"
        )
    found = database.columns(table)
    if found:
        _check_columns(table, found)
        dialect.adopt(database, table)
    else:
        database.run_ddl(
            f"CREATE TABLE {quoted} (id {dialect.id} NOT NULL PRIMARY KEY, "
            f"details {dialect.json}){dialect.options}"
        )
    if row is None:
        number = _next(database, "scim_type")
        database.run(
            "INSERT INTO scim_type (number, name, adopting, adopted_to) VALUES (?, ?, ?, '')",
            (number, resource_type.name, "resources" if found else None),
        )
    else:
        number = row[0]
    database.run("UPDATE scim_type SET documents = ? WHERE number = ?", (table, number))
    for shard in range(dialect.shards):
        database.run(
            dialect.insert_ignoring("scim_count", "type, shard, total", "VALUES (?, ?, 0)"), (number, shard)
        )
    numbers = _number_paths(database, resource_type, number, indexed)
    layout = TypeLayout(resource_type, number, quoted, numbers, indexed)
    _prepare_view(database, layout, table)
    return layout


def _check_columns(table: str, columns: Mapping[str, str]) -> None:
    """Leave a table alone that is not as HarryKodden/scim makes it, or we do."""
    is_text = any(kind in columns.get("id", "") for kind in ("char", "text"))
    if not is_text or "details" not in columns:
        raise StorageUnavailable(
            f"the table {table} belongs to another program: it has no text column `id` or no column "
            "`details`; name another table in the settings"
        )


def _next(database: Database, table: str) -> int:
    return int(database.row(f"SELECT COALESCE(MAX(number), 0) + 1 FROM {table}")[0])


def _number_paths(
    database: Database, resource_type: ResourceType, number: int, indexed: frozenset[str] | None
) -> dict[str, int]:
    """Return the number of each path; where the rows of one are not what they should be, they go."""
    known = {
        path: (path_number, rule)
        for path, path_number, rule in database.rows(
            "SELECT path, number, signature FROM scim_path WHERE type = ?", (number,)
        )
    }
    wanted = {text: signature(resource_type, text) for text in numbered_paths(resource_type, indexed)}
    populated = database.row("SELECT 1 FROM scim_resource WHERE type = ? LIMIT 1", (number,)) is not None
    numbers = {}
    if {text: rule for text, (_, rule) in known.items()} != wanted:
        database.run("UPDATE scim_generation SET number = number + 1")
    for text, rule in wanted.items():
        path_number, old_rule = known.get(text, (None, None))
        if path_number is None:
            path_number = _next(database, "scim_path")
            database.run(
                "INSERT INTO scim_path (number, type, path, signature, ready) VALUES (?, ?, ?, ?, ?)",
                (path_number, number, text, rule, int(not populated)),
            )
        elif old_rule != rule:
            _forget_rows(database, path_number)
            database.run(
                "UPDATE scim_path SET signature = ?, ready = ? WHERE number = ?",
                (rule, int(not populated), path_number),
            )
        else:
            numbers[text] = path_number
            continue
        numbers[text] = path_number
        # The other paths of the type may be in the middle of being rebuilt: all begin again.
        database.run("UPDATE scim_type SET indexed_to = NULL WHERE number = ?", (number,))
    for text, (path_number, _) in known.items():
        if text not in wanted:
            _forget_rows(database, path_number)
            database.run("DELETE FROM scim_path WHERE number = ?", (path_number,))
    return numbers


def _forget_rows(database: Database, path_number: int) -> None:
    for table in ("scim_attribute", "scim_unique"):
        database.run(f"DELETE FROM {table} WHERE path = ?", (path_number,))


def _prepare_view(database: Database, layout: TypeLayout, table: str) -> None:
    """Make the view of whole documents, for those who read the database directly."""
    members = layout.resource_type.members
    view = f"{table}_with_members"
    if members is None or database.has_table(view):
        return
    dialect = database.dialect
    source = (
        "FROM scim_resource g JOIN scim_member m ON m.group_rid = g.rid "
        "JOIN scim_resource r ON r.rid = m.member_rid JOIN scim_type t ON t.number = r.type "
        f"WHERE g.id = d.id AND g.type = {layout.number}"
    )
    database.run_ddl(
        f"CREATE VIEW {dialect.quoted(view)} AS SELECT d.id, "
        f"{dialect.whole_document(members.name, source)} AS details FROM {layout.table} d"
    )
