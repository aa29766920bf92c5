"""Reading many resources: the pages of a search, found by index wherever that is possible."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any, ClassVar

from scim_filter.plan import Plan, parts_of
from storage.adapter import Found, Selection, StoredResource
from storage.batches import BATCH, batches
from storage.errors import SettingsSuperseded
from storage.index.columns import resource_columns, stored
from storage.index.database import Database, marks
from storage.index.dialect import UNLIMITED
from storage.index.filter import SqlFilterCompiler
from storage.index.generation import generation_of, is_readable
from storage.index.lacking import is_sortable
from storage.index.layout import TypeLayout
from storage.index.native import UNIQUE, UNKNOWN, Native
from storage.index.parts import PartsIndex
from storage.index.sorting import Keys, Walk, found_and_sorted
from storage.index.statements import ByValue
from storage.index_keys import number_at
from storage.missing_index import missing_order

# How many row keys are looked up at a time where every candidate must be read.
_BLOCK = 50_000

_by_rid = itemgetter(0)


class Pages:
    """Searches one type.

    Up to `most_sorted` row keys are looked up and sorted. Where more match, a page of the order is soon full.
    """

    most_sorted: ClassVar[int] = 5000

    def __init__(self, database: Database, layout: TypeLayout, parts: PartsIndex | None = None) -> None:
        self._database = database
        self._layout = layout
        self._compiler = SqlFilterCompiler(layout, database.dialect, parts)
        self._columns = resource_columns(database.dialect)
        self._whole = f"FROM scim_resource r JOIN {layout.table} d ON d.id = r.id"

    def every(self, native: Native | None = None) -> Iterator[StoredResource]:
        """Yield what matches `native`, or everything, in order of creation, a batch at a time."""
        keys = self._keys(native)
        last = 0
        while True:
            rows = self._database.rows(
                ByValue(f"{keys.select} {keys.source} AND r.rid > ? ORDER BY r.rid LIMIT ?"),
                (*keys.params, last, _BLOCK),
            )
            if native is not None and not self._is_right(None):
                raise SettingsSuperseded("another process began to index by other settings during a search")
            for batch in batches(row[0] for row in rows):
                yield from self._load(batch)
            if len(rows) < _BLOCK:
                return
            last = rows[-1][0]

    def candidates(self, selection: Selection) -> Found:
        """Return what may be selected (`StorageAdapter.candidates`)."""
        return replace(self._candidates(selection), explain=partial(self._explain, selection))

    def _explain(self, selection: Selection) -> Plan:
        layout = self._layout
        order = missing_order(layout.resource_type, selection.sort, layout.numbers)
        return Plan(parts_of(self._compiler, selection.filter), order)

    def _candidates(self, selection: Selection) -> Found:
        native, residual = None, None
        if selection.filter is not None:
            native, residual = self._compiler.split(selection.filter)
        if residual is not None or not self._is_sortable(selection):
            if native is not None and not self._is_right(None):
                return Found(self.every(), selection.filter)
            return Found(self.every(native), residual, is_narrowed=native is not None)
        page, generation = self._page(selection, native)
        if native is None and selection.sort is None or self._is_right(generation):
            return page
        # Without the index, the answer is right too.
        return Found(self.every(), selection.filter)

    def _is_right(self, generation: int | None) -> bool:
        """Return whether what was found in a generation is right; None is for one not read with it.

        The number only grows: it was the same before.
        """
        found = generation_of(self._database) if generation is None else generation
        return is_readable(self._database, self._layout, found)

    def _is_sortable(self, selection: Selection) -> bool:
        if selection.sort is None:
            return True
        return selection.sort.path.text in self._layout.numbers and is_sortable(selection.sort.path)

    def _page(self, selection: Selection, native: Native | None) -> tuple[Found, int | None]:
        """Return a page and its total as they were at one instant, and the generation if it was read too."""
        limit = UNLIMITED if selection.limit is None else selection.limit
        if not limit:
            return _page([], self.total(native)), None
        if selection.sort is None:
            return self._unsorted(selection, native, limit)
        page = self._found_and_sorted(selection, native, limit)
        if page is not None:
            return page
        with self._database.snapshot():
            return self._walked(selection, native, limit), None

    def _found_and_sorted(
        self, selection: Selection, native: Native | None, limit: int
    ) -> tuple[Found, int | None] | None:
        """Return a page of an order, read with its total in one statement, as `_page` does.

        None is for a filter that lets too many through, or may do so.
        """
        assert selection.sort is not None
        if native is None or native.rank == UNKNOWN:
            return None
        path = self._layout.numbers[selection.sort.path.text]
        rows = self._database.rows(
            *found_and_sorted(
                self._keys(native),
                path,
                selection,
                limit,
                self._columns,
                self._layout.table,
                self.most_sorted,
                self._database.dialect.by_resource,
            )
        )
        *_, generation, total = rows[0]
        if total > self.most_sorted:
            return None
        # The row of an empty page has neither a key nor a document.
        found = [stored(row) for row in rows if row[2] is not None]
        return _page(found if selection.before is None else found[::-1], total), generation

    def _walked(self, selection: Selection, native: Native | None, limit: int) -> Found:
        """Return a page of an order that is walked through; within a snapshot."""
        assert selection.sort is not None
        path = self._layout.numbers[selection.sort.path.text]
        walk = Walk(self._database, self._layout, path, native, partial(self.total, None))
        found = self._load(walk.page(selection))
        if found and len(found) < limit and _is_from_start(selection):
            return _page(found, selection.offset + len(found))
        return _page(found, self.total(native))

    def _unsorted(self, selection: Selection, native: Native | None, limit: int) -> tuple[Found, int]:
        """Return a page in order of creation, read with its total in one statement, as `_page` does.

        Documents are read for the page alone, and what matches is counted only where the page does
        not tell.
        """
        is_first = _is_from_start(selection) and not selection.offset
        if native is not None and native.rank == UNIQUE and is_first:
            found, generation, _ = self._read(selection, native, limit, "NULL")
            # Several have the value only where a conflict was taken over.
            if len(found) < limit:
                return _page(found, len(found)), generation
        counted, params = self._counted(native)
        if native is not None:
            counted = f"CASE WHEN COALESCE(p.many, ?) < ? THEN NULL ELSE {counted} END"
            enough = limit if _is_from_start(selection) else 0
            params = (0 if is_first else UNLIMITED, enough, *params)
        found, generation, total = self._read(selection, native, limit, counted, params)
        return _page(found, selection.offset + len(found) if total is None else int(total)), generation

    def _read(
        self,
        selection: Selection,
        native: Native | None,
        limit: int,
        total: str,
        params: tuple[Any, ...] = (),
    ) -> tuple[list[StoredResource], int, Any]:
        """Return a page in order of creation, the generation, and the value of the expression `total`.

        In the expression, `p.many` is how many there are on the page; none is NULL.
        """
        keys = self._keys(native)
        position = selection.before or selection.after
        direction, beyond = ("ASC", ">") if selection.before is None else ("DESC", "<")
        onward = f" AND r.rid {beyond} ?" if position else ""
        many = ", COUNT(*) OVER () AS many" if "p.many" in total else ""
        statement = (
            # PostgreSQL takes a table that was never analyzed for 2,000 rows: it would read all memberships.
            f"{self._columns}, g.number, {total} FROM (SELECT number FROM scim_generation LIMIT 1) g "
            f"LEFT JOIN (SELECT q.rid{many} FROM ({keys.select} {keys.source}{onward} "
            f"ORDER BY r.rid {direction} LIMIT ? OFFSET ?) q) p ON 1 = 1 "
            f"LEFT JOIN scim_resource r ON r.rid = p.rid LEFT JOIN {self._layout.table} d ON d.id = r.id"
        )
        # Of several conditions, the values tell which one finds least.
        is_by_key = native is None or (native.rank == UNIQUE and not native.conjuncts)
        rows = self._database.rows(
            statement if is_by_key else ByValue(statement),
            (
                *(*params, *keys.params),
                *([number_at(position.place)] if position else []),
                *(limit, selection.offset),
            ),
        )
        *_, generation, value = rows[0]
        # The row of an empty page has neither a key nor a document.
        found = [row for row in rows if row[2] is not None]
        found.sort(key=_by_rid)
        return [stored(row) for row in found], generation, value

    def _keys(self, native: Native | None) -> Keys:
        """Return the row keys of what matches `native`, from whatever tells them fastest."""
        number = self._layout.number
        if native is None:
            hint = self._database.dialect.by_type
            return Keys(f"FROM scim_resource r{hint} WHERE r.type = ?", (number,))
        if native.rids is None or not native.keys_only:
            source = f"FROM scim_resource r WHERE r.type = ? AND {native.where}"
            return Keys(source, (number, *native.params))
        select = "SELECT r.rid" if native.distinct else "SELECT DISTINCT r.rid"
        return Keys(f"FROM ({native.rids}) r WHERE 1 = 1", native.params, select)

    def total(self, native: Native | None) -> int:
        """Return how many resources match `native`, or how many there are."""
        counted, params = self._counted(native)
        return int(self._database.row(ByValue(f"SELECT {counted}"), params)[0])

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


def _page(resources: Sequence[StoredResource], total: int) -> Found:
    return Found(resources, is_page=True, total=total)
