"""The SQL adapter: documents in a table per resource type, their searchable values in side tables.

The tables are described in `storage.index.tables`, their rows in `storage.index.layout`, the translation
of filters in `storage.index.filter`, and the differences between databases in a dialect each. Statements
are constant text run through the driver: building one costs more than running it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, cast

from schema.resource_type import ResourceType
from storage.adapter import (
    Adoptable,
    Capabilities,
    Found,
    Member,
    Membership,
    Selection,
    StorageAdapter,
    StoredResource,
)
from storage.attempts import repeated
from storage.errors import Contention, ResourceNotFound, VersionMismatch, without_effect
from storage.index.building import build
from storage.index.columns import resource_columns, stored
from storage.index.database import Database
from storage.index.generation import NUMBER, generation_of, locked_number, require_current
from storage.index.layout import TypeLayout
from storage.index.members import MemberRows
from storage.index.mending import Mending
from storage.index.pages import Pages
from storage.index.parts import PartsIndex
from storage.index.rows import ResourceRows
from storage.index.statements import Row
from storage.sql.adoption import STEPS
from storage.sql.existing import tables_to_serve
from storage.sql.survey import survey_tables


class SqlAdapter(StorageAdapter):
    """Keeps resources in an SQL database.

    `tables` maps names of resource types to names of tables; the default is that of the endpoint.
    `indexed` holds the paths to index, as for `indexed_paths`. `parts` is the index for `co` and `ew`.
    """

    capabilities = Capabilities(
        native_uniqueness=True, transactions=True, members=True, mends=True, owners=True
    )

    def __init__(
        self,
        database: Database,
        tables: Mapping[str, str],
        indexed: frozenset[str] | None,
        parts: PartsIndex | None = None,
    ) -> None:
        self._database = database
        self._parts = parts
        self._tables = tables
        self._indexed = indexed
        self._columns = resource_columns(database.dialect)
        self._rows = ResourceRows(self._database)
        self._names: dict[int, str] = {}
        self._members = MemberRows(self._database, self._names)
        self._layouts: dict[str, TypeLayout] = {}
        self._pages: dict[str, Pages] = {}
        self._mending = Mending(database, ())

    @property
    def state_database(self) -> Database:
        return self._database

    # -- the backend as a whole

    def prepare(self, resource_types: Sequence[ResourceType]) -> None:
        try:
            layouts = tables_to_serve(self._database, resource_types, self._tables, self._indexed)
            build(self._database, layouts, *STEPS)
            if self._parts is not None:
                self._parts.prepare(self._database)
            self._mending = Mending(self._database, layouts)
            self._mending.mend_written()
            twin = self._database.row("SELECT 1 FROM scim_resource WHERE twin <> 0 LIMIT 1")
            self._rows.has_twins = twin is not None
        finally:
            # Connections do not survive a fork, and preparing may happen before one.
            self.close()
        for layout in layouts:
            name = layout.resource_type.name
            self._layouts[name] = layout
            self._names[layout.number] = name
            self._pages[name] = Pages(self._database, layout, self._parts)

    def to_adopt(self, resource_types: Sequence[ResourceType]) -> Iterator[Adoptable]:
        with closing(self._database.to_read()) as database:
            yield from survey_tables(database, resource_types, self._tables)

    def check(self) -> None:
        for layout in self._layouts.values():
            self._database.rows(
                f"{self._columns} FROM scim_resource r JOIN {layout.table} d ON d.id = r.id "
                "WHERE r.type = ? LIMIT 1",
                (layout.number,),
            )
            self._pages[layout.resource_type.name].total(None)

    def check_writable(self) -> None:
        with without_effect():
            repeated(self._write_nothing, Contention)

    def _write_nothing(self) -> None:
        # Only the commit shows that the disk is full.
        with self._database.transaction():
            self._database.run("UPDATE scim_layout SET version = version")
            generation = generation_of(self._database)
            for layout in self._layouts.values():
                require_current(self._database, layout, generation)

    def mend(self) -> int:
        return self._mending.run()

    def close(self) -> None:
        self._database.close()

    def transaction(self) -> AbstractContextManager[None]:
        return self._database.transaction()

    def when_committed(self, callback: Callable[[], object]) -> None:
        self._database.when_committed(callback)

    @property
    def in_transaction(self) -> bool:
        return self._database.in_transaction

    def savepoint(self) -> AbstractContextManager[None]:
        return self._database.savepoint()

    def pipelined(self) -> AbstractContextManager[None]:
        return self._rows.pipelined()

    # -- one resource

    def get(self, resource_type: ResourceType, resource_id: str) -> StoredResource:
        return self._get(self._layouts[resource_type.name], resource_id)

    def _get(self, layout: TypeLayout, resource_id: str) -> StoredResource:
        """Return a resource; a transaction locks it until its end."""
        _check_id(layout, resource_id)
        database = self._database
        if database.in_transaction:
            # A resource that a transaction has read stays as it is until the transaction ends.
            known = database.remembered.get((layout.number, resource_id))
            if known is not None:
                return cast(StoredResource, known)
        return self._found(layout, resource_id, database.row(*self._to_get(layout, resource_id)))

    def _to_get(self, layout: TypeLayout, resource_id: str) -> tuple[str, Row]:
        """Return the statement that reads a resource, and locks it in a transaction."""
        database, lock, number = self._database, "", NUMBER
        if database.in_transaction:
            lock, number = database.dialect.for_update, locked_number(database)
        return (
            f"{self._columns}, {number} FROM scim_resource r JOIN {layout.table} d ON d.id = r.id "
            # Without statistics, SQLite would read all resources of the type; the plus sign prevents that.
            f"WHERE r.id = ? AND +r.type = ?{lock}",
            (resource_id, layout.number),
        )

    def _found(self, layout: TypeLayout, resource_id: str, row: Any) -> StoredResource:
        """Return the resource in a row of `_to_get`; None is for no row."""
        if row is None:
            raise ResourceNotFound(layout.resource_type.name, resource_id)
        found = stored(row)
        if self._database.in_transaction:
            require_current(self._database, layout, row[-1])
            self._database.remembered[layout.number, resource_id] = found
        return found

    def get_to_delete(
        self, resource_type: ResourceType, resource_id: str
    ) -> tuple[StoredResource, Sequence[Membership]]:
        layout = self._layouts[resource_type.name]
        _check_id(layout, resource_id)
        database, members = self._database, self._members
        with database.transaction():
            if not database.dialect.for_update:
                # SQLite has one writer at a time. What was read before may have joined since then.
                is_known = (layout.number, resource_id) in database.remembered
                before = self._get(layout, resource_id)
                if before.joined is False and not is_known:
                    return before, ()
                rows = database.rows(*members.to_direct(layout, resource_id))
                return before, list(members.direct(rows).values())
            to_lock = members.direct(database.rows(*members.to_direct(layout, resource_id)))
            places = [(self._layouts[one.resource_type], one.resource_id) for one in to_lock.values()]
            places.append((layout, resource_id))
            unread = [
                (one, place_id)
                for one, place_id in places
                if (one.number, place_id) not in database.remembered
            ]
            *read, rows = database.rows_of(
                *(self._to_get(*place) for place in unread), members.to_direct(layout, resource_id)
            )
            for place, found in zip(unread, read, strict=True):
                if found:
                    self._found(*place, found[0])
            groups = members.direct(rows)
            if not groups.keys() <= to_lock.keys():
                # To wait for these groups now could be to wait in a circle.
                raise Contention("the resource joined a group while it was being deleted")
            # Known by now, unless there is none.
            return self._get(layout, resource_id), list(groups.values())

    def create(self, resource_type: ResourceType, resource: StoredResource) -> StoredResource:
        layout = self._layouts[resource_type.name]
        with self._database.transaction():
            created = self._rows.insert(layout, resource)
            if created.source is not None:
                self._database.remembered[layout.number, created.id] = created
        return created

    def create_many(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        with self._database.transaction():
            self._rows.insert_many(self._layouts[resource_type.name], resources, "1")

    def replace(
        self, resource_type: ResourceType, resource: StoredResource, if_version: str | None = None
    ) -> StoredResource:
        layout = self._layouts[resource_type.name]
        with self._database.transaction():
            before = self._at(layout, resource.id, if_version)
            after = self._rows.replace(layout, before, resource, str(int(before.version) + 1))
            self._database.remembered[layout.number, after.id] = after
        return after

    def delete(self, resource_type: ResourceType, resource_id: str, if_version: str | None = None) -> None:
        layout = self._layouts[resource_type.name]
        with self._database.transaction():
            before = self._at(layout, resource_id, if_version)
            self._rows.delete(layout, before)
            self._database.remembered.pop((layout.number, resource_id), None)

    def _at(self, layout: TypeLayout, resource_id: str, if_version: str | None) -> StoredResource:
        before = self._get(layout, resource_id)
        if if_version is not None and before.version != if_version:
            raise VersionMismatch(f"{layout.resource_type.name} {resource_id} is at {before.version}")
        return before

    # -- many resources

    def scan(self, resource_type: ResourceType) -> Iterator[StoredResource]:
        return self._pages[resource_type.name].every()

    def candidates(self, resource_type: ResourceType, selection: Selection) -> Found:
        return self._pages[resource_type.name].candidates(selection)

    # -- members

    def among_members(
        self, resource_type: ResourceType, stored: StoredResource, member_ids: Sequence[str]
    ) -> Sequence[Member]:
        return self._members.among(stored.source, stored.id, member_ids)

    def members(
        self, resource_type: ResourceType, stored: StoredResource, limit: int | None = None
    ) -> Iterator[Member]:
        return self._members.of(stored.source, stored.id, limit)

    def change_members(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        add: Iterable[Member],
        remove: Iterable[Member],
    ) -> bool:
        with self._database.transaction():
            # Locked, and without a statement where this transaction has read it.
            group = self._get(self._layouts[resource_type.name], stored.id)
            return self._members.change(group.source, add, remove)

    def memberships(
        self, resource_type: ResourceType, stored: Sequence[StoredResource]
    ) -> Mapping[str, Sequence[Membership]]:
        return self._members.above(self._layouts[resource_type.name], [one.id for one in stored])

    def find(self, resource_ids: Sequence[str]) -> Sequence[Member]:
        return self._members.find(resource_ids)


def _check_id(layout: TypeLayout, resource_id: str) -> None:
    """Raise ResourceNotFound for a text with NUL: no id has it, and PostgreSQL refuses it in a parameter."""
    if "\0" in resource_id:
        raise ResourceNotFound(layout.resource_type.name, resource_id)
