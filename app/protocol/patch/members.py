"""What a PATCH does to the members of a group, without reading them unless it must."""

from collections.abc import Callable, Iterable
from typing import Any

from app.protocol.patch.elements import Elements
from app.protocol.patch.meter import Meter
from app.protocol.patch.plan import PatchRules
from app.protocol.patch.removal import listed, named_values
from app.protocol.patch.selection import NothingSelected, made_element
from app.protocol.references import Named, NamedMember, named_members
from schema.attribute import Attribute
from schema.errors import Mutability
from schema.resource_type import AttributePath
from schema.values import comparison_key
from scim_filter.nodes import BoundComparison, BoundPatchPath, Node


class MemberChanges:
    """Who joins and who leaves a group.

    `load` yields the members there are, as elements of the attribute; it is called once at the most.
    """

    def __init__(self, load: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self._load = load
        self._loaded: dict[str, dict[str, Any]] = {}
        self._elements: Elements | None = None
        self._numbers: dict[str, int] = {}
        self.cleared = False
        self.added: dict[str, NamedMember] = {}
        self.removed: dict[str, None] = {}

    def add(self, members: Named) -> None:
        """Let members join; they are ids with what the client says of each."""
        for member_id, named in members.items():
            self.removed.pop(member_id, None)
            self.added[member_id] = named
            self._show(member_id)

    def remove(self, member_ids: Iterable[str]) -> None:
        for member_id in member_ids:
            self.added.pop(member_id, None)
            if not self.cleared:
                self.removed[member_id] = None
            number = self._numbers.pop(member_id, None)
            if number is not None and self._elements is not None:
                self._elements.remove(number)

    def clear(self) -> None:
        self.cleared = True
        self.added.clear()
        self.removed.clear()
        self._loaded.clear()
        self._numbers.clear()
        if self._elements is not None:
            self._elements.replace_all(())

    def select(self, attribute: Attribute, condition: Node, meter: Meter) -> list[str]:
        """Return the ids of the members, after the changes so far, that satisfy a filter in brackets."""
        if self._elements is None:
            if not self.cleared:
                self._loaded = {element["value"]: element for element in self._load()}
            present = [element for i, element in self._loaded.items() if i not in self.removed]
            self._numbers = {element["value"]: number for number, element in enumerate(present)}
            self._elements = Elements(attribute, present, meter)
            for member_id in self.added:
                self._show(member_id)
        elements = self._elements
        return [elements[number]["value"] for number in elements.select(condition)]

    def _show(self, member_id: str) -> None:
        """Have filters find a member that joins, if they have looked at the others already."""
        if self._elements is not None and member_id not in self._numbers:
            element = self._loaded.get(member_id) or {"value": member_id}
            self._numbers[member_id] = self._elements.append(element)


class MemberPatcher:
    """Carries out operations on the membership attribute; they change `members` only."""

    def __init__(self, rules: PatchRules, members: MemberChanges, meter: Meter) -> None:
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
        self._remove_ids(path, self._named(path, named_values(value)))

    def _run_on_selected(self, op: str, condition: Node, value: Any, path: AttributePath) -> None:
        members, template = self._members, made_element(condition)
        if op == "remove" and value is not None and not named_values(value):
            return
        if op == "remove" and template is not None and set(template) == {"value"}:
            self._remove_ids(path, [template["value"]])
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

    def _remove_ids(self, path: AttributePath, member_ids: Iterable[str]) -> None:
        """Remove members by their ids, compared as the definition of the attribute says."""
        leaf = path.attribute.sub_attribute("value")
        if leaf is None or leaf.case_exact:
            # The usual case needs no look at the members there are.
            self._members.remove(member_ids)
            return
        id_path = AttributePath(path.attribute, leaf)
        for member_id in member_ids:
            condition = BoundComparison(id_path, "eq", member_id, comparison_key(leaf, member_id))
            self._members.remove(self._members.select(path.attribute, condition, self._meter))

    def _named(self, path: AttributePath, value: Any) -> Named:
        if value is None:
            return {}
        return named_members(path.attribute, self._rules.elements(path.attribute, value, path.text))
