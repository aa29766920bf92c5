"""Filters of users (RFC 7644 section 3.4.2.2) as searches of JumpCloud that find no less.

The server evaluates the whole filter on the result. A search joins its terms by one `and` or one `or`:
for other filters it has a part of the terms.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schema.resource_type import ResourceType
from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath
from storage.jumpcloud.folding import LONGEST, exact_pattern, folded_pattern
from storage.jumpcloud.lens import LONGEST as LONGEST_VALUE
from storage.jumpcloud.lens import MORE_ADDRESSES, ActiveLens, EmailsLens, Lens, PartsLens, TextLens
from storage.jumpcloud.wire import is_object_id

Term = Mapping[str, Any]

_TEXT = ("eq", "sw", "ew", "co")
_MORE = exact_pattern(MORE_ADDRESSES, "ew")
# A full field may hold the beginning of a longer text.
_FULL = f"^[\\s\\S]{{{LONGEST_VALUE}}}"


@dataclass(frozen=True)
class Native:
    """A search of users that satisfy all terms, or with `any` one of them; or the members of a group."""

    terms: tuple[Term, ...] = ()
    any: bool = True
    group: str | None = None

    @property
    def condition(self) -> dict[str, Any]:
        """The `filter` of a search."""
        return {"or" if self.any else "and": list(self.terms)}


class UserFilterCompiler(FilterCompiler[Native]):
    """Compiles the filters of users; `lenses` tell the fields of each attribute."""

    is_exact = False

    def __init__(
        self, resource_type: ResourceType, lenses: Sequence[Lens], is_id: Callable[[str], bool]
    ) -> None:
        self._type = resource_type
        self._is_id = is_id
        self._lenses = {(lens.extension, lens.attribute): lens for lens in lenses}

    def access(self, native: Native) -> str:
        return "a search of JumpCloud" if native.group is None else "the members of a group"

    def shown(self, native: Native) -> str:
        return native.group or json.dumps(native.condition, ensure_ascii=False)

    def comparison(self, node: BoundComparison) -> Native:
        path = node.path
        if path.text == "id" and node.operator == "eq":
            return Native(({"_id": node.key},) if self._is_id(node.key) else ())
        if path.attribute == self._type.memberships:
            group = self.linked_id(node)
            return Native(group=group) if self._is_id(group) else Native()
        lens = self._lenses.get((path.extension, path.attribute.name))
        match lens:
            case ActiveLens() if node.key == "false" and node.operator == "eq":
                return Native(({"suspended": True}, {"state": "SUSPENDED"}, {"state": "STAGED"}))
            case EmailsLens() if path.leaf.name == "value" and node.key:
                pattern = self._pattern(node)
                more = [{name: {"$regex": _MORE}} for name in lens.fields]
                return Native((*({name: {"$regex": pattern}} for name in lens.fields), *more))
            case TextLens() if node.key:
                return self._on_text(node, lens)
            case PartsLens() if node.key:
                return self._on_part(node, lens)
        raise NotPushable(node)

    def _on_text(self, node: BoundComparison, lens: TextLens) -> Native:
        name = lens.fields[0]
        if node.path.leaf.case_exact and node.operator == "eq" and len(node.key) <= LONGEST_VALUE:
            return Native(({name: node.value},))
        if not lens.cut and (node.operator != "eq" or len(str(node.value)) > lens.longest):
            raise NotPushable(node)
        return self._on_field(node, name)

    def _on_part(self, node: BoundComparison, lens: PartsLens) -> Native:
        name = dict(lens.parts).get(node.path.leaf.name)
        if name is None:
            raise NotPushable(node)
        if not lens.ids:
            return self._on_field(node, name)
        if node.operator != "eq" or not is_object_id(str(node.value)):
            raise NotPushable(node)
        return Native(({name: node.value},))

    def _on_field(self, node: BoundComparison, name: str) -> Native:
        terms: list[Term] = [{name: {"$regex": self._pattern(node)}}]
        if node.operator in ("co", "ew"):
            terms.append({name: {"$regex": _FULL}})
        return Native(tuple(terms))

    @staticmethod
    def _pattern(node: BoundComparison) -> str:
        key, operator = node.key, node.operator
        if operator not in _TEXT:
            raise NotPushable(node)
        if len(key) > LONGEST:
            if operator not in ("eq", "sw"):
                raise NotPushable(node)
            key, operator = key[:LONGEST], "sw"
        return exact_pattern(key, operator) if node.path.leaf.case_exact else folded_pattern(key, operator)

    def presence(self, node: BoundPresence) -> Native:
        raise NotPushable(node)

    def value_path(self, node: BoundValuePath) -> Native:
        operands = node.filter.operands if isinstance(node.filter, And) else (node.filter,)
        # A search for one part of the value path finds no less than the value path.
        for operand in operands:
            if isinstance(operand, BoundComparison):
                try:
                    native = self.comparison(operand)
                except NotPushable:
                    continue
                if native.group is None or len(operands) == 1:
                    return native
        raise NotPushable(node)

    def conjunction(self, natives: Sequence[Native]) -> Native:
        return _joined(natives, False)

    def disjunction(self, natives: Sequence[Native]) -> Native:
        return _joined(natives, True)


def _joined(natives: Sequence[Native], is_any: bool) -> Native:
    if any(one.group is not None or (one.any is not is_any and len(one.terms) != 1) for one in natives):
        raise NotPushable
    return Native(tuple(term for one in natives for term in one.terms), is_any)
