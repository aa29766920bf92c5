"""From a filter to a query of MongoDB over the entries of `storage.mongo.layout` (RFC 7644 section 3.4.2.2).

Values of clients stand in queries as text only, never as operators, and are escaped in regular
expressions. Only filters that a query answers exactly are pushed down.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from schema.resource_type import AttributePath
from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.evaluate import matches
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node, Not, Or
from storage.index_keys import KEY_LENGTH, index_key, successor
from storage.missing_index import refusal
from storage.mongo.find import LookUp
from storage.mongo.layout import BEHIND, EQUALS, LONG, Layout, owner_key
from storage.mongo.wire import Query
from storage.owners import OWNER

ALL: Final[Query] = {"_id": {"$exists": True}}
NONE: Final[Query] = {"_id": {"$in": []}}

# The most ids in one query, which must stay below 16 MB.
_MOST_IDS: Final = 100_000

_SPECIAL: Final = re.compile(r"[\\^$.|?*+()\[\]{}/#-]")
_ORDERINGS: Final[Mapping[str, Callable[[str, str, str], Query]]] = {
    "gt": lambda first, wanted, end: {"$gt": wanted, "$lt": end},
    "ge": lambda first, wanted, end: {"$gte": wanted, "$lt": end},
    "lt": lambda first, wanted, end: {"$gte": first, "$lt": wanted},
    "le": lambda first, wanted, end: {"$gte": first, "$lte": wanted},
}
_OPERATORS: Final = {"gt": "$gt", "ge": "$gte", "lt": "$lt", "le": "$lte"}


class MongoFilterCompiler(FilterCompiler[Query]):
    """Compiles the filters of one resource type."""

    def __init__(self, layout: Layout, look_up: LookUp) -> None:
        self._layout = layout
        self._type = layout.resource_type
        self._look_up = look_up

    def shown(self, native: Query) -> str:
        return json.dumps(native, ensure_ascii=False, default=str)

    def comparison(self, node: BoundComparison) -> Query:
        if node.path.text == "id":
            return self._on_id(node)
        if node.path is OWNER:
            return {"_scim.keys": owner_key(node.key)}
        if node.path.text == "meta.resourceType":
            # The same for all resources of the type.
            return ALL if matches(node, {"meta": {"resourceType": self._type.name}}) else NONE
        if self._is_link(node.path):
            return self._on_link(node)
        return self._leaf(node, "_scim.")

    def presence(self, node: BoundPresence) -> Query:
        path = node.path
        if path.text in ("id", "schemas") or path.attribute.name == "meta":
            return ALL
        if self._is_link(path):
            return self._link_presence(node)
        return self._leaf(node, "_scim.")

    def value_path(self, node: BoundValuePath) -> Query:
        if self._is_link(node.path):
            if isinstance(node.filter, BoundComparison):
                return self._on_link(node.filter)
            raise NotPushable(node)
        if node.path.text not in self._layout.paths:
            raise refusal(self._type, node)
        if not node.path.attribute.is_complex:
            # Simple values have no element of their own.
            raise NotPushable(node)
        if isinstance(node.filter, (BoundComparison, BoundPresence)):
            # One condition holds on some element when it holds on the attribute.
            return self._leaf(node.filter, "_scim.")
        text = node.path.text
        marked = {"_scim.keys": {"$in": [f"{text}{EQUALS}", f"{text}{EQUALS}1"]}}
        if not node.path.attribute.multi_valued:
            return {"$and": [marked, self._within(node.filter, "_scim.")]}
        element = {"$elemMatch": {"path": text, "$and": [self._within(node.filter, "")]}}
        # The conditions that all such elements meet are looked up by index.
        return {"$and": [*(self._implied(node.filter) or [marked]), {"_scim.elements": element}]}

    def wider(self, node: Node) -> Query | None:
        """What has values for the conditions in brackets, not one for all."""
        if not isinstance(node, BoundValuePath):
            return None
        try:
            implied = self._implied(node.filter)
        except NotPushable:
            return None
        return {"$and": implied} if implied else None

    def conjunction(self, natives: Sequence[Query]) -> Query:
        return {"$and": list(natives)}

    def disjunction(self, natives: Sequence[Query]) -> Query:
        return {"$or": list(natives)}

    def negation(self, native: Query) -> Query:
        return {"$nor": [native]}

    # -- conditions on entries: with the prefix `_scim.` of the resource, without it of an element

    def _within(self, node: Node, prefix: str) -> Query:
        match node:
            case BoundComparison() | BoundPresence():
                return self._leaf(node, prefix)
            case And(operands=operands):
                return {"$and": [self._within(operand, prefix) for operand in operands]}
            case Or(operands=operands):
                return {"$or": [self._within(operand, prefix) for operand in operands]}
            case Not(operand=operand):
                return {"$nor": [self._within(operand, prefix)]}
        raise NotPushable(node)

    def _implied(self, node: Node) -> list[Query]:
        """Return conditions on the resource that hold when `node` holds on one of its elements."""
        match node:
            case BoundComparison() | BoundPresence():
                return [self._leaf(node, "_scim.")]
            case And(operands=operands):
                return [query for operand in operands for query in self._implied(operand)]
            case Or(operands=operands):
                branches = [self._implied(operand) for operand in operands]
                return [{"$or": [{"$and": branch} for branch in branches]}] if all(branches) else []
        return []

    def _leaf(self, node: BoundComparison | BoundPresence, prefix: str) -> Query:
        text = node.path.text
        if text not in self._layout.paths:
            raise refusal(self._type, node)
        keys, first, end = f"{prefix}keys", f"{text}{EQUALS}", f"{text}{BEHIND}"
        if isinstance(node, BoundPresence):
            if node.path.leaf.is_complex:
                return {keys: f"{first}1"}
            return {keys: {"$elemMatch": {"$gt": first, "$lt": end}}}
        _require_text(node)
        wanted = first + node.key
        if node.operator == "eq":
            return {keys: first + index_key(node.key)}
        if len(node.key) > KEY_LENGTH:
            raise NotPushable(node)
        if node.operator == "sw":
            return {keys: {"$elemMatch": _beginning(wanted, end)}}
        if node.operator in _ORDERINGS:
            return {keys: {"$elemMatch": _ORDERINGS[node.operator](first, wanted, end)}}
        return self._containing(node, prefix)

    def _containing(self, node: BoundComparison, prefix: str) -> Query:
        """Return the condition that a value contains a text, or ends with it."""
        if node.path.leaf.type == "binary" or "\0" in node.key or node.operator not in ("co", "ew"):
            raise NotPushable(node)
        beginning = f"^{_literal(node.path.text)}{EQUALS}"
        ending = _literal(node.key) + (r"\z" if node.operator == "ew" else "")
        # Behind its first KEY_LENGTH characters the entry of a long value has a digest.
        short = f"{beginning}.{{0,{KEY_LENGTH - len(node.key)}}}{ending}"
        long = {
            "$and": [
                {f"{prefix}keys": f"{node.path.text}{LONG}"},
                {f"{prefix}long": _pattern(f"{beginning}.*{ending}")},
            ]
        }
        return {"$or": [{f"{prefix}keys": _pattern(short)}, long]}

    def _on_id(self, node: BoundComparison) -> Query:
        _require_text(node)
        if node.operator == "eq":
            return {"_id": node.key}
        if node.operator == "sw":
            return {"_id": _beginning(node.key, None)}
        if node.operator in _ORDERINGS:
            return {"_id": {_OPERATORS[node.operator]: node.key}}
        raise NotPushable(node)

    # -- memberships: the ids of the resources are looked up first

    def _is_link(self, path: AttributePath) -> bool:
        return path.attribute in (self._type.members, self._type.memberships)

    def _on_link(self, node: BoundComparison) -> Query:
        linked_id = self.linked_id(node)
        _require_text(node)
        if node.path.attribute == self._type.members:
            return _one_of(self._look_up.holders(self._type.name, linked_id), node)
        found = self._look_up.below(linked_id, _MOST_IDS)
        return _one_of(None if found is None else sorted(found.get(self._type.name, ())), node)

    def _link_presence(self, node: BoundPresence) -> Query:
        if node.path.sub_attribute is not None and node.path.leaf.name != "value":
            raise NotPushable(node)
        side = "group" if node.path.attribute == self._type.members else "member"
        return _one_of(self._look_up.linked(side, self._type.name, _MOST_IDS), node)


def _one_of(ids: Sequence[str] | None, node: Node) -> Query:
    if ids is None or len(ids) > _MOST_IDS:
        raise NotPushable(node)
    return {"_id": {"$in": list(ids)}}


def _require_text(node: BoundComparison) -> None:
    """Raise NotPushable for a value that is no text in UTF-8, such as half of a surrogate pair."""
    try:
        node.key.encode()
    except UnicodeEncodeError:
        raise NotPushable(node) from None


def _beginning(text: str, end: str | None) -> Query:
    """Return the range of texts that begin with `text`, all of them before `end`."""
    after = successor(text)
    if after is None:
        return {"$gte": text} if end is None else {"$gte": text, "$lt": end}
    return {"$gte": text, "$lt": after}


def _literal(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


def _pattern(text: str) -> Query:
    # The dot stands for line ends too.
    return {"$regex": text, "$options": "s"}
