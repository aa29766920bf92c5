"""The rows of a resource: its document and what it is found by, in the transaction of the caller."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from storage.adapter import StoredResource
from storage.batches import batches
from storage.errors import UniquenessConflict
from storage.index.columns import narrow, resource_row
from storage.index.database import Database, DuplicateKey, marks
from storage.index.generation import generation_of, refuse, require_current
from storage.index.lacking import note_changed, note_lacking, note_lacking_of
from storage.index.layout import ATTRIBUTE, RESOURCE, UNIQUE, IndexRow, TypeLayout, UniqueRow
from storage.index.statements import Row
from storage.index_keys import place_of


class ResourceRows:
    """The rows of single resources, and of many at once.

    No two resources have one id, whatever their types, but for twins: resources of others that were
    taken over so. `has_twins` says whether there may be any.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.has_twins = True

    def insert(
        self, layout: TypeLayout, resource: StoredResource, version: str = "1", strict: bool = True
    ) -> StoredResource:
        """Write a new resource and return it as kept; its source is its row key.

        Unless `strict`, others may have the same values, which stay theirs, and one of another type the
        same id. Raises UniquenessConflict, and SettingsSuperseded where others index by other rules. In
        `pipelined`, a later call may raise them for a type without members: the source is then None.
        """
        generation = layout.generation
        statement = "SELECT 1 FROM scim_resource WHERE id = ?"
        is_first = strict or self._database.row(statement, (resource.id,)) is None
        twin = 0 if is_first else layout.number
        row = resource_row(layout, resource, version, twin)
        index = sorted(layout.index_rows(resource), key=_by_key)
        unique = sorted(layout.unique_rows(index, resource.owner))
        database = self._database
        whole = database.dialect.insertion(
            layout.table, generation, row, resource.text, unique, index, strict
        )
        rid: int | None = None
        try:
            if whole is None:
                rid = self._insert_parts(layout, resource, row, unique, index, strict)
            else:
                check = partial(self._inserted, layout, unique, strict)
                if _PIPELINED in database.remembered and layout.resource_type.members is None:
                    database.run_soon(*whole, check)
                else:
                    rid = check(database.run(*whole))
        except DuplicateKey as exc:
            # Or a row of the same id that another program wrote among the documents.
            raise UniquenessConflict("id") from exc
        note_lacking_of(database, layout, rid, resource.id, index)
        database.count(layout.number, 1)
        return _kept(resource, version, rid, False)

    @contextmanager
    def pipelined(self) -> Iterator[None]:
        """Let `insert` raise what it raises later in this part of a transaction, at its end at the latest."""
        database = self._database
        database.remembered[_PIPELINED] = True
        try:
            yield
            database.rows_of()  # Sends what waits.
        except DuplicateKey as exc:
            raise UniquenessConflict("id") from exc
        finally:
            database.remembered.pop(_PIPELINED, None)

    def _inserted(self, layout: TypeLayout, unique: Sequence[UniqueRow], strict: bool, cursor: Any) -> int:
        """Return the row key from the answer to `Dialect.insertion`. Raises what is wrong with it."""
        row = cursor.fetchone()
        if row is None:
            refuse(self._database, layout)
        rid, free = row
        if strict and len(free) < len(unique):
            taken = [path for path, *_ in unique]
            for path in free:
                taken.remove(path)
            raise UniquenessConflict(layout.unique_path(min(taken)))
        return int(rid)

    def _insert_parts(
        self,
        layout: TypeLayout,
        resource: StoredResource,
        row: Row,
        unique: Sequence[UniqueRow],
        index: Sequence[IndexRow],
        strict: bool,
    ) -> int:
        """Write a new resource by a statement for each table and return its row key."""
        statement = f"INSERT INTO scim_resource ({RESOURCE}) VALUES ({marks(row)})"
        rid = int(self._database.run(statement, row).lastrowid)
        taken = self._claim_own(rid, unique)
        if strict and taken:
            raise UniquenessConflict(layout.unique_path(min(taken)))
        is_written = self._insert_document(layout, resource, layout.generation)
        self._insert_index(rid, index)
        if not is_written:
            refuse(self._database, layout)
        return rid

    def _insert_document(self, layout: TypeLayout, resource: StoredResource, generation: int) -> bool:
        """Write the document of a new resource; return whether the generation is still this one."""
        statement = (
            f"INSERT INTO {layout.table} (id, details) SELECT ?, ? FROM scim_generation "
            f"WHERE number = ?{self._database.dialect.for_share}"
        )
        cells = (resource.id, resource.text, generation)
        return bool(self._database.run(statement, cells).rowcount == 1)

    def insert_many(
        self, layout: TypeLayout, resources: Sequence[StoredResource], version: str | None = None
    ) -> dict[str, int]:
        """Write new resources, all of them or none, and return the row key of each id.

        `version` is that of all of them, None for what each has. Raises as `insert` does.
        """
        require_current(self._database, layout, generation_of(self._database))
        database, insert_rows = self._database, self._database.dialect.insert_rows
        try:
            rows = [resource_row(layout, resource, version or resource.version) for resource in resources]
            insert_rows(database, "scim_resource", RESOURCE, rows)
            insert_rows(database, layout.table, "id, details", [(r.id, r.text) for r in resources])
        except DuplicateKey as exc:
            raise UniquenessConflict("id") from exc
        rids = self.rids(layout, [resource.id for resource in resources])
        index = {rids[r.id]: layout.index_rows(r) for r in resources}
        unique = sorted(
            (*row, rids[r.id]) for r in resources for row in layout.unique_rows(index[rids[r.id]], r.owner)
        )
        try:
            insert_rows(database, "scim_unique", UNIQUE, unique)
        except DuplicateKey as exc:
            raise UniquenessConflict("an attribute") from exc
        self.insert_index_rows((rid, row) for rid, rows in index.items() for row in rows)
        database.count(layout.number, len(resources))
        note_lacking(database, layout, {rid: layout.lacking(rows) for rid, rows in index.items()})
        return rids

    def rids(self, layout: TypeLayout, ids: Sequence[str]) -> dict[str, int]:
        """Return the row key of each id that exists in the type."""
        found: dict[str, int] = {}
        for batch in batches(ids):
            # By id alone: a planner without statistics would rather read the whole type.
            rows = self._database.rows(
                f"SELECT id, rid, type FROM scim_resource WHERE id IN ({marks(batch)})", batch
            )
            found |= {resource_id: rid for resource_id, rid, number in rows if number == layout.number}
        return found

    def insert_index_rows(self, rows: Iterable[tuple[int, IndexRow]]) -> None:
        """Write rows of scim_attribute, each given with its row key, in the order of the table."""
        ordered = sorted((path, value, rid, element, long) for rid, (path, value, element, long) in rows)
        self._database.dialect.insert_rows(self._database, "scim_attribute", ATTRIBUTE, ordered)

    def replace(
        self,
        layout: TypeLayout,
        before: StoredResource,
        after: StoredResource,
        version: str,
        strict: bool = True,
    ) -> StoredResource:
        """Write what is different in `after` and return it as kept; `strict` as in `insert`.

        `before` is as kept. Raises UniquenessConflict.
        """
        run, rid = self._database.run_soon, before.source
        run(
            # A row without index stays one (`storage.index.mending`). MySQL assigns from left to right.
            "UPDATE scim_resource SET indexed_version = CASE indexed_version WHEN version THEN ? ELSE 0 END, "
            "version = ?, created = ?, last_modified = ?, display = ?, secrets = ? WHERE rid = ?",
            (int(version), int(version), after.created, after.last_modified, *narrow(layout, after), rid),
        )
        old, new = layout.changed_rows(before, after)
        old_unique, new_unique = (layout.unique_rows(some, after.owner) for some in (old, new))
        if before.owner != after.owner:
            run("UPDATE scim_resource SET owner = ? WHERE rid = ?", (after.owner, rid))
            old_unique, new_unique = layout.unique_rows_of(before), layout.unique_rows_of(after)
        if before.text != after.text or old_unique != new_unique:
            self._delete_unique(rid, old_unique - new_unique)
            # Values that others had may be free now.
            taken = self._claim_own(
                rid, new_unique - old_unique if strict else layout.unique_rows_of(after)
            )
            if strict and taken:
                raise UniquenessConflict(layout.unique_path(min(taken)))
            run(f"UPDATE {layout.table} SET details = ? WHERE id = ?", (after.text, after.id))
        self._delete_index(rid, old - new)
        self._insert_index(rid, sorted(new - old, key=_by_key))
        note_changed(self._database, layout, rid, old, new)
        return _kept(after, version, rid, before.joined)

    def delete(self, layout: TypeLayout, resource: StoredResource) -> None:
        """Remove every row of a resource, which is given as kept."""
        run, rid = self._database.run_soon, resource.source
        self._delete_unique(rid, layout.unique_rows_of(resource))
        run("DELETE FROM scim_attribute WHERE rid = ?", (rid,))
        run("DELETE FROM scim_member WHERE group_rid = ?", (rid,))
        if resource.joined is not False:
            # A membership that came since then keeps the next statement from success: a foreign key.
            run("DELETE FROM scim_member WHERE member_rid = ?", (rid,))
        run("DELETE FROM scim_resource WHERE rid = ?", (rid,))
        run(f"DELETE FROM {layout.table} WHERE id = ?", (resource.id,))
        self._database.count(layout.number, -1)
        if self.has_twins:
            # The id belongs to the next one that has it.
            (heir,) = self._database.row("SELECT MIN(rid) FROM scim_resource WHERE id = ?", (resource.id,))
            if heir is not None:
                run("UPDATE scim_resource SET twin = 0 WHERE rid = ?", (heir,))

    def _claim_own(self, rid: int, rows: Iterable[UniqueRow]) -> list[int]:
        return [path for path, *_ in self.claim(sorted((*row, rid) for row in rows))]

    def claim(self, rows: Sequence[tuple[int, str, str, int]]) -> list[tuple[int, str, str, int]]:
        """Write rows of scim_unique and return those whose value another resource has.

        `rows` come in the order of the key: two transactions that want the same values wait for each
        other, but not in a circle.
        """
        taken: list[tuple[int, str, str, int]] = []
        for batch in batches(rows):
            statement = self._database.dialect.insert_ignoring(
                "scim_unique", UNIQUE, f"VALUES {', '.join(['(?, ?, ?, ?)'] * len(batch))}"
            )
            if self._database.run(statement, list(chain.from_iterable(batch))).rowcount == len(batch):
                continue
            keys = " OR ".join(["(path = ? AND value = ? AND owner = ?)"] * len(batch))
            found = self._database.rows(
                f"SELECT {UNIQUE} FROM scim_unique WHERE {keys}", [cell for row in batch for cell in row[:3]]
            )
            holders = {tuple(key): rid for *key, rid in found}
            taken += [row for row in batch if holders.get(row[:3]) != row[3]]
        return taken

    def _insert_index(self, rid: int, rows: Sequence[IndexRow]) -> None:
        for batch in batches(rows):
            values = ", ".join(["(?, ?, ?, ?, ?)"] * len(batch))
            cells = [
                cell for path, value, element, long in batch for cell in (path, value, rid, element, long)
            ]
            self._database.run_soon(f"INSERT INTO scim_attribute ({ATTRIBUTE}) VALUES {values}", cells)

    def _delete_unique(self, rid: int, rows: Iterable[UniqueRow]) -> None:
        # A resource that was taken over with a conflict does not have its value.
        condition = "(path = ? AND value = ? AND owner = ? AND rid = ?)"
        for batch in batches(sorted(rows)):
            self._database.run_soon(
                f"DELETE FROM scim_unique WHERE {' OR '.join([condition] * len(batch))}",
                [cell for row in batch for cell in (*row, rid)],
            )

    def _delete_index(self, rid: int, rows: Iterable[IndexRow]) -> None:
        condition = "(path = ? AND value = ? AND rid = ? AND element = ?)"
        # A statement each is as fast where there is no server to send it to.
        size = 50 if self._database.dialect.pooled else 1
        for batch in batches(sorted(rows, key=_by_key), size):
            self._database.run_soon(
                f"DELETE FROM scim_attribute WHERE {' OR '.join([condition] * len(batch))}",
                [cell for path, value, element, _ in batch for cell in (path, value, rid, element)],
            )


# In `Database.remembered`, within `pipelined`.
_PIPELINED: Final = "pipelined"
# The order of the key of scim_attribute, within one resource.
_by_key = itemgetter(0, 1, 2)


def _kept(resource: StoredResource, version: str, rid: int | None, joined: bool | None) -> StoredResource:
    row = StoredResource(
        resource.id,
        resource.text,
        version,
        resource.created,
        resource.last_modified,
        resource.secrets,
        "" if rid is None else place_of(rid),
        joined,
        source=rid,
        owner=resource.owner,
    )
    # Of the same text, it need not be parsed again.
    vars(row)["document"] = resource.document
    return row
