"""The SQL adapter: documents in a table per resource type, everything findable in side tables.

The layout is described in `storage.sql_layout`, the translation of filters in `storage.sql_filter`.
Hot statements are constant text run through the driver: building one costs more than running it.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import peewee

from schema.resource_type import ResourceType
from storage.adapter import (
    Capabilities,
    Member,
    Membership,
    Page,
    Represent,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.errors import ResourceNotFound, StorageUnavailable, UniquenessConflict, VersionMismatch
from storage.search import page_of
from storage.sql_filter import Native, SqlFilterCompiler
from storage.sql_layout import SIDE_TABLES, TypeLayout, index_key, numbered_paths, quoted

_LOG = logging.getLogger(__name__)
_BATCH = 500
# Up to this offset, skipping whole resources is faster than a statement more.
_SKIPPED_WHOLE = 200
_NARROW = "FROM scim_resource r"

# What makes a StoredResource, and whether it is a member of anything.
_COLUMNS = (
    "SELECT r.rid, r.id, d.details, r.version, r.created, r.last_modified, r.secrets, "
    "EXISTS (SELECT 1 FROM scim_member m WHERE m.member_rid = r.rid)"
)

# Groups of a resource, and the groups those are in; UNION ends cycles.
_MEMBERSHIPS = (
    "WITH RECURSIVE up(origin, rid, direct) AS ("
    "SELECT o.id, m.group_rid, 1 FROM scim_resource o JOIN scim_member m ON m.member_rid = o.rid "
    "WHERE o.type = ? AND o.id IN ({marks}) "
    "UNION SELECT up.origin, m.group_rid, 0 FROM up JOIN scim_member m ON m.member_rid = up.rid) "
    "SELECT up.origin, r.id, r.type, r.display, MAX(up.direct) "
    "FROM up JOIN scim_resource r ON r.rid = up.rid GROUP BY up.origin, r.rid "
    "ORDER BY up.origin, r.rid"
)


@dataclass(frozen=True)
class SqlOptions:
    """How the adapter uses its database.

    `tables` maps names of resource types to names of tables; others are called as the endpoint.
    `synchronous` is SQLite's setting: FULL keeps an acknowledged write through a power failure.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    synchronous: str = "FULL"
    busy_timeout_s: float = 30.0


def open_adapter(file: Path, tables: Mapping[str, str], synchronous: str) -> "SqlAdapter":
    """Return an adapter on the SQLite database in `file`, which is made when it is first used."""
    options = SqlOptions(tables, synchronous)
    return SqlAdapter(_sqlite(file, options), options)


def _sqlite(file: Path, options: SqlOptions) -> peewee.SqliteDatabase:
    return peewee.SqliteDatabase(
        str(file),
        pragmas={
            "journal_mode": "wal",
            "synchronous": options.synchronous,
            # A rare, larger checkpoint costs writers far less than many small ones.
            "wal_autocheckpoint": 16000,
            "cache_size": -32_000,
            "mmap_size": 1 << 30,
            "temp_store": "memory",
        },
        timeout=options.busy_timeout_s,
    )


class SqlAdapter(StorageAdapter):
    """Keeps resources in an SQL database."""

    capabilities = Capabilities(
        native_search=True, native_uniqueness=True, transactions=True, members=True
    )

    def __init__(self, database: peewee.Database, options: SqlOptions | None = None) -> None:
        self._database = database
        self._options = options or SqlOptions()
        self._layouts: dict[str, TypeLayout] = {}
        self._names: dict[int, str] = {}
        self._compilers: dict[str, SqlFilterCompiler] = {}
        self._local = threading.local()

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        self._make_folder()
        with self._guard():
            with self.transaction():
                for statement in SIDE_TABLES:
                    self._run(statement)
                for resource_type in resource_types:
                    self._prepare_type(resource_type)
        # Connections do not survive a fork, and preparing may happen before one.
        self.close()

    def _make_folder(self) -> None:
        folder = Path(self._database.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StorageUnavailable(f"the folder {folder} cannot be made: {exc}") from exc

    def _prepare_type(self, resource_type: ResourceType) -> None:
        table = self._options.tables.get(resource_type.name, resource_type.endpoint.strip("/"))
        self._run(
            f"CREATE TABLE IF NOT EXISTS {quoted(table)} "
            "(id VARCHAR(255) NOT NULL PRIMARY KEY, details JSON NOT NULL "
            # Others may write here, and one broken document would break every list.
            "CHECK (json_valid(details) AND json_type(details) = 'object'))"
        )
        self._run("INSERT OR IGNORE INTO scim_type (name, total) VALUES (?, 0)", (resource_type.name,))
        number = self._one("SELECT number FROM scim_type WHERE name = ?", (resource_type.name,))[0]
        for text in numbered_paths(resource_type):
            self._run("INSERT OR IGNORE INTO scim_path (type, path) VALUES (?, ?)", (number, text))
        rows = self._run("SELECT path, number FROM scim_path WHERE type = ?", (number,)).fetchall()
        layout = TypeLayout(resource_type, number, table, dict(rows))
        self._layouts[resource_type.name] = layout
        self._names[number] = resource_type.name
        self._compilers[resource_type.name] = SqlFilterCompiler(layout)

    def check(self) -> None:
        with self._guard():
            for layout in self._layouts.values():
                self._run(
                    f"{_COLUMNS} FROM scim_resource r JOIN {layout.table} d ON d.id = r.id "
                    "WHERE r.type = ? LIMIT 1",
                    (layout.number,),
                ).fetchall()
                self._total(layout, None)

    def close(self) -> None:
        if not self._database.is_closed():
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction; a transaction inside another is part of it."""
        if getattr(self._local, "depth", 0):
            yield
            return
        with self._guard():
            # IMMEDIATE: two writers that both read first would otherwise fail at their first write.
            self._run("BEGIN IMMEDIATE")
        self._local.depth = 1
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        else:
            with self._guard():
                self._commit()
        finally:
            self._local.depth = 0

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction under way that can be undone alone."""
        if not getattr(self._local, "depth", 0):
            with self.transaction():
                yield
            return
        with self._guard():
            self._run("SAVEPOINT part")
        try:
            yield
        except BaseException:
            with self._guard():
                self._run("ROLLBACK TO part")
                self._run("RELEASE part")
            raise
        with self._guard():
            self._run("RELEASE part")

    def _commit(self) -> None:
        try:
            self._run("COMMIT")
        except peewee.DatabaseError:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        try:
            self._run("ROLLBACK")
        except peewee.DatabaseError:
            # The first error is the one to report; a fresh connection is sure to hold no lock.
            _LOG.warning("rollback failed, the connection is closed")
            self._database.close()

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self._get(self._layouts[resource_type.name], resource_id)[1]

    def _get(self, layout: TypeLayout, resource_id: str) -> tuple[int, StoredResource]:
        with self._guard():
            row = self._run(
                f"{_COLUMNS} FROM scim_resource r JOIN {layout.table} d ON d.id = r.id "
                "WHERE r.id = ? AND r.type = ?",
                (resource_id, layout.number),
            ).fetchone()
        if row is None:
            raise ResourceNotFound(layout.resource_type.name, resource_id)
        return row[0], _stored(row)

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        layout = self._layouts[resource_type.name]
        with self.transaction(), self._guard():
            try:
                rid = self._insert_resource(layout, resource)
            except peewee.IntegrityError as exc:
                raise UniquenessConflict("id") from exc
            self._insert_unique(layout, rid, layout.unique_rows(resource.document))
            self._run(
                f"INSERT INTO {layout.table} (id, details) VALUES (?, ?)", (resource.id, resource.text)
            )
            self._insert_index(rid, layout.index_rows(*_indexed(resource)))
            self._run("UPDATE scim_type SET total = total + 1 WHERE number = ?", (layout.number,))
        return _at_version(resource, 1)

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        layout = self._layouts[resource_type.name]
        with self.transaction(), self._guard():
            rid, before = self._get(layout, resource.id)
            if if_version is not None and before.version != if_version:
                raise VersionMismatch(f"{resource_type.name} {resource.id} is at {before.version}")
            version = int(before.version) + 1
            self._run(
                "UPDATE scim_resource SET version = ?, created = ?, last_modified = ?, display = ?, "
                "secrets = ? WHERE rid = ?",
                (version, resource.created, resource.last_modified, *_narrow(layout, resource), rid),
            )
            if before.text != resource.text:
                self._replace_unique(layout, rid, before, resource)
                self._run(
                    f"UPDATE {layout.table} SET details = ? WHERE id = ?", (resource.text, resource.id)
                )
            old_rows, new_rows = layout.index_rows(*_indexed(before)), layout.index_rows(*_indexed(resource))
            self._delete_index(rid, old_rows - new_rows)
            self._insert_index(rid, new_rows - old_rows)
        return _at_version(resource, version)

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        layout = self._layouts[resource_type.name]
        with self.transaction(), self._guard():
            rid, before = self._get(layout, resource_id)
            if if_version is not None and before.version != if_version:
                raise VersionMismatch(f"{resource_type.name} {resource_id} is at {before.version}")
            self._delete_unique(layout.unique_rows(before.document))
            self._delete_index(rid, layout.index_rows(*_indexed(before)))
            self._run("DELETE FROM scim_member WHERE group_rid = ?", (rid,))
            self._run("DELETE FROM scim_member WHERE member_rid = ?", (rid,))
            self._run("DELETE FROM scim_resource WHERE rid = ?", (rid,))
            self._run(f"DELETE FROM {layout.table} WHERE id = ?", (resource_id,))
            self._run("UPDATE scim_type SET total = total - 1 WHERE number = ?", (layout.number,))

    # -- rows of the side tables

    def _insert_resource(self, layout: TypeLayout, resource: StoredResource) -> int:
        cursor = self._run(
            "INSERT INTO scim_resource (type, id, version, created, last_modified, display, secrets) "
            "VALUES (?, ?, 1, ?, ?, ?, ?)",
            (
                layout.number,
                resource.id,
                resource.created,
                resource.last_modified,
                *_narrow(layout, resource),
            ),
        )
        return int(cursor.lastrowid)

    def _insert_unique(self, layout: TypeLayout, rid: int, rows: Iterable[tuple[int, str]]) -> None:
        for path, value in rows:
            try:
                self._run("INSERT INTO scim_unique (path, value, rid) VALUES (?, ?, ?)", (path, value, rid))
            except peewee.IntegrityError as exc:
                raise UniquenessConflict(layout.unique_path(path)) from exc

    def _delete_unique(self, rows: Iterable[tuple[int, str]]) -> None:
        for path, value in rows:
            self._run("DELETE FROM scim_unique WHERE path = ? AND value = ?", (path, value))

    def _replace_unique(
        self, layout: TypeLayout, rid: int, before: StoredResource, after: StoredResource
    ) -> None:
        old, new = layout.unique_rows(before.document), layout.unique_rows(after.document)
        self._delete_unique(old - new)
        self._insert_unique(layout, rid, new - old)

    def _insert_index(self, rid: int, rows: Iterable[tuple[int, str, int, str | None]]) -> None:
        ordered = sorted((path, value, rid, element, whole) for path, value, element, whole in rows)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            marks = ", ".join(["(?, ?, ?, ?, ?)"] * len(batch))
            self._run(
                f"INSERT INTO scim_attribute (path, value, rid, element, long_value) VALUES {marks}",
                [cell for row in batch for cell in row],
            )

    def _delete_index(self, rid: int, rows: Iterable[tuple[int, str, int, str | None]]) -> None:
        for path, value, element, _ in rows:
            self._run(
                "DELETE FROM scim_attribute WHERE path = ? AND value = ? AND rid = ? AND element = ?",
                (path, value, rid, element),
            )

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._candidates(self._layouts[resource_type.name], Native("1 = 1"))

    def _candidates(self, layout: TypeLayout, native: Native) -> Iterator[StoredResource]:
        """Yield what matches `native` in order of creation, a batch at a time."""
        last = 0
        while True:
            with self._guard():
                rows = self._run(
                    f"{_COLUMNS} FROM scim_resource r JOIN {layout.table} d ON d.id = r.id "
                    f"WHERE r.type = ? AND r.rid > ? AND {native.where} ORDER BY r.rid LIMIT ?",
                    (layout.number, last, *native.params, _BATCH),
                ).fetchall()
            yield from (_stored(row) for row in rows)
            if len(rows) < _BATCH:
                return
            last = rows[-1][0]

    def search(self, resource_type: ResourceType, selection: Selection, represent: Represent) -> Page:
        layout = self._layouts[resource_type.name]
        if selection.filter is None:
            native, residual = None, None
        else:
            native, residual = self._compilers[resource_type.name].split(selection.filter)
        sortable = selection.sort is None or selection.sort.path.text in layout.numbers
        if residual is not None or not sortable:
            rest = replace(selection, filter=residual)
            candidates = self._candidates(layout, native or Native("1 = 1"))
            return page_of(candidates, rest, represent, resource_type)
        with self._guard():
            return self._native_page(layout, selection, native)

    def _native_page(self, layout: TypeLayout, selection: Selection, native: Native | None) -> Page:
        limit = -1 if selection.limit is None else selection.limit
        found: list[StoredResource] = []
        if limit and selection.sort is None and selection.offset <= _SKIPPED_WHOLE:
            found = self._first_resources(layout, selection, native, limit)
        elif limit:
            found = self._load(layout, self._ordered_rids(layout, selection, native, limit))
        from_start = selection.after is None and selection.before is None
        if from_start and (limit < 0 or 0 < len(found) < limit):
            return Page(found, selection.offset + len(found))
        return Page(found, self._total(layout, native))

    def _first_resources(
        self, layout: TypeLayout, selection: Selection, native: Native | None, limit: int
    ) -> list[StoredResource]:
        """Return an unsorted page in one statement: with little to skip, that is the fastest."""
        backwards = selection.before is not None
        (part,) = _parts(layout, selection, native, backwards)
        rows = self._run(
            f"{_COLUMNS} {part.source.replace(_NARROW, f'{_NARROW} JOIN {layout.table} d ON d.id = r.id', 1)}"
            f"{part.beyond} ORDER BY {part.order} LIMIT ? OFFSET ?",
            (*part.params, *part.beyond_params, limit, selection.offset),
        ).fetchall()
        found = [_stored(row) for row in rows]
        return found[::-1] if backwards else found

    def _ordered_rids(
        self, layout: TypeLayout, selection: Selection, native: Native | None, limit: int
    ) -> list[int]:
        """Return the row keys of a page; a page that ends at a position is read backwards."""
        backwards = selection.before is not None
        descending = backwards != (selection.sort is not None and selection.sort.descending)
        found: list[int] = []
        offset = selection.offset
        for part in _parts(layout, selection, native, descending):
            rows = self._run(
                f"SELECT r.rid {part.source}{part.beyond} ORDER BY {part.order} LIMIT ? OFFSET ?",
                (*part.params, *part.beyond_params, limit - len(found) if limit > 0 else -1, offset),
            ).fetchall()
            found += [row[0] for row in rows]
            if len(found) == limit:
                break
            if not rows and offset:
                offset -= self._one(f"SELECT COUNT(*) {part.source}", part.params)[0]
            else:
                offset = 0
        return found[::-1] if backwards else found

    def _total(self, layout: TypeLayout, native: Native | None) -> int:
        if native is None:
            return int(self._one("SELECT total FROM scim_type WHERE number = ?", (layout.number,))[0])
        return int(
            self._one(
                f"SELECT COUNT(*) FROM scim_resource r WHERE r.type = ? AND {native.where}",
                (layout.number, *native.params),
            )[0]
        )

    def _load(self, layout: TypeLayout, rids: Sequence[int]) -> list[StoredResource]:
        found: dict[int, StoredResource] = {}
        for start in range(0, len(rids), _BATCH):
            batch = rids[start : start + _BATCH]
            rows = self._run(
                f"{_COLUMNS} FROM scim_resource r JOIN {layout.table} d ON d.id = r.id "
                f"WHERE r.rid IN ({_marks(batch)})",
                batch,
            )
            found |= {row[0]: _stored(row) for row in rows.fetchall()}
        return [found[rid] for rid in rids if rid in found]

    # -- members

    def members(self, resource_type: ResourceType, resource_id: str) -> Iterator[Member]:
        rid = self._get(self._layouts[resource_type.name], resource_id)[0]
        last = 0
        while True:
            with self._guard():
                rows = self._run(
                    "SELECT r.rid, r.id, r.type, COALESCE(m.display, r.display) FROM scim_member m "
                    "JOIN scim_resource r ON r.rid = m.member_rid "
                    "WHERE m.group_rid = ? AND m.member_rid > ? ORDER BY m.member_rid LIMIT ?",
                    (rid, last, _BATCH),
                ).fetchall()
            yield from (Member(row[1], self._names[row[2]], row[3]) for row in rows)
            if len(rows) < _BATCH:
                return
            last = rows[-1][0]

    def change_members(
        self,
        resource_type: ResourceType,
        resource_id: str,
        add: Iterable[Member],
        remove: Iterable[str],
    ) -> bool:
        changed = 0
        with self.transaction(), self._guard():
            rid = self._get(self._layouts[resource_type.name], resource_id)[0]
            for member_id in remove:
                changed += self._run(
                    "DELETE FROM scim_member WHERE group_rid = ? AND member_rid IN "
                    "(SELECT rid FROM scim_resource WHERE id = ?)",
                    (rid, member_id),
                ).rowcount
            numbers = {name: number for number, name in self._names.items()}
            for member in add:
                changed += self._run(
                    "INSERT OR IGNORE INTO scim_member (group_rid, member_rid, display) "
                    "SELECT ?, rid, NULLIF(?, display) FROM scim_resource WHERE id = ? AND type = ?",
                    (rid, member.display, member.resource_id, numbers[member.resource_type]),
                ).rowcount
        return changed > 0

    def memberships(
        self, resource_type: ResourceType, resource_ids: Sequence[str]
    ) -> Mapping[str, Sequence[Membership]]:
        found: dict[str, list[Membership]] = {}
        number = self._layouts[resource_type.name].number
        for start in range(0, len(resource_ids), _BATCH):
            batch = resource_ids[start : start + _BATCH]
            with self._guard():
                rows = self._run(_MEMBERSHIPS.format(marks=_marks(batch)), (number, *batch)).fetchall()
            for origin, group_id, type_number, display, direct in rows:
                membership = Membership(group_id, self._names[type_number], display, bool(direct))
                found.setdefault(origin, []).append(membership)
        return found

    def find(self, resource_ids: Sequence[str]) -> Mapping[str, Member]:
        found: dict[str, Member] = {}
        for start in range(0, len(resource_ids), _BATCH):
            batch = resource_ids[start : start + _BATCH]
            with self._guard():
                rows = self._run(
                    f"SELECT id, type, display FROM scim_resource WHERE id IN ({_marks(batch)})", batch
                ).fetchall()
            found |= {row[0]: Member(row[0], self._names[row[1]], row[2]) for row in rows}
        return found

    # -- the driver

    def _run(self, statement: str, params: Sequence[Any] = ()) -> Any:
        return self._database.execute_sql(statement, params)

    def _one(self, statement: str, params: Sequence[Any] = ()) -> Any:
        return self._run(statement, params).fetchone()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn any failure of the database into StorageUnavailable."""
        try:
            yield
        except (peewee.DatabaseError, peewee.InterfaceError) as exc:
            raise StorageUnavailable(f"the database cannot be used: {exc}") from exc


@dataclass(frozen=True)
class _Part:
    """A part of an order: its rows, those of them beyond the position to go on from, and how they lie."""

    source: str
    params: tuple[Any, ...]
    order: str
    beyond: str = ""
    beyond_params: tuple[Any, ...] = ()


def _parts(
    layout: TypeLayout, selection: Selection, native: Native | None, descending: bool
) -> list[_Part]:
    """Return the parts of the selected order; sorted, resources without a value are one of their own.

    Ascending they come last, descending first, so that one order is the other reversed.
    """
    where, params = (f" AND {native.where}", native.params) if native else ("", ())
    direction, beyond = ("DESC", "<") if descending else ("ASC", ">")
    position = selection.after or selection.before
    if selection.sort is None:
        source = f"{_NARROW} WHERE r.type = ?{where}"
        keyset = (f" AND r.rid {beyond} ?", (position.place,)) if position else ("", ())
        return [_Part(source, (layout.number, *params), f"r.rid {direction}", *keyset)]
    path = layout.numbers[selection.sort.path.text]
    valued = _Part(
        "FROM scim_attribute s JOIN scim_resource r ON r.rid = s.rid "
        f"WHERE s.path = ? AND s.element = 0{where}",
        (path, *params),
        f"s.value {direction}, r.id {direction}",
    )
    missing = _Part(
        "FROM scim_resource r WHERE r.type = ? AND r.rid NOT IN "
        f"(SELECT rid FROM scim_attribute WHERE path = ? AND element = 0){where}",
        (layout.number, path, *params),
        f"r.id {direction}",
    )
    parts = [missing, valued] if descending else [valued, missing]
    if position is None:
        return parts
    if position.key is None:
        missing = replace(missing, beyond=f" AND r.id {beyond} ?", beyond_params=(position.resource_id,))
        return [missing, valued] if descending else [missing]
    key = index_key(position.key)
    valued = replace(
        valued,
        # The first condition lets the index find the place; the second goes on from there.
        beyond=f" AND s.value {beyond}= ? AND (s.value {beyond} ? OR r.id {beyond} ?)",
        beyond_params=(key, key, position.resource_id),
    )
    return [valued] if descending else [valued, missing]


def _stored(row: Sequence[Any]) -> StoredResource:
    rid, resource_id, details, version, created, last_modified, secrets, joined = row
    return StoredResource(
        resource_id,
        details,
        str(version),
        created,
        last_modified,
        orjson.loads(secrets) if secrets else {},
        rid,
        bool(joined),
    )


def _at_version(resource: StoredResource, version: int) -> StoredResource:
    return StoredResource(
        resource.id,
        resource.text,
        str(version),
        resource.created,
        resource.last_modified,
        resource.secrets,
    )


def _narrow(layout: TypeLayout, resource: StoredResource) -> tuple[str | None, str | None]:
    """The columns `display` and `secrets` of scim_resource."""
    secrets = orjson.dumps(dict(resource.secrets)).decode() if resource.secrets else None
    return layout.resource_type.display(resource.document), secrets


def _indexed(resource: StoredResource) -> tuple[Mapping[str, Any], str, str]:
    return resource.document, resource.created, resource.last_modified


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
