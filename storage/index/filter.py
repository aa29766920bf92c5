"""From a filter to SQL over the side tables (RFC 7644 section 3.4.2.2).

Every part becomes a condition on `r`, the alias of scim_resource; what the side tables cannot
answer exactly is not pushed down.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from scim_filter.compiler import NotPushable
from scim_filter.evaluate import matches
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node, Not, Or
from storage.index.dialect import Dialect, marks
from storage.index.layout import TypeLayout
from storage.index.native import COMMON, EQUAL, RANGE, SCAN, UNIQUE, UNKNOWN, Native, among, on_rows
from storage.index.parts import LEAST, PartsIndex
from storage.index.told import ToldCompiler
from storage.index_keys import KEY_LENGTH, index_key, successor
from storage.missing_index import refusal
from storage.owners import OWNER

_ORDERINGS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}

# Of more parts of an `and` than these, PostgreSQL plans longer than anybody should wait.
_MOST_PARTS = 12


class SqlFilterCompiler(ToldCompiler):
    """Compiles the filters of one resource type."""

    def __init__(self, layout: TypeLayout, dialect: Dialect, parts: PartsIndex | None = None) -> None:
        self._layout = layout
        self._type = layout.resource_type
        self._dialect = dialect
        self._parts = parts

    def comparison(self, node: BoundComparison) -> Native:
        path = node.path
        if path.text == "id":
            return self._on_id(node)
        if path is OWNER:
            return Native.owned(self._layout.number, node.key)
        if path.text == "meta.resourceType":
            # The same for all resources of the type.
            holds = matches(node, {"meta": {"resourceType": self._type.name}})
            return Native("1 = 1" if holds else "1 = 0")
        if path.attribute in (self._type.members, self._type.memberships):
            return self._on_link(node)
        number = self._number(node)
        ranks = {"eq": EQUAL, "sw": RANGE, **dict.fromkeys(_ORDERINGS, RANGE)}
        rank = ranks.get(node.operator, SCAN)
        if node.operator == "eq":
            if path.leaf.uniqueness != "none":
                rank = UNIQUE
            elif path.leaf.type == "boolean" or path.leaf.canonical_values:
                rank = COMMON
        native = self._on_rows(number, *self._on_value(node), rank, path.is_single)
        if native.distinct:
            native = replace(native, path=number, on_row=self._on_value(node, "r")[0])
        return self._by_parts(node, number, replace(native, probe_params=native.params))

    def _on_rows(
        self, number: int, condition: str, params: tuple[object, ...], rank: int, distinct: bool
    ) -> Native:
        by_resource, by_path = self._dialect.by_resource, self._by_path(rank)
        return on_rows("a.path = ?", condition, (number, *params), rank, distinct, by_resource, by_path)

    def _by_path(self, rank: int) -> str:
        return self._dialect.by_path if rank == SCAN else ""

    def _by_parts(self, node: BoundComparison, number: int, native: Native) -> Native:
        """Return a comparison that is looked up by the index over parts of values, where that tells."""
        if self._part(node) is None:
            return native
        found = self._on_rows(number, *self._found(node), RANGE, native.distinct)
        return replace(native, where=found.where, params=found.params, rids=found.rids, rank=RANGE)

    def _found(self, node: BoundComparison) -> tuple[str, tuple[object, ...]]:
        """Return the condition on a row `a` of scim_attribute to look rows up by, and its parameters."""
        condition, params = self._on_value(node)
        part, more = self._part(node) or ("", ())
        return (f"{part} AND {condition}", (*more, *params)) if part else (condition, params)

    def _part(self, node: BoundComparison) -> tuple[str, tuple[object, ...]] | None:
        """Return the condition by the index over parts of values, None where that does not tell."""
        is_text = node.path.leaf.type in ("string", "reference") and "\0" not in node.key
        if self._parts is None or node.operator not in ("co", "ew") or len(node.key) < LEAST or not is_text:
            return None
        return self._parts.condition(node.operator, node.key)

    def presence(self, node: BoundPresence) -> Native:
        path = node.path
        if path.text in ("id", "schemas") or path.attribute.name == "meta":
            return Native("1 = 1")
        if path.attribute in (self._type.members, self._type.memberships):
            return self._link_presence(node)
        if path.text in self._type.extension_urns:
            return self._extension_presence(node)
        return self._on_rows(self._number(node), "a.value <> ''", (), COMMON, path.is_single)

    def value_path(self, node: BoundValuePath) -> Native:
        if node.path.attribute in (self._type.members, self._type.memberships):
            if isinstance(node.filter, BoundComparison):
                return self._on_link(node.filter)
            raise NotPushable(node)
        marker = self._layout.numbers.get(node.path.text)
        elements, params, rank = self._elements(node.filter, marker)
        return among(f"SELECT e.rid FROM ({elements}) e", params, rank)

    def wider(self, node: Node) -> Native | None:
        """What has an element for each part of an `and` in brackets, not one for all."""
        if not isinstance(node, BoundValuePath) or not isinstance(node.filter, And):
            return None
        found = []
        for operand in node.filter.operands[:_MOST_PARTS]:
            with suppress(NotPushable):
                found.append(self.value_path(replace(node, filter=operand)))
        return self.conjunction(found) if len(found) > 1 else next(iter(found), None)

    def _extension_presence(self, node: BoundPresence) -> Native:
        """What has a row for the extension, or any of the values that it is made of."""
        if node.path.text in self._layout.numbers:
            return self._on_rows(self._number(node), "a.value <> ''", (), COMMON, True)
        paths = [path for path in self._type.simple_paths if path.extension == node.path.text]
        texts = [path.text for path in paths if path.leaf.returned != "never"]
        numbers = tuple(self._layout.numbers[text] for text in texts if text in self._layout.numbers)
        if not texts or len(numbers) < len(texts) or any(path.leaf.is_complex for path in paths):
            raise NotPushable(node)
        on_path = f"a.path IN ({marks(numbers)})"
        return on_rows(on_path, "a.value <> ''", numbers, COMMON, False, self._dialect.by_resource)

    def _joined(self, pushed: Mapping[int, Native]) -> tuple[Native, dict[int, Native]]:
        best = sorted(pushed.items(), key=lambda entry: entry[1].rank)
        return super()._joined(dict(best[:_MOST_PARTS]))

    def conjunction(self, natives: Sequence[Native]) -> Native:
        if len(natives) > _MOST_PARTS:
            raise NotPushable
        ordered = sorted(natives, key=lambda native: native.rank)
        driver, *others = ordered
        one_by_one = self._dialect.one_by_one if driver.rank <= RANGE else ""
        tests = [driver.where, *(native.test(one_by_one) for native in others)]
        params = (*driver.params, *(param for native in others for param in native.test_params))
        keys_only = all(native.keys_only for native in natives)
        rids = None
        if driver.rids is not None and keys_only:
            rids = f"SELECT r.rid FROM ({driver.rids}) r WHERE {' AND '.join(tests[1:])}"
        where = f"({' AND '.join(tests)})"
        conjuncts = tuple(one for native in ordered for one in native.conjuncts or (native,))
        return Native(
            where, params, driver.rank, None, rids, driver.distinct, keys_only, conjuncts=conjuncts
        )

    def disjunction(self, natives: Sequence[Native]) -> Native:
        params = tuple(param for native in natives for param in native.params)
        rank = max(native.rank for native in natives)
        keys_only = all(native.keys_only for native in natives)
        if rank < UNKNOWN:
            # Look each up, rather than test every resource for all of them. The table around the
            # union is what MariaDB needs to do so.
            union = " UNION ".join(map(self._rids, natives))
            return among(f"SELECT u.rid FROM ({union}) u", params, rank, None, True, keys_only)
        where = f"({' OR '.join(native.where for native in natives)})"
        return Native(where, params, rank, keys_only=keys_only)

    def negation(self, native: Native) -> Native:
        where = f"NOT ({native.test()})"
        return Native(where, native.test_params, UNKNOWN, keys_only=native.keys_only, negated=native)

    def _rids(self, native: Native) -> str:
        """Return a SELECT of the row keys that `native` holds for."""
        of_type = f"SELECT r.rid FROM scim_resource r WHERE r.type = {self._layout.number}"
        return native.rids or f"{of_type} AND {native.where}"

    def _number(self, node: BoundComparison | BoundPresence) -> int:
        number = self._layout.numbers.get(node.path.text)
        if number is None:
            raise refusal(self._type, node)
        return number

    def _on_id(self, node: BoundComparison) -> Native:
        rank = {"eq": UNIQUE, "co": SCAN, "ew": SCAN}.get(node.operator, RANGE)
        condition: str = "i.id = ?"
        params: tuple[object, ...] = (node.key,)
        if rank != UNIQUE:
            condition, params = self._compared(node, "i.id", "i.id")
        # Looked up by id: the plus signs hide that all of a type, or all in the order of their keys, could be
        # gone through.
        rows = f"FROM scim_resource i WHERE {condition} AND +i.type = ?"
        probe = f"EXISTS (SELECT 1 {rows} AND i.rid = r.rid)"
        params = (*params, self._layout.number)
        return among(f"SELECT i.rid + 0 AS rid {rows}", params, rank, probe, distinct=True)

    def _on_link(self, node: BoundComparison) -> Native:
        """The resources that have a member, or are one: looked up in scim_member."""
        params = (self.linked_id(node),)
        if node.path.attribute == self._type.members:
            return among(
                "SELECT m.group_rid AS rid FROM scim_resource x "
                "JOIN scim_member m ON m.member_rid = x.rid WHERE x.id = ?",
                params,
                EQUAL,
                keys_only=False,
            )
        return among(
            "SELECT rid FROM (WITH RECURSIVE down(rid) AS ("
            "SELECT m.member_rid FROM scim_resource x JOIN scim_member m ON m.group_rid = x.rid "
            "WHERE x.id = ? "
            "UNION SELECT m.member_rid FROM down JOIN scim_member m ON m.group_rid = down.rid) "
            "SELECT rid FROM down) n",
            params,
            RANGE,
            keys_only=False,
        )

    def _link_presence(self, node: BoundPresence) -> Native:
        if node.path.sub_attribute is not None and node.path.leaf.name != "value":
            raise NotPushable(node)
        column = "group_rid" if node.path.attribute == self._type.members else "member_rid"
        return Native(f"EXISTS (SELECT 1 FROM scim_member m WHERE m.{column} = r.rid)", (), COMMON)

    def _on_value(self, node: BoundComparison, row: str = "a") -> tuple[str, tuple[object, ...]]:
        """Return the condition on a row of scim_attribute that a comparison makes, and its parameters."""
        if node.operator == "eq":
            return f"{row}.value = ?", (index_key(node.key),)
        return self._compared(node, f"{row}.value", f"COALESCE({row}.long_value, {row}.value)")

    def _compared(self, node: BoundComparison, column: str, whole: str) -> tuple[str, tuple[object, ...]]:
        """Return the condition on a column in order of keys, and on the whole text that it stands for."""
        key, operator = node.key, node.operator
        if len(key) > KEY_LENGTH or (operator in ("co", "ew") and node.path.leaf.type == "binary"):
            raise NotPushable(node)
        if operator == "sw":
            end = successor(key)
            return (f"{column} >= ? AND {column} < ?", (key, end)) if end else (f"{column} >= ?", (key,))
        if operator in _ORDERINGS:
            return f"{column} {_ORDERINGS[operator]} ?", (key,)
        if operator == "co":
            return self._dialect.contains(whole), (key,)
        if operator == "ew" and key:
            return self._dialect.ends_with(whole), (len(key), key)
        raise NotPushable(node)

    # -- inside a value path, conditions hold on one element: (rid, element) pairs

    def _elements(self, node: Node, marker: int | None) -> tuple[str, tuple[object, ...], int]:
        """Return SQL for the elements that satisfy `node`, its parameters and its rank.

        `marker` is the number of the attribute, where each of its elements has a row.
        """
        match node:
            case BoundComparison():
                native = self.comparison(node)
                condition, params = self._found(node)
                source = f"scim_attribute a{self._by_path(native.rank)}"
                rows = f"SELECT a.rid, a.element FROM {source} WHERE a.path = ? AND {condition}"
                return rows, (self._number(node), *params), native.rank
            case BoundPresence():
                rows = "SELECT a.rid, a.element FROM scim_attribute a WHERE a.path = ? AND a.value <> ''"
                return rows, (self._number(node),), COMMON
            case And():
                return self._all_of(node, marker)
            case Or():
                parts = [self._elements(operand, marker) for operand in node.operands]
                union = " UNION ".join(f"SELECT rid, element FROM ({part[0]}) o" for part in parts)
                return union, tuple(p for part in parts for p in part[1]), max(p[2] for p in parts)
            case Not() if marker is not None:
                inner, params, _ = self._elements(node.operand, marker)
                rows = (
                    "SELECT a.rid, a.element FROM scim_attribute a WHERE a.path = ? "
                    f"EXCEPT SELECT rid, element FROM ({inner}) i"
                )
                return rows, (marker, *params), UNKNOWN
        raise NotPushable(node)

    def _all_of(self, node: And, marker: int | None) -> tuple[str, tuple[object, ...], int]:
        if len(node.operands) > _MOST_PARTS:
            raise NotPushable(node)
        ranked = sorted(
            ((self._elements(operand, marker), operand) for operand in node.operands),
            # A condition that most elements satisfy is tested on those that the others find.
            key=lambda entry: (entry[0][2] == COMMON, entry[0][2]),
        )
        (driver, params, rank), _ = ranked[0]
        tests = []
        for (rows, more, _), operand in ranked[1:]:
            if isinstance(operand, BoundComparison) and operand.operator == "eq":
                # A look-up by the whole key of the row.
                tests.append(
                    "EXISTS (SELECT 1 FROM scim_attribute b WHERE b.path = ? AND b.value = ? "
                    "AND b.rid = d.rid AND b.element = d.element)"
                )
            else:
                tests.append(f"(d.rid, d.element) IN ({rows})")
            params += more
        return f"SELECT d.rid, d.element FROM ({driver}) d WHERE {' AND '.join(tests)}", params, rank
