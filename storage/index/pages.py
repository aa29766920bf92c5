"""Reading many resources: the pages of a search, found by index wherever that is possible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from storage.adapter import Found, Selection, StoredResource
from storage.batches import BATCH, batches
from storage.index.database import Database, marks
from storage.index.dialect import UNLIMITED
from storage.index.filter import Native, SqlFilterCompiler
from storage.index.layout import TypeLayout
from storage.index.rows import resource_columns, stored
from storage.index_keys import number_at
from storage.order import OrderPart, read_page

# How many row keys are looked up at a time where every candidate must be read.
_BLOCK = 50_000


class Pages:
    """Searches one type."""

    def __init__(self, database: Database, layout: TypeLayout) -> None:
        self._database = database
        self._layout = layout
        self._compiler = SqlFilterCompiler(layout, database.dialect)
        self._columns = resource_columns(database.dialect.text)
        self._whole = f"FROM scim_resource r JOIN {layout.table} d ON d.id = r.id"

    def every(self, native: Native | None = None) -> Iterator[StoredResource]:
        """Yield what matches `native`, or everything, in order of creation, a batch at a time."""
        keys = self._keys(native)
        last = 0
        while True:
            rows = self._database.rows(
                f"{keys.select} {keys.source} AND r.rid > ? ORDER BY r.rid LIMIT ?",
                (*keys.params, last, _BLOCK),
            )
            for batch in batches(row[0] for row in rows):
                yield from self._load(batch)
            if len(rows) < _BLOCK:
                return
            last = rows[-1][0]

    def candidates(self, selection: Selection) -> Found:
        """Return what may be selected (`StorageAdapter.candidates`)."""
        native, residual = None, None
        if selection.filter is not None:
            native, residual = self._compiler.split(selection.filter)
        if residual is not None or not self._is_sortable(selection):
            return Found(self.every(native), residual)
        return self._page(selection, native)

    def _is_sortable(self, selection: Selection) -> bool:
        if selection.sort is None:
            return True
        sub_attribute = selection.sort.path.sub_attribute
        # One element may have several rows then, and a resource stands in one place.
        several = sub_attribute is not None and sub_attribute.multi_valued
        return selection.sort.path.text in self._layout.numbers and not several

    def _page(self, selection: Selection, native: Native | None) -> Found:
        """Return a page and its total as they were at one instant."""
        limit = UNLIMITED if selection.limit is None else selection.limit
        if not limit:
            return _page([], self.total(native))
        page = self._unsorted(selection, native, limit) if selection.sort is None else None
        if page is not None:
            return page
        with self._database.snapshot():
            if selection.sort is None:
                return self._unsorted(selection, native, limit) or _page([], self.total(native))
            found = self._load(self._sorted_rids(selection, native))
            if found and len(found) < limit and _is_from_start(selection):
                return _page(found, selection.offset + len(found))
            return _page(found, self.total(native))

    def _unsorted(self, selection: Selection, native: Native | None, limit: int) -> Found | None:
        """Return a page in order of creation, read with its total in one statement.

        Documents are read for the page alone, and what matches is counted only where the page does
        not tell. None is for an empty page that does not tell how many there are.
        """
        keys = self._keys(native)
        backwards = selection.before is not None
        position = selection.before or selection.after
        direction, beyond = ("DESC", "<") if backwards else ("ASC", ">")
        onward = f" AND r.rid {beyond} ?" if position else ""
        counted, count_params = self._counted(native)
        enough = limit if _is_from_start(selection) else 0
        rows = self._database.rows(
            f"{self._columns}, CASE WHEN p.many >= ? THEN {counted} END "
            f"FROM (SELECT q.rid, COUNT(*) OVER () AS many FROM ({keys.select} {keys.source}{onward} "
            f"ORDER BY r.rid {direction} LIMIT ? OFFSET ?) q) p "
            f"JOIN scim_resource r ON r.rid = p.rid JOIN {self._layout.table} d ON d.id = r.id "
            "ORDER BY r.rid",
            (
                *(enough, *count_params, *keys.params),
                *([number_at(position.place)] if position else []),
                *(limit, selection.offset),
            ),
        )
        if not rows:
            return _page([], 0) if _is_from_start(selection) and not selection.offset else None
        total = rows[0][-1]
        return _page(
            [stored(row[:-1]) for row in rows],
            selection.offset + len(rows) if total is None else int(total),
        )

    def _keys(self, native: Native | None) -> "_Keys":
        """Return the row keys of what matches `native`, from whatever tells them fastest."""
        number = self._layout.number
        if native is None:
            hint = self._database.dialect.by_type
            return _Keys(f"FROM scim_resource r{hint} WHERE r.type = ?", (number,))
        if native.rids is None or not native.keys_only:
            source = f"FROM scim_resource r WHERE r.type = ? AND {native.where}"
            return _Keys(source, (number, *native.params))
        select = "SELECT r.rid" if native.distinct else "SELECT DISTINCT r.rid"
        return _Keys(f"FROM ({native.rids}) r WHERE 1 = 1", native.params, select)

    def _sorted_rids(self, selection: Selection, native: Native | None) -> list[int]:
        """Return the row keys of a page of a sorted order."""
        assert selection.sort is not None
        path = self._layout.numbers[selection.sort.path.text]

        def read(part: OrderPart, offset: int, limit: int | None) -> list[int]:
            keys = self._keys_in(part, path, native)
            onward, position = _onward(part)
            direction = "DESC" if part.descending else "ASC"
            order = f"s.value {direction}, s.rid {direction}" if part.has_value else f"r.rid {direction}"
            rows = self._database.rows(
                f"{keys.select} {keys.source}{onward} ORDER BY {order} LIMIT ? OFFSET ?",
                (*keys.params, *position, UNLIMITED if limit is None else limit, offset),
            )
            return [rid for (rid,) in rows]

        def count(part: OrderPart) -> int:
            keys = self._keys_in(part, path, native)
            return int(self._database.row(f"SELECT COUNT(*) {keys.source}", keys.params)[0])

        return read_page(selection, read, count)

    def _keys_in(self, part: OrderPart, path: int, native: Native | None) -> "_Keys":
        """Return the row keys of what matches `native` in a part of the order by a path."""
        where, params = (f" AND {native.where}", native.params) if native else ("", ())
        if not part.has_value:
            return _Keys(
                "FROM scim_resource r WHERE r.type = ? AND r.rid NOT IN "
                f"(SELECT rid FROM scim_attribute WHERE path = ? AND element = 0){where}",
                (self._layout.number, path, *params),
            )
        # The index has all that an order takes; a filter is on the resource.
        joined = "JOIN scim_resource r ON r.rid = s.rid " if native else ""
        source = f"FROM scim_attribute s {joined}WHERE s.path = ? AND s.element = 0{where}"
        return _Keys(source, (path, *params), "SELECT s.rid")

    def total(self, native: Native | None) -> int:
        """Return how many resources match `native`, or how many there are."""
        counted, params = self._counted(native)
        return int(self._database.row(f"SELECT {counted}", params)[0])

    def _counted(self, native: Native | None) -> tuple[str, tuple[Any, ...]]:
        """Return the expression for how many resources match `native`: all of it is one statement.

        What is told by a difference must not be read apart: others write in between.
        """
        if native is None:
            counted, count_params = self._database.counted(self._layout.number)
            return counted, (*count_params,)
        if native.negated is not None:
            all_of_them, params = self._counted(None)
            without, rest = self._counted(native.negated)
            return f"({all_of_them} - {without})", (*params, *rest)
        keys = self._keys(native)
        key = "r.rid" if native.distinct or keys.select == "SELECT r.rid" else "DISTINCT r.rid"
        return f"(SELECT COUNT({key}) {keys.source})", (*keys.params,)

    def _load(self, rids: Sequence[int]) -> list[StoredResource]:
        found: dict[int, StoredResource] = {}
        for batch in batches(rids, BATCH):
            rows = self._database.rows(
                f"{self._columns} {self._whole} WHERE r.rid IN ({marks(batch)})", batch
            )
            found |= {row[0]: stored(row) for row in rows}
        return [found[rid] for rid in rids if rid in found]


def _is_from_start(selection: Selection) -> bool:
    return selection.after is None and selection.before is None


@dataclass(frozen=True)
class _Keys:
    """Where row keys come from."""

    source: str
    params: tuple[Any, ...]
    select: str = "SELECT r.rid"


def _onward(part: OrderPart) -> tuple[str, tuple[Any, ...]]:
    """Return the condition on what is beyond the position to go on from, and its parameters."""
    if part.beyond is None:
        return "", ()
    beyond, place = "<" if part.descending else ">", number_at(part.beyond.place)
    if not part.has_value:
        return f" AND r.rid {beyond} ?", (place,)
    # The first condition lets the index find the place; the second goes on from there.
    condition = f" AND s.value {beyond}= ? AND (s.value {beyond} ? OR s.rid {beyond} ?)"
    return condition, (part.beyond.key, part.beyond.key, place)


def _page(resources: Sequence[StoredResource], total: int) -> Found:
    return Found(resources, is_page=True, total=total)
