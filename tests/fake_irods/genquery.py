"""GenQuery as the catalogue answers it: columns by number, conditions as text, distinct rows."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.fake_irods.catalog import Account, Catalog
from tests.fake_irods.data import Refused
from tests.fake_irods.metadata import Avu

UPPER_CASE = 0x200
ORDER_BY, ORDER_BY_DESC = 0x400, 0x800
# The columns whose values compare as numbers.
_NUMBERS = {201, 401, 500, 643, 900}
_META = {640, 641, 642, 643, 644, 645}

Condition = tuple[int, str]


class Query:
    """One query: the numbers of its columns with their flags, its conditions and its options."""

    def __init__(
        self, columns: Sequence[tuple[int, int]], conditions: Sequence[Condition], options: int
    ) -> None:
        self.columns = [column for column, _ in columns]
        self._order = [(n, flag) for n, (_, flag) in enumerate(columns) if flag & (ORDER_BY | ORDER_BY_DESC)]
        named = [column for column, _ in conditions]
        if any(named.count(column) > 1 for column in _META):
            # Two conditions on one piece of metadata would need two pieces of one account.
            raise Refused(-816000)
        self._upper = bool(options & UPPER_CASE)
        self._tests: dict[int, list[Callable[[str], bool]]] = {}
        for column, text in conditions:
            self._tests.setdefault(column, []).append(_test(column, text, self._upper))
        self._texts = {column: text for column, text in conditions}
        self._used = set(self.columns) | set(named)

    def rows(self, catalog: Catalog) -> list[tuple[str, ...]]:
        """Return the distinct rows."""
        found = dict.fromkeys(tuple(str(row[c]) for c in self.columns) for row in self._all(catalog))
        rows = list(found)
        for index, flag in reversed(self._order):
            key = _sort_key(index, self.columns[index] in _NUMBERS)
            rows.sort(key=key, reverse=bool(flag & ORDER_BY_DESC))
        return rows

    def _all(self, catalog: Catalog) -> Iterator[dict[int, Any]]:
        with catalog.lock:
            if self._used <= _META:
                # Without an account in the query, the rows are those of the table, attached or not.
                yield from list(self._meta_rows(catalog.metadata.rows))
            elif self._used & {401, 403, 411, *range(500, 510)}:
                yield from list(self._data_rows(catalog))
            else:
                yield from list(self._account_rows(catalog))

    def _account_rows(self, catalog: Catalog) -> Iterator[dict[int, Any]]:
        for account in self._driving(catalog):
            row = _account_row(account)
            if not self._holds(row):
                continue
            for joined in self._with_groups(catalog, account, row):
                yield from self._with_avus(account, joined)

    def _driving(self, catalog: Catalog) -> list[Account]:
        """Return the accounts that may meet the conditions: few, where one names them."""
        numbers: set[int] | None = None
        if (wanted := self._wanted(201)) is not None:
            numbers = {int(number) for number in wanted}
        elif (wanted := self._wanted(202)) is not None:
            numbers = set().union(*(catalog.by_upper_name.get(name.upper(), ()) for name in wanted))
        elif (wanted := self._wanted(900)) is not None:
            groups = [catalog.accounts.get(int(number)) for number in wanted]
            numbers = set().union(*(group.members for group in groups if group))
        elif not self._upper and (wanted := self._wanted(641)) is not None:
            numbers = set().union(*(catalog.metadata.holders(value) for value in wanted))
        if numbers is None:
            return list(catalog.accounts.values())
        return [catalog.accounts[number] for number in sorted(numbers) if number in catalog.accounts]

    def _wanted(self, column: int) -> list[str] | None:
        """Return the only values that a column may have, or None for any."""
        text = self._texts.get(column, "")
        return re.findall(r"'([^']*)'", text) if re.match(r"(= '[^']*'$|in \()", text) else None

    def _with_groups(
        self, catalog: Catalog, account: Account, row: dict[int, Any]
    ) -> Iterator[dict[int, Any]]:
        if not self._used & {900, 901}:
            yield row
            return
        for number in sorted(account.groups):
            joined = row | {900: number, 901: catalog.accounts[number].name}
            if self._holds(joined, {900, 901}):
                yield joined

    def _with_avus(self, account: Account, row: dict[int, Any]) -> Iterator[dict[int, Any]]:
        if not self._used & _META:
            yield row
            return
        avus = account.metadata.attached(account.number)
        if any(len(part.encode()) > 2700 for avu in avus.values() for part in avu):
            raise Refused(-807000)
        for found in self._meta_rows(avus):
            yield row | found

    def _meta_rows(self, avus: Mapping[int, Avu]) -> Iterator[dict[int, Any]]:
        for number, (attribute, value, unit) in avus.items():
            found = {640: attribute, 641: value, 642: unit, 643: number, 644: 0, 645: 0}
            if self._holds(found, _META):
                yield found

    def _data_rows(self, catalog: Catalog) -> Iterator[dict[int, Any]]:
        objects = bool(self._used & {401, 403, 411, 412})
        for number, (path, owner) in enumerate(catalog.collections.items(), 1):
            named = {500: number, 501: path, 502: path.rpartition("/")[0], 503: owner, 504: catalog.zone}
            row = {**named, 505: 0, 506: "", 507: "", 508: "00000000000", 509: "00000000000"}
            inside = [name for parent, name in catalog.data if parent == path] if objects else [""]
            for name in inside:
                extra = {401: 1, 403: name, 411: catalog.data.get((path, name), ""), 412: catalog.zone}
                if self._holds(row | extra):
                    yield row | extra

    def _holds(self, row: dict[int, Any], columns: set[int] | None = None) -> bool:
        return all(
            test(str(row[column]))
            for column, tests in self._tests.items()
            if column in row and (columns is None or column in columns)
            for test in tests
        )


def _account_row(account: Account) -> dict[int, Any]:
    times = {208: f"{account.created:011}", 209: f"{account.modified:011}"}
    named = {201: account.number, 202: account.name, 203: account.kind, 204: account.zone}
    return {**named, 206: "", 207: "", **times}


def _sort_key(index: int, as_number: bool) -> Callable[[tuple[str, ...]], Any]:
    return lambda row: int(row[index]) if as_number else row[index]


def _test(column: int, text: str, upper: bool) -> Callable[[str], bool]:
    operator, _, rest = text.partition(" ")
    if text.startswith("not like"):
        operator, rest = "not like", text.removeprefix("not like ")
    if operator == "in":
        return _in_test(rest, upper)
    first, last = rest.find("'"), rest.rfind("'")
    value = rest[first + 1 : last]
    if first < 0 or last <= first or ("'" in value and ("||" in value or "&&" in value)):
        raise Refused(-806000)
    return _compared(column, operator, value, upper)


def _in_test(rest: str, upper: bool) -> Callable[[str], bool]:
    if not re.fullmatch(r"\('[^']*'(,'[^']*')*\)", rest):
        raise Refused(-806000)
    values = set(re.findall(r"'([^']*)'", rest))
    return lambda found: (found.upper() if upper else found) in values


def _compared(column: int, operator: str, value: str, upper: bool) -> Callable[[str], bool]:
    if operator in ("like", "not like"):
        pattern = re.compile("".join(_like(c) for c in value), re.DOTALL)
        wanted_match = operator == "like"
        return lambda found: bool(pattern.fullmatch(found.upper() if upper else found)) is wanted_match

    def key(found: str) -> Any:
        return int(found) if column in _NUMBERS else found.upper() if upper else found

    wanted: Any = int(value) if column in _NUMBERS else value
    tests: dict[str, Callable[[str], bool]] = {
        "=": lambda found: key(found) == wanted,
        "<>": lambda found: key(found) != wanted,
        ">": lambda found: key(found) > wanted,
        ">=": lambda found: key(found) >= wanted,
        "<": lambda found: key(found) < wanted,
        "<=": lambda found: key(found) <= wanted,
    }
    if operator not in tests:
        raise Refused(-816000)
    return tests[operator]


def _like(character: str) -> str:
    return {"%": ".*", "_": "."}.get(character) or re.escape(character)
