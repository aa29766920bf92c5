"""Selections as LDAP searches: filters (RFC 7644 section 3.4.2.2) and lists in an order.

An LDAP filter (RFC 4515) finds no less than the SCIM filter, and the server evaluates the SCIM filter on the
result: a directory compares text by other rules, and has no complex values.
"""

from collections.abc import Callable, Sequence

from ldap.filter import escape_filter_chars

from schema.resource_type import AttributePath
from schema.values import format_date_time, parse_date_time
from scim_filter.compiler import FilterCompiler, NotPushable
from scim_filter.nodes import And, BoundComparison, BoundPresence, BoundValuePath, Node
from storage.adapter import Found, Selection, StoredResource
from storage.ldap.capabilities import ServerCapabilities
from storage.ldap.find import Tree
from storage.ldap.form import DELETED, Unit
from storage.ldap.layout import LAYOUTS, Layout, all_of, any_of, equality, generalized_time
from storage.ldap.mapping import is_exact, substring
from storage.ldap.partial import sort_reader
from storage.ldap.server import Directory
from storage.ldap.wire import Session

_SUBSTRINGS = {"co": "(%s=*%s*)", "sw": "(%s=%s*)", "ew": "(%s=*%s)"}
# A longer text makes a long filter, and no index helps.
_LONGEST = 256


class LdapFilterCompiler(FilterCompiler[str]):
    """Compiles filters of one resource type; `members` returns the filter for groups with a member, by id."""

    is_exact = False

    def __init__(self, unit: Unit, members: Callable[[str], str]) -> None:
        self._unit = unit
        self._members = members

    def access(self, native: str) -> str:
        return "an LDAP filter"

    def shown(self, native: str) -> str:
        return native

    def unique(self, path: AttributePath, key: str) -> str | None:
        """Return the filter for entries that can have a unique value, None if there is none."""
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
        pairs = [pair for pair in self._unit.standard.of(path) if pair.attribute != "sshPublicKey"]
        if not pairs:
            raise NotPushable(node)
        parts = []
        for pair in pairs:
            parts.append(self._assertion(pair.attribute, node))
            parts += [layout.inexact_filter(pair.attribute) for layout in self._layouts()]
        found = any_of(parts)
        # HarryKodden/scim also has the userName in `uid`.
        return found if path.text == "userName" else self._or_others(found)

    def presence(self, node: BoundPresence) -> str:
        pairs = [pair for pair in self._unit.standard.of(node.path) if pair.attribute != "sshPublicKey"]
        if not pairs:
            raise NotPushable(node)
        parts = [f"({pair.attribute}=*)" for pair in pairs]
        parts += [layout.inexact_filter(x.attribute) for layout in self._layouts() for x in pairs]
        return self._or_others(any_of(parts))

    def value_path(self, node: BoundValuePath) -> str:
        return self._within(node.filter)

    def _within(self, node: Node) -> str:
        """Return the filter for resources that can have an element for which `node` is true."""
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
            # Changes by LDAP clients count as changes of the resource.
            parts.append(f"(modifyTimestamp>={time[:14]}Z)")
        return any_of(parts)

    def _or_others(self, found: str) -> str:
        """Add the entries of other layouts, if there were any at the start."""
        if not self._unit.has_others:
            return found
        return any_of([found, self._unit.layout.others_filter])


class Listing:
    """Lists of all resources of a type."""

    def __init__(self, directory: Directory, tree: Tree, server: ServerCapabilities) -> None:
        self._directory = directory
        self._tree = tree
        self._sorts = server.sorts and server.has_schema
        self._is_openldap = server.is_openldap

    def found(self, session: Session, unit: Unit, selection: Selection) -> Found | None:
        """Return a selection without filter, None if the order depends on whole resources."""
        page = self._sorted_by_server(session, unit, selection) if self._sorts else None
        if page is not None:
            return page
        reader = sort_reader(unit, selection.sort)
        if reader is None:
            return None
        readers = self._tree.read_list(session, reader)
        names = {one.stored.id: one.entry.dn for one in readers}

        def read(page: Sequence[StoredResource]) -> Sequence[StoredResource]:
            with self._directory.lease() as reading:
                found = self._tree.read(reading, [names[stored.id] for stored in page])
                # The entries arrive one by one, and later the connection belongs to another thread.
                return [one.resource for _, one in found]

        return Found(sorted((one.stored for one in readers), key=lambda stored: stored.place), read=read)

    def _sorted_by_server(self, session: Session, unit: Unit, selection: Selection) -> Found | None:
        """Return a page that the server sorts, None if its order is not that of SCIM.

        The order of times and numbers is the same, that of text is not.
        """
        keys = _keys(unit, selection)
        if keys is None or selection.limit is None:
            return None
        placed = f"({unit.layout.place}=*)"
        if session.has(unit.dn, all_of([unit.filter, f"(!{placed})"])):
            # Entries of others: some may be no resources, and they have no place.
            return None
        text = all_of([unit.filter, placed, f"(!({unit.layout.version}={DELETED}))"])
        offset, limit = selection.offset, selection.limit
        if offset or not self._is_openldap:
            window = session.window(unit.dn, text, keys, offset, limit, unit.attributes)
        else:
            window = session.beginning(unit.dn, text, keys, limit, unit.attributes)
        if window is None:
            return None
        entries, total = window
        read = [unit.read(entry) for entry in entries]
        resources = [one.resource for one in read if one is not None]
        return Found(resources, is_page=True, total=total) if len(resources) == len(entries) else None


def _keys(unit: Unit, selection: Selection) -> list[str] | None:
    """Return the sort keys for an order, None if the order of the server is not that of SCIM."""
    layout, sort = unit.layout, selection.sort
    if not layout.has_times or layout.created is None or selection.after or selection.before:
        return None
    if sort is None:
        return [layout.place]
    if sort.path.text != "meta.created":
        return None
    sign = "-" if sort.descending else ""
    return [f"{sign}{layout.created}", f"{sign}{layout.place}"]
