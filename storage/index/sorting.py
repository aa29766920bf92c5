"""Pages in the order of an attribute: found and sorted, or walked through in the order of the index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from storage.adapter import Position, Selection
from storage.index.database import Database
from storage.index.dialect import UNLIMITED
from storage.index.generation import NUMBER
from storage.index.lacking import is_listed
from storage.index.layout import TypeLayout
from storage.index.native import Native
from storage.index.statements import ByValue
from storage.index_keys import number_at
from storage.order import OrderPart, read_page


def _value_of(row: str, by_resource: str) -> str:
    """Return a SELECT of what the resource of `row` is sorted by; its parameter is the path."""
    rows = f"FROM scim_attribute s{by_resource} WHERE s.rid = {row}.rid AND s.path = ? AND s.element = 0"
    return f"SELECT s.value {rows}"


@dataclass(frozen=True)
class Keys:
    """Where row keys come from."""

    source: str
    params: tuple[Any, ...]
    select: str = "SELECT r.rid"


def found_and_sorted(
    keys: Keys,
    path: int,
    selection: Selection,
    limit: int,
    columns: str,
    table: str,
    most: int,
    by_resource: str,
) -> tuple[str, tuple[Any, ...]]:
    """Return the statement for a page of what `keys` select, sorted by a path, and its parameters.

    It returns `columns` of each resource, the generation and how many there are, in the order in which the
    page is read, and a row of these alone for an empty page. Of more than `most`, the page is empty. `table`
    has the documents; `by_resource` is of the dialect.
    """
    assert selection.sort is not None
    descending = (selection.before is not None) != selection.sort.descending
    onward, position = _beyond(selection.after or selection.before, descending)
    down = " DESC" if descending else ""
    order = ", ".join(f"{{0}}.{one}{down}" for one in ("value IS NULL", "value", "rid"))
    statement = ByValue(
        f"WITH k AS ({keys.select} {keys.source} LIMIT {most + 1}), "
        "n AS (SELECT COUNT(*) AS many FROM k) "
        f"{columns}, {NUMBER}, n.many FROM n LEFT JOIN (SELECT v.rid, v.value FROM "
        f"(SELECT k.rid, ({_value_of('k', by_resource)}) AS value FROM k "
        f"WHERE (SELECT many FROM n) <= {most}) v{onward} "
        f"ORDER BY {order.format('v')} LIMIT ? OFFSET ?) p ON 1 = 1 "
        f"LEFT JOIN scim_resource r ON r.rid = p.rid LEFT JOIN {table} d ON d.id = r.id "
        f"ORDER BY {order.format('p')}"
    )
    return statement, (*keys.params, path, *position, limit, selection.offset)


def _beyond(position: Position | None, descending: bool) -> tuple[str, tuple[Any, ...]]:
    """Return the condition on what is beyond a position in the order of `v`, and its parameters."""
    if position is None:
        return "", ()
    beyond, place = "<" if descending else ">", number_at(position.place)
    if position.key is None:
        others = "v.value IS NOT NULL OR " if descending else "v.value IS NULL AND "
        return f" WHERE {others}v.rid {beyond} ?", (place,)
    missing = "" if descending else "v.value IS NULL OR "
    condition = f" WHERE {missing}v.value {beyond} ? OR (v.value = ? AND v.rid {beyond} ?)"
    return condition, (position.key, position.key, place)


@dataclass
class Walk:
    """Walks through a type in the order of a path, and tests what is there for a filter.

    All that is read must be of one instant. `total` returns how many resources the type has.
    """

    database: Database
    layout: TypeLayout
    path: int
    native: Native | None
    total: Callable[[], int]

    def page(self, selection: Selection) -> list[int]:
        """Return the row keys of a page."""
        return read_page(selection, self._read, self._count)

    def _read(self, part: OrderPart, offset: int, limit: int | None) -> list[int]:
        if self._is_empty(part):
            return []
        keys = self._keys(part)
        onward, position = _onward(part)
        direction = "DESC" if part.descending else "ASC"
        order = f"r.value {direction}, r.rid {direction}" if part.has_value else f"r.rid {direction}"
        rows = self.database.rows(
            ByValue(f"{keys.select} {keys.source}{onward} ORDER BY {order} LIMIT ? OFFSET ?"),
            (*keys.params, *position, UNLIMITED if limit is None else limit, offset),
        )
        return [rid for (rid,) in rows]

    def _count(self, part: OrderPart) -> int:
        if self._is_empty(part):
            return 0
        if self.native is None:
            missing = self._count_missing()
            return self.total() - missing if part.has_value else missing
        keys = self._keys(part)
        return int(self.database.row(ByValue(f"SELECT COUNT(*) {keys.source}"), keys.params)[0])

    def _is_empty(self, part: OrderPart) -> bool:
        """Return whether nothing can be in a part: to look for what is not there takes a walk through all."""
        return not part.has_value and any(one.path == self.path for one in self._conditions)

    @cached_property
    def _is_listed(self) -> bool:
        """Whether the resources without a value to sort by are listed; many are found soon without that."""
        return is_listed(self.database, self.path)

    def _count_missing(self) -> int:
        """Return how many resources have nothing to be sorted by."""
        rows = "lacking WHERE path = ?" if self._is_listed else "attribute WHERE path = ? AND element = 0"
        (count,) = self.database.row(ByValue(f"SELECT COUNT(*) FROM scim_{rows}"), (self.path,))
        return int(count) if self._is_listed else self.total() - int(count)

    @property
    def _conditions(self) -> Sequence[Native]:
        if self.native is None:
            return ()
        return self.native.conjuncts or (self.native,)

    def _keys(self, part: OrderPart) -> Keys:
        """Return the row keys of what matches the filter in a part of the order."""
        conditions: list[str] = []
        params: list[object] = []
        for one in self._conditions:
            if part.has_value and one.path == self.path:
                # A range of the index that is walked through.
                conditions.append(f" AND {one.on_row}")
                params += one.test_params[1:]
            else:
                conditions.append(f" AND {one.test(self.database.dialect.one_by_one)}")
                params += one.test_params
        if part.has_value:
            # The row of the value has the row key, which is all that a condition is on.
            source, first = "FROM scim_attribute r WHERE r.path = ? AND r.element = 0", [self.path]
        elif self._is_listed:
            source, first = "FROM scim_lacking r WHERE r.path = ?", [self.path]
        else:
            source = f"FROM scim_resource r{self.database.dialect.by_type} WHERE r.type = ? "
            source += f"AND NOT EXISTS ({_value_of('r', self.database.dialect.by_resource)})"
            first = [self.layout.number, self.path]
        return Keys(f"{source}{''.join(conditions)}", (*first, *params))


def _onward(part: OrderPart) -> tuple[str, tuple[Any, ...]]:
    """Return the condition on what is beyond the position to go on from, and its parameters."""
    if part.beyond is None:
        return "", ()
    beyond, place = "<" if part.descending else ">", number_at(part.beyond.place)
    if not part.has_value:
        return f" AND r.rid {beyond} ?", (place,)
    # The first condition lets the index find the place; the second goes on from there.
    condition = f" AND r.value {beyond}= ? AND (r.value {beyond} ? OR r.rid {beyond} ?)"
    return condition, (part.beyond.key, part.beyond.key, place)
