"""From a filter to SQL over the side tables (RFC 7644 section 3.4.2.2).

Every part becomes a condition on `r`, the alias of scim_resource; what the side tables cannot
answer exactly is not pushed down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schema.resource_type import AttributePath
from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.evaluate import matches
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node, Not, Or
from storage.index.dialect import Dialect
from storage.index.layout import TypeLayout
from storage.index_keys import KEY_LENGTH, index_key, successor

_ORDERINGS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}

# How many resources a condition lets through, as a guess: 1 is a single one. Of the parts of an
# `and`, the most selective is looked up and the others are tested on what it finds.
_UNIQUE, _EQUAL, _RANGE, _SCAN, _COMMON, _UNKNOWN = range(1, 7)

# Of more parts of an `and` than these, PostgreSQL plans longer than anybody should wait.
_MOST_PARTS = 12


@dataclass(frozen=True)
class Native:
    """A condition on `r` with its parameters.

    `probe` is the same condition in a form that is cheap to test on one resource, where there is
    one; `rids` is a SELECT of the row keys it holds for, where it is one, and `distinct` says that
    each comes once. Their parameters are the same. `keys_only`: nothing but the row key is looked
    at, and `rids` has none of another type. `negated` is what this is the opposite of.
    """

    where: str
    params: tuple[object, ...] = ()
    rank: int = _UNKNOWN
    probe: str | None = None
    rids: str | None = None
    distinct: bool = False
    keys_only: bool = True
    negated: "Native | None" = None


def _among(
    rids: str,
    params: tuple[object, ...],
    rank: int,
    probe: str | None = None,
    distinct: bool = False,
    keys_only: bool = True,
) -> Native:
    """Return the condition that the row key is one of those that `rids` selects."""
    return Native(f"r.rid IN ({rids})", params, rank, probe, rids, distinct, keys_only)


def _is_single(path: AttributePath) -> bool:
    """Return whether a resource has one value at most."""
    return not path.attribute.multi_valued and not path.leaf.multi_valued


class SqlFilterCompiler(FilterCompiler[Native]):
    """Compiles the filters of one resource type."""

    def __init__(self, layout: TypeLayout, dialect: Dialect) -> None:
        self._layout = layout
        self._type = layout.resource_type
        self._dialect = dialect

    def comparison(self, node: BoundComparison) -> Native:
        path = node.path
        if path.text == "id":
            return self._on_id(node)
        if path.text == "meta.resourceType":
            # The same for all resources of the type.
            holds = matches(node, {"meta": {"resourceType": self._type.name}})
            return Native("1 = 1" if holds else "1 = 0")
        if path.attribute in (self._type.members, self._type.memberships):
            return self._on_link(node)
        number = self._number(node)
        condition, params = self._on_value(node)
        ranks = {"eq": _EQUAL, "sw": _RANGE, **dict.fromkeys(_ORDERINGS, _RANGE)}
        rank = ranks.get(node.operator, _SCAN)
        if node.operator == "eq":
            if path.leaf.uniqueness != "none":
                rank = _UNIQUE
            elif path.leaf.type == "boolean" or path.leaf.canonical_values:
                rank = _COMMON
        rows = f"FROM scim_attribute a WHERE a.path = ? AND {condition}"
        probe = f"EXISTS (SELECT 1 {rows} AND a.rid = r.rid)" if node.operator == "eq" else None
        return _among(f"SELECT a.rid {rows}", (number, *params), rank, probe, _is_single(path))

    def presence(self, node: BoundPresence) -> Native:
        path = node.path
        if path.text in ("id", "schemas") or path.attribute.name == "meta":
            return Native("1 = 1")
        if path.attribute in (self._type.members, self._type.memberships):
            return self._link_presence(node)
        number = self._number(node)
        rows = "FROM scim_attribute a WHERE a.path = ? AND a.value <> ''"
        return _among(f"SELECT a.rid {rows}", (number,), _COMMON, None, _is_single(path))

    def value_path(self, node: BoundValuePath) -> Native:
        if node.path.attribute in (self._type.members, self._type.memberships):
            if isinstance(node.filter, BoundComparison):
                return self._on_link(node.filter)
            raise NotPushable(node)
        marker = self._layout.numbers.get(node.path.text)
        if marker is None:
            raise NotPushable(node)
        elements, params, rank = self._elements(node.filter, marker)
        return _among(f"SELECT e.rid FROM ({elements}) e", params, rank)

    def _joined(self, pushed: Mapping[int, Native]) -> tuple[Native, dict[int, Native]]:
        best = sorted(pushed.items(), key=lambda entry: entry[1].rank)
        return super()._joined(dict(best[:_MOST_PARTS]))

    def conjunction(self, natives: Sequence[Native]) -> Native:
        if len(natives) > _MOST_PARTS:
            raise NotPushable
        ordered = sorted(natives, key=lambda native: native.rank)
        parts = [ordered[0].where, *(native.probe or native.where for native in ordered[1:])]
        params = tuple(param for native in ordered for param in native.params)
        driver, keys_only = ordered[0], all(native.keys_only for native in natives)
        rids = None
        if driver.rids is not None and keys_only:
            rids = f"SELECT r.rid FROM ({driver.rids}) r WHERE {' AND '.join(parts[1:])}"
        where = f"({' AND '.join(parts)})"
        return Native(where, params, driver.rank, None, rids, driver.distinct, keys_only)

    def disjunction(self, natives: Sequence[Native]) -> Native:
        params = tuple(param for native in natives for param in native.params)
        rank = max(native.rank for native in natives)
        keys_only = all(native.keys_only for native in natives)
        if rank < _UNKNOWN:
            # Look each up, rather than test every resource for all of them. The table around the
            # union is what MariaDB needs to do so.
            union = " UNION ".join(map(self._rids, natives))
            return _among(f"SELECT u.rid FROM ({union}) u", params, rank, None, True, keys_only)
        where = f"({' OR '.join(native.where for native in natives)})"
        return Native(where, params, rank, keys_only=keys_only)

    def negation(self, native: Native) -> Native:
        where = f"NOT ({native.probe or native.where})"
        return Native(where, native.params, _UNKNOWN, keys_only=native.keys_only, negated=native)

    def _rids(self, native: Native) -> str:
        """Return a SELECT of the row keys that `native` holds for."""
        of_type = f"SELECT r.rid FROM scim_resource r WHERE r.type = {self._layout.number}"
        return native.rids or f"{of_type} AND {native.where}"

    def _number(self, node: BoundComparison | BoundPresence) -> int:
        number = self._layout.numbers.get(node.path.text)
        if number is None:
            raise NotPushable(node)
        return number

    def _on_id(self, node: BoundComparison) -> Native:
        if node.operator != "eq":
            raise NotPushable(node)
        # By its key: beside a condition on the type, SQLite would not look for the id in the index.
        where = "r.rid IN (SELECT i.rid FROM scim_resource i WHERE i.id = ?)"
        return Native(where, (node.key,), _UNIQUE, keys_only=False)

    def _on_link(self, node: BoundComparison) -> Native:
        """The resources that have a member, or are one: looked up in scim_member."""
        params = (self.linked_id(node),)
        if node.path.attribute == self._type.members:
            return _among(
                "SELECT m.group_rid AS rid FROM scim_resource x "
                "JOIN scim_member m ON m.member_rid = x.rid WHERE x.id = ?",
                params,
                _EQUAL,
                keys_only=False,
            )
        return _among(
            "SELECT rid FROM (WITH RECURSIVE down(rid) AS ("
            "SELECT m.member_rid FROM scim_resource x JOIN scim_member m ON m.group_rid = x.rid "
            "WHERE x.id = ? "
            "UNION SELECT m.member_rid FROM down JOIN scim_member m ON m.group_rid = down.rid) "
            "SELECT rid FROM down) n",
            params,
            _RANGE,
            keys_only=False,
        )

    def _link_presence(self, node: BoundPresence) -> Native:
        if node.path.sub_attribute is not None and node.path.leaf.name != "value":
            raise NotPushable(node)
        column = "group_rid" if node.path.attribute == self._type.members else "member_rid"
        return Native(f"EXISTS (SELECT 1 FROM scim_member m WHERE m.{column} = r.rid)", (), _COMMON)

    def _on_value(self, node: BoundComparison) -> tuple[str, tuple[object, ...]]:
        """Return the condition on a row `a` of scim_attribute that a comparison makes."""
        key, operator = node.key, node.operator
        if operator == "eq":
            return "a.value = ?", (index_key(key),)
        if len(key) > KEY_LENGTH or (operator in ("co", "ew") and node.path.leaf.type == "binary"):
            raise NotPushable(node)
        if operator == "sw":
            end = successor(key)
            return ("a.value >= ? AND a.value < ?", (key, end)) if end else ("a.value >= ?", (key,))
        if operator in _ORDERINGS:
            return f"a.value {_ORDERINGS[operator]} ?", (key,)
        whole = "COALESCE(a.long_value, a.value)"
        if operator == "co":
            return self._dialect.contains(whole), (key,)
        if operator == "ew" and key:
            return self._dialect.ends_with(whole), (len(key), key)
        raise NotPushable(node)

    # -- inside a value path, conditions hold on one element: (rid, element) pairs

    def _elements(self, node: Node, marker: int) -> tuple[str, tuple[object, ...], int]:
        """Return SQL for the elements that satisfy `node`, its parameters and its rank."""
        match node:
            case BoundComparison():
                native = self.comparison(node)
                condition, params = self._on_value(node)
                rows = f"SELECT a.rid, a.element FROM scim_attribute a WHERE a.path = ? AND {condition}"
                return rows, (self._number(node), *params), native.rank
            case BoundPresence():
                rows = "SELECT a.rid, a.element FROM scim_attribute a WHERE a.path = ? AND a.value <> ''"
                return rows, (self._number(node),), _COMMON
            case And():
                return self._all_of(node, marker)
            case Or():
                parts = [self._elements(operand, marker) for operand in node.operands]
                union = " UNION ".join(f"SELECT rid, element FROM ({part[0]}) o" for part in parts)
                return union, tuple(p for part in parts for p in part[1]), max(p[2] for p in parts)
            case Not():
                inner, params, _ = self._elements(node.operand, marker)
                rows = (
                    "SELECT a.rid, a.element FROM scim_attribute a WHERE a.path = ? "
                    f"EXCEPT SELECT rid, element FROM ({inner}) i"
                )
                return rows, (marker, *params), _UNKNOWN
        raise NotPushable(node)

    def _all_of(self, node: And, marker: int) -> tuple[str, tuple[object, ...], int]:
        if len(node.operands) > _MOST_PARTS:
            raise NotPushable(node)
        ranked = sorted(
            ((self._elements(operand, marker), operand) for operand in node.operands),
            key=lambda entry: entry[0][2],
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
