"""Writing a resource: its document and what it is found by, in the transaction of the caller."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import TypeVar

import orjson

from storage.adapter import StoredResource
from storage.errors import UniquenessConflict
from storage.index.database import Database, DuplicateKey, marks
from storage.index.inserts import ATTRIBUTE, RESOURCE, claim_unique, insert_index
from storage.index.layout import IndexRow, TypeLayout

_Item = TypeVar("_Item")

# How many rows go into one statement, and how many ids.
BATCH = 500


class ResourceRows:
    """The rows of single resources, and of many at once.

    No two resources have one id, whatever their types, but for twins: resources of others that were
    taken over so. `has_twins` says whether there may be any.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.has_twins = True

    def insert(self, layout: TypeLayout, resource: StoredResource, claim: bool = True) -> int:
        """Write a new resource and return its row key.

        Without `claim`, others may have the same values, and one of another type the same id.
        Raises UniquenessConflict.
        """
        twin = 0 if claim or not self._is_taken(resource.id) else layout.number
        row = (layout.number, resource.id, 1, resource.created, resource.last_modified)
        index = sorted(layout.index_rows(resource), key=_by_key)
        unique = sorted(layout.unique_rows(index)) if claim else []
        try:
            rid, claimed = self._database.dialect.insert_whole(
                self._database,
                layout.table,
                (*row, *narrow(layout, resource), twin),
                resource.text,
                unique,
                index,
            )
        except DuplicateKey as exc:
            # Or a row of the same id that another program wrote among the documents.
            raise UniquenessConflict("id") from exc
        if len(claimed) < len(unique):
            raise UniquenessConflict(layout.unique_path(min({path for path, _ in unique} - claimed)))
        self._database.count(layout.number, 1)
        return rid

    def insert_many(self, layout: TypeLayout, resources: Sequence[StoredResource]) -> None:
        """Write new resources, all of them or none. Raises UniquenessConflict."""
        database, insert_rows = self._database, self._database.dialect.insert_rows
        try:
            insert_rows(
                database,
                "scim_resource",
                RESOURCE,
                [
                    (layout.number, r.id, 1, r.created, r.last_modified, *narrow(layout, r), 0)
                    for r in resources
                ],
            )
            insert_rows(database, layout.table, "id, details", [(r.id, r.text) for r in resources])
        except DuplicateKey as exc:
            raise UniquenessConflict("id") from exc
        rids = self.rids(layout, [resource.id for resource in resources])
        index = {rids[r.id]: layout.index_rows(r) for r in resources}
        unique = sorted(
            (path, value, rid) for rid, rows in index.items() for path, value in layout.unique_rows(rows)
        )
        try:
            insert_rows(database, "scim_unique", "path, value, rid", unique)
        except DuplicateKey as exc:
            raise UniquenessConflict("an attribute") from exc
        self.insert_index_rows((rid, row) for rid, rows in index.items() for row in rows)
        database.count(layout.number, len(resources))

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
        rid: int,
        before: StoredResource,
        after: StoredResource,
        version: int,
        claim: bool = True,
    ) -> None:
        """Write what is different in `after`; `claim` as in `insert`. Raises UniquenessConflict."""
        run = self._database.run
        run(
            "UPDATE scim_resource SET version = ?, created = ?, last_modified = ?, display = ?, "
            "secrets = ? WHERE rid = ?",
            (version, after.created, after.last_modified, *narrow(layout, after), rid),
        )
        old, new = layout.changed_rows(before, after)
        if before.text != after.text:
            old_unique, new_unique = layout.unique_rows(old), layout.unique_rows(new)
            self._delete_unique(rid, old_unique - new_unique)
            if claim:
                self._insert_unique(layout, rid, new_unique - old_unique)
            run(f"UPDATE {layout.table} SET details = ? WHERE id = ?", (after.text, after.id))
        self._delete_index(rid, old - new)
        insert_index(self._database, rid, sorted(new - old, key=_by_key))

    def delete(self, layout: TypeLayout, rid: int, resource: StoredResource) -> None:
        """Remove every row of a resource."""
        run = self._database.run
        self._delete_unique(rid, layout.unique_rows(layout.index_rows(resource)))
        run("DELETE FROM scim_attribute WHERE rid = ?", (rid,))
        run("DELETE FROM scim_member WHERE group_rid = ?", (rid,))
        run("DELETE FROM scim_member WHERE member_rid = ?", (rid,))
        run("DELETE FROM scim_resource WHERE rid = ?", (rid,))
        run(f"DELETE FROM {layout.table} WHERE id = ?", (resource.id,))
        self._database.count(layout.number, -1)
        if self.has_twins:
            # The id belongs to the next one that has it.
            (heir,) = self._database.row("SELECT MIN(rid) FROM scim_resource WHERE id = ?", (resource.id,))
            if heir is not None:
                run("UPDATE scim_resource SET twin = 0 WHERE rid = ?", (heir,))

    def _is_taken(self, resource_id: str) -> bool:
        return self._database.row("SELECT 1 FROM scim_resource WHERE id = ?", (resource_id,)) is not None

    def _insert_unique(self, layout: TypeLayout, rid: int, rows: Iterable[tuple[int, str]]) -> None:
        ordered = sorted(rows)
        if not ordered:
            return
        claimed = claim_unique(self._database, rid, ordered)
        if len(claimed) < len(ordered):
            raise UniquenessConflict(layout.unique_path(min({path for path, _ in ordered} - claimed)))

    def _delete_unique(self, rid: int, rows: Iterable[tuple[int, str]]) -> None:
        for path, value in sorted(rows):
            # What was taken over with a conflict does not own its value.
            self._database.run(
                "DELETE FROM scim_unique WHERE path = ? AND value = ? AND rid = ?", (path, value, rid)
            )

    def _delete_index(self, rid: int, rows: Iterable[IndexRow]) -> None:
        condition = "(path = ? AND value = ? AND rid = ? AND element = ?)"
        # A statement each is as fast where there is no server to send it to.
        size = 50 if self._database.dialect.pooled else 1
        ordered = sorted(rows, key=_by_key)
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            self._database.run(
                f"DELETE FROM scim_attribute WHERE {' OR '.join([condition] * len(batch))}",
                [cell for path, value, element, _ in batch for cell in (path, value, rid, element)],
            )


# The order of the key of scim_attribute, within one resource.
_by_key = itemgetter(0, 1, 2)


def narrow(layout: TypeLayout, resource: StoredResource) -> tuple[str | None, str | None]:
    """Return the columns `display` and `secrets` of scim_resource."""
    secrets = orjson.dumps(dict(resource.secrets)).decode() if resource.secrets else None
    return layout.resource_type.display(resource.document), secrets


def batches(values: Iterable[_Item], size: int = BATCH) -> Iterator[list[_Item]]:
    """Yield `values` in lists of at most `size`."""
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
