"""The resource types and paths that the tables number: in scim_type and scim_path, with a view of each type.

A change of the paths or of their rules is a new generation (`storage.index.generation`).
"""

import logging
from collections.abc import Mapping
from typing import Final

from schema.resource_type import ResourceType
from storage.errors import StorageUnavailable
from storage.foreign import UNUSUAL
from storage.index.database import Database
from storage.index.lacking import can_lack
from storage.index.layout import LISTED
from storage.index_paths import numbered_paths, rules_of

_LOG = logging.getLogger(__name__)

RETIRED: Final = 0
"""the type, in scim_path, of a number that nobody uses, but that has rows left"""


def prepare_type(database: Database, resource_type: ResourceType, table: str) -> int:
    """Return the number of a type, and make its tables and its view, as far as they are missing.

    Raises StorageUnavailable when the table belongs to another program.
    """
    row = database.row("SELECT number, documents FROM scim_type WHERE name = ?", (resource_type.name,))
    if row is not None and row[1] not in (None, table):
        documents = f"the {resource_type.name} documents are in the table {row[1]}"
        raise StorageUnavailable(f"the settings name the table {table}, but {documents}")
    found = _make_documents(database, table)
    if row is None and not found:
        _warn_of_others(database, resource_type, table)
    if row is None:
        number = _next(database, "scim_type")
        database.run(
            "INSERT INTO scim_type (number, name, documents, adopting, adopted_to) VALUES (?, ?, ?, ?, '')",
            (number, resource_type.name, table, "resources" if found else None),
        )
    else:
        number = int(row[0])
        if row[1] is None:
            # Not otherwise: a process that adopts documents holds the row.
            database.run("UPDATE scim_type SET documents = ? WHERE number = ?", (table, number))
    _make_counters(database, number)
    _prepare_view(database, resource_type, number, table)
    return number


def _make_documents(database: Database, table: str) -> bool:
    """Make the table of the documents of a type; return whether it was there already."""
    dialect = database.dialect
    found = database.columns(table)
    if found:
        check_columns(table, found)
        dialect.adopt(database, table)
        return True
    database.run_ddl(
        f"CREATE TABLE {dialect.quoted(table)} (id {dialect.id} NOT NULL PRIMARY KEY, "
        f"details {dialect.json}){dialect.options}"
    )
    return False


def _warn_of_others(database: Database, resource_type: ResourceType, table: str) -> None:
    """Warn of documents that stand in the table of the usual name, while another one has been made."""
    usual, quoted = resource_type.endpoint.strip("/"), database.dialect.quoted
    if table == usual or "details" not in database.columns(usual):
        return
    if database.row(f"SELECT 1 FROM {quoted(usual)} LIMIT 1") is not None:
        _LOG.warning(UNUSUAL, "table", table, "table", usual)


def _make_counters(database: Database, number: int) -> None:
    """Make the counters of a type that are missing; writers change the others, so that they stay unlocked."""
    there = {shard for (shard,) in database.rows("SELECT shard FROM scim_count WHERE type = ?", (number,))}
    for shard in set(range(database.dialect.shards)) - there:
        database.run("INSERT INTO scim_count (type, shard, total) VALUES (?, ?, 0)", (number, shard))


def check_columns(table: str, columns: Mapping[str, str]) -> None:
    """Raise StorageUnavailable for a table that is not as HarryKodden/scim makes it, or we do."""
    is_text = any(kind in columns.get("id", "") for kind in ("char", "text"))
    if not is_text or "details" not in columns:
        raise StorageUnavailable(
            f"the table {table} belongs to another program: it has no text column `id` or no column "
            "`details`; name another table in the settings"
        )


def _next(database: Database, table: str) -> int:
    return int(database.row(f"SELECT COALESCE(MAX(number), 0) + 1 FROM {table}")[0])


def number_paths(
    database: Database, resource_type: ResourceType, number: int, indexed: frozenset[str] | None
) -> dict[str, int]:
    """Return the number of each path; those with rows that are missing or of other rules become not ready.

    Nothing is defined here: MySQL would commit the new generation alone.
    """
    rows = database.rows("SELECT path, number, signature FROM scim_path WHERE type = ?", (number,))
    known = {path: (path_number, rule) for path, path_number, rule in rows}
    wanted = rules_of(resource_type, numbered_paths(resource_type, indexed, known))
    numbers = {}
    # Nobody else writes a new type yet.
    if known and {text: rule for text, (_, rule) in known.items()} != wanted:
        # Waits for each write under way: all that was written before is found from here on.
        database.run("UPDATE scim_generation SET number = number + 1")
    populated = database.row("SELECT 1 FROM scim_resource WHERE type = ? LIMIT 1", (number,)) is not None
    for text, rule in wanted.items():
        path_number, old_rule = known.get(text, (None, None))
        if path_number is None:
            path_number = _next(database, "scim_path")
            database.run(
                "INSERT INTO scim_path (number, type, path, signature, ready) VALUES (?, ?, ?, ?, ?)",
                (path_number, number, text, rule, 0 if populated else _ready_at_first(resource_type, text)),
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
    for path_number in (number for text, (number, _) in known.items() if text not in wanted):
        _retire(database, path_number)
    return numbers


def _ready_at_first(resource_type: ResourceType, text: str) -> int:
    path = resource_type.path(text)
    return LISTED if path is not None and can_lack(path) else 1


def _retire(database: Database, path_number: int) -> None:
    """Have nobody use a number; there may be a row for each resource, which `Retired` removes later."""
    database.run("DELETE FROM scim_lacking WHERE path = ?", (path_number,))
    database.run(
        "UPDATE scim_path SET type = ?, path = ?, signature = NULL, ready = 0 WHERE number = ?",
        (RETIRED, str(path_number), path_number),
    )


def _forget_rows(database: Database, path_number: int) -> None:
    for table in ("scim_attribute", "scim_unique", "scim_lacking"):
        database.run(f"DELETE FROM {table} WHERE path = ?", (path_number,))


def _prepare_view(database: Database, resource_type: ResourceType, number: int, table: str) -> None:
    """Make the view of whole documents, for those who read the database directly."""
    members = resource_type.members
    view = f"{table}_with_members"
    if members is None or database.has_table(view):
        return
    dialect = database.dialect
    source = (
        "FROM scim_resource g JOIN scim_member m ON m.group_rid = g.rid "
        "JOIN scim_resource r ON r.rid = m.member_rid JOIN scim_type t ON t.number = r.type "
        f"WHERE g.id = d.id AND g.type = {number}"
    )
    database.run_ddl(
        f"CREATE VIEW {dialect.quoted(view)} AS SELECT d.id, "
        f"{dialect.whole_document(members.name, source)} AS details FROM {dialect.quoted(table)} d"
    )
