"""What a PATCH does to the members of a group, without reading them unless it must."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

from app.protocol.patch.elements import Elements
from app.protocol.patch.meter import Meter
from app.protocol.patch.plan import PatchPlan, PatchRules
from app.protocol.patch.removal import named_values
from app.protocol.patch.selection import NothingSelected, made_element
from app.protocol.patch.values import listed
from app.protocol.references import Named, NamedMember, named_members, with_named
from schema.attribute import Attribute
from schema.errors import Mutability
from schema.resource_type import AttributePath
from schema.values import comparison_key
from scim_filter.nodes import BoundComparison, BoundPatchPath, Node
from storage.adapter import Key


class RequestedMembers:
    """Who joins and who leaves a group.

    Filters see members as a GET shows them. `load` yields those that there are, as elements of the
    attribute; it is called once at the most. `joining` yields the elements of members that join, which
    are asked for once each, and `located` returns the type and id in a `$ref`, None where no member can
    have it; without `located` a `$ref` is looked for among all members.
    """

    def __init__(
        self,
        load: Callable[[], Iterable[dict[str, Any]]],
        joining: Callable[[Named], Iterable[dict[str, Any]]] = lambda named: (),
        located: Callable[[str], Key | None] | None = None,
    ) -> None:
        self._load = load
        self._joining = joining
        self.located = located
        self._elements: Elements | None = None
        # Those in `_elements` by id, and the ids that joined since filters last looked.
        self._numbers: dict[str, list[int]] = {}
        self._unseen: dict[str, None] = {}
        # Types in lower case by id; an empty one stands for all.
        self._left: dict[str, set[str]] = {}
        self.cleared = False
        self.added: dict[str, Sequence[NamedMember]] = {}

    @property
    def removed(self) -> list[str]:
        """The ids under which members leave and none joins."""
        return [member_id for member_id in self._left if member_id not in self.added]

    @property
    def replaced(self) -> frozenset[str]:
        """The ids under which members leave and others join. Those that join do not leave."""
        return frozenset(self._left.keys() & self.added.keys())

    def leaves(self, member_id: str, type_name: str) -> bool:
        """Return whether a member with that id leaves if it is of that type."""
        types = self._left.get(member_id)
        return types is not None and ("" in types or type_name.lower() in types)

    def add(self, members: Named) -> None:
        """Let members join; they are ids with what the client says of each."""
        for member_id, names in members.items():
            before = self.added.get(member_id)
            self.added[member_id] = names if before is None else reduce(with_named, names, before)
            self._unseen[member_id] = None

    def remove(self, members: Iterable[Key]) -> None:
        """Let members leave; with an empty type, all that have the id."""
        for type_name, member_id in members:
            staying = [one for one in self.added.pop(member_id, ()) if not one.may_be(type_name)]
            if staying:
                self.added[member_id] = staying
            if not self.cleared:
                self._left.setdefault(member_id, set()).add(type_name.lower())
            self._hide(member_id, type_name)

    def clear(self) -> None:
        self.cleared = True
        self.added.clear()
        self._left.clear()
        self._numbers.clear()
        if self._elements is not None:
            self._elements.replace_all(())

    def select(self, attribute: Attribute, condition: Node, meter: Meter) -> list[Key]:
        """Return the members, after the changes so far, that satisfy a filter in brackets.

        The type is empty where neither a member nor the client tells it.
        """
        if self._elements is None:
            self._elements = Elements(attribute, self._present(), meter)
            for number, element in enumerate(self._elements):
                self._numbers.setdefault(element["value"], []).append(number)
        elements = self._elements
        self._show_joining(elements)
        return [_key(elements[number]) for number in elements.select(condition)]

    def _present(self) -> Iterator[dict[str, Any]]:
        """Load the members, and yield those that have not left."""
        for element in self._load() if not self.cleared else ():
            member_id = element["value"]
            if member_id not in self._left or not self.leaves(member_id, element.get("type", "")):
                yield element

    def _show_joining(self, elements: Elements) -> None:
        """Have filters find the members that joined since they last looked."""
        unseen = {i: self.added[i] for i in self._unseen if i in self.added}
        self._unseen.clear()
        missing: dict[str, list[NamedMember]] = {}
        for member_id, names in unseen.items():
            for one in names:
                number = self._number(elements, member_id, one)
                if number is None:
                    missing.setdefault(member_id, []).append(one)
                elif one.display:
                    elements.change(number, {**elements[number], "display": one.display})
        found: dict[str, list[dict[str, Any]]] = {}
        for element in self._joining(missing) if missing else ():
            found.setdefault(element["value"], []).append(element)
        for member_id, names in missing.items():
            for one in names:
                said = {"value": member_id, "type": one.type} if one.type else {"value": member_id}
                known = (element for element in found.get(member_id, ()) if one.may_be(_key(element)[0]))
                self._numbers.setdefault(member_id, []).append(elements.append(next(known, said)))

    def _number(self, elements: Elements, member_id: str, one: NamedMember) -> int | None:
        """Return the number of a member that a client names, None where filters do not find it yet."""
        numbers = self._numbers.get(member_id, ())
        return next((number for number in numbers if one.may_be(_key(elements[number])[0])), None)

    def _hide(self, member_id: str, type_name: str) -> None:
        leaving = NamedMember(type=type_name)
        for number in self._numbers.pop(member_id, ()):
            assert self._elements is not None
            if leaving.may_be(_key(self._elements[number])[0]):
                self._elements.remove(number)
            else:
                self._numbers.setdefault(member_id, []).append(number)


def named_ids(plan: PatchPlan) -> list[str]:
    """Return the ids of members that operations name in the usual ways; which ones matter is not decided."""
    attribute = plan.rules.resource_type.members
    if attribute is None:
        return []
    ids: dict[str, None] = {}
    for planned in plan.operations:
        value, target = planned.operation.value, planned.target
        if target is None:
            value = value.get(attribute.name) if isinstance(value, Mapping) else None
        elif target.path.attribute != attribute or target.path.extension is not None:
            continue
        elif target.filter is not None:
            value = made_element(target.filter)
        for element in value if isinstance(value, list) else [value]:
            member_id = element.get("value") if isinstance(element, Mapping) else element
            if isinstance(member_id, str):
                ids[member_id] = None
    return list(ids)


def _key(element: Mapping[str, Any]) -> Key:
    """Return type and id of an element, an empty type where it has none."""
    return element.get("type", ""), element["value"]


class MemberPatcher:
    """Carries out operations on the membership attribute; they change `members` only."""

    def __init__(self, rules: PatchRules, members: RequestedMembers, meter: Meter) -> None:
        self._rules = rules
        self._members = members
        self._meter = meter

    def run(self, op: str, bound: BoundPatchPath, value: Any) -> None:
        path, condition = bound.path, bound.filter
        if path.sub_attribute is not None:
            if condition is not None or path.leaf.name != "value":
                raise Mutability(f"{path.text}: is {path.leaf.mutability}")
            # `members.value` names the members by their ids.
            if value is not None:
                items = named_values(value) if op == "remove" else listed(value)
                value = [{"value": item} for item in items if item is not None]
            path = AttributePath(path.attribute)
        if condition is not None:
            self._run_on_selected(op, condition, value, path)
        elif op == "remove":
            self._remove(path, value)
        else:
            if op == "replace":
                self._members.clear()
            self._members.add(self._named(path, value))

    def _remove(self, path: AttributePath, value: Any) -> None:
        """Remove the members that `value` names, all of them when there is no value."""
        if value is None:
            self._members.clear()
            return
        named = self._named(path, named_values(value))
        self._remove_named(path, [(one.type or "", i) for i, names in named.items() for one in names])

    def _run_on_selected(self, op: str, condition: Node, value: Any, path: AttributePath) -> None:
        members, template = self._members, made_element(condition)
        if op == "remove" and value is not None and not named_values(value):
            return
        named = self._named_alone(path, template) if op == "remove" and template is not None else None
        if named is not None:
            self._remove_named(path, named)
            return
        chosen = members.select(path.attribute, condition, self._meter)
        if op == "remove":
            members.remove(chosen)
        elif chosen:
            members.remove(chosen)
            members.add(self._named(path, value))
        elif op == "add" and self._rules.profile.creates_elements and template and "value" in template:
            element = {name: part for name, part in template.items() if name in ("value", "type")}
            members.add(named_members(path.attribute, [element]))
        else:
            raise NothingSelected(f"{path.text}: no value matches the filter")

    def _named_alone(self, path: AttributePath, template: Mapping[str, Any]) -> list[Key] | None:
        """Return the members that a filter by `value` or `$ref` alone can select, None for another filter."""
        match template:
            case {"value": str(member_id)} if len(template) == 1:
                return [("", member_id)]
            case {"$ref": str(location)} if len(template) == 1 and self._members.located is not None:
                leaf = path.attribute.sub_attribute("$ref")
                if leaf is not None and leaf.case_exact:
                    found = self._members.located(location)
                    return [] if found is None else [found]
        return None

    def _remove_named(self, path: AttributePath, members: Iterable[Key]) -> None:
        """Remove members by id and type; ids are compared as the definition of the attribute says."""
        leaf = path.attribute.sub_attribute("value")
        if leaf is None or leaf.case_exact:
            # The usual case needs no look at the members there are.
            self._members.remove(members)
            return
        id_path = AttributePath(path.attribute, leaf)
        for type_name, member_id in members:
            condition = BoundComparison(id_path, "eq", member_id, comparison_key(leaf, member_id))
            found = self._members.select(path.attribute, condition, self._meter)
            named = NamedMember(type=type_name)
            self._members.remove([key for key in found if named.may_be(key[0])])

    def _named(self, path: AttributePath, value: Any) -> Named:
        if value is None:
            return {}
        return named_members(path.attribute, self._rules.elements(path.attribute, value, path.text))
