"""From a filter (RFC 7644 section 3.4.2.2) to one of LDAP (RFC 4515) that finds at least as much.

What it finds is evaluated again: a directory compares text in its own way, and keeps no elements
together.
"""

from collections.abc import Callable, Sequence

from ldap.filter import escape_filter_chars

from schema.resource_type import AttributePath
from schema.values import format_date_time, parse_date_time
from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node
from storage.ldap.form import Unit
from storage.ldap.layout import LAYOUTS, Layout, all_of, any_of, equality, generalized_time
from storage.ldap.matching import is_exact, substring

_SUBSTRINGS = {"co": "(%s=*%s*)", "sw": "(%s=%s*)", "ew": "(%s=*%s)"}
# Text much longer than this is no help in an index, and makes a long filter.
_LONGEST = 256


class LdapFilterCompiler(FilterCompiler[str]):
    """Compiles the filters of one unit; `members` gives the filter for what has a member, by its id."""

    def __init__(self, unit: Unit, members: Callable[[str], str]) -> None:
        self._unit = unit
        self._members = members

    def unique(self, path: AttributePath, key: str) -> str | None:
        """Return the filter for the entries that may have a unique value, None when none can tell."""
        try:
            return self.comparison(BoundComparison(path, "eq", key, key))
        except NotPushable:
            return None

    def comparison(self, node: BoundComparison) -> str:
        path = node.path
        if path.attribute == self._unit.resource_type.members:
            return self._members(self.linked_id(node))
        match path.text:
            case "externalId":
                return self._external_id(node)
            case "active" if self._unit.layout.active and node.operator == "eq":
                return self._or_others(f"({self._unit.layout.active}={node.key.upper()})")
            case "meta.created" | "meta.lastModified":
                return self._time(node)
        links = [link for link in self._unit.standard.of(path) if link.attribute != "sshPublicKey"]
        if not links:
            raise NotPushable(node)
        parts = []
        for link in links:
            parts.append(self._assertion(link.attribute, node))
            parts += [layout.inexact_filter(link.attribute) for layout in self._layouts()]
        found = any_of(parts)
        # HarryKodden/scim writes this one where we do.
        return found if path.text == "userName" else self._or_others(found)

    def presence(self, node: BoundPresence) -> str:
        links = [link for link in self._unit.standard.of(node.path) if link.attribute != "sshPublicKey"]
        if not links:
            raise NotPushable(node)
        parts = [f"({link.attribute}=*)" for link in links]
        parts += [layout.inexact_filter(x.attribute) for layout in self._layouts() for x in links]
        return self._or_others(any_of(parts))

    def value_path(self, node: BoundValuePath) -> str:
        return self._within(node.filter)

    def _within(self, node: Node) -> str:
        """Return the filter for what may have an element that `node` holds for."""
        if not isinstance(node, And):
            return self.compile(node)
        parts = []
        for operand in node.operands:
            try:
                parts.append(self._within(operand))
            except NotPushable:
                continue
        if not parts:
            raise NotPushable(node)
        return all_of(parts)

    def conjunction(self, natives: Sequence[str]) -> str:
        return all_of(natives)

    def disjunction(self, natives: Sequence[str]) -> str:
        return any_of(natives)

    def _layouts(self) -> Sequence[Layout]:
        return LAYOUTS if self._unit.has_others else (self._unit.layout,)

    def _external_id(self, node: BoundComparison) -> str:
        if node.operator != "eq" or not is_exact(node.key) or len(node.key) > _LONGEST:
            raise NotPushable(node)
        layout = self._unit.layout
        return self._or_others(equality(layout.external_id, node.key))

    def _assertion(self, attribute: str, node: BoundComparison) -> str:
        key = substring(node.key)
        if key is None or len(key) > _LONGEST:
            raise NotPushable(node)
        if node.operator == "eq":
            return equality(attribute, key)
        if node.operator not in _SUBSTRINGS:
            raise NotPushable(node)
        return _SUBSTRINGS[node.operator] % (attribute, escape_filter_chars(key))

    def _time(self, node: BoundComparison) -> str:
        layout = self._unit.layout
        created = node.path.text == "meta.created"
        attribute = layout.created if created else layout.modified
        if not layout.has_times or attribute is None or node.operator not in ("gt", "ge"):
            raise NotPushable(node)
        time = generalized_time(format_date_time(parse_date_time(node.key)))
        parts = [f"({attribute}>={time})", f"(!({attribute}=*))"]
        if not created:
            # What others changed is as new as that.
            parts.append(f"(modifyTimestamp>={time[:14]}Z)")
        return any_of(parts)

    def _or_others(self, found: str) -> str:
        """Add the entries that are laid out in another way, if there were any at the start."""
        if not self._unit.has_others:
            return found
        return any_of([found, f"(&(objectClass=extensibleObject)(!({self._unit.layout.place}=*)))"])
