"""Finding the resources that can match a filter: by id, by group, or by an LDAP filter."""

from collections.abc import Callable, Sequence
from functools import partial

from scim_filter.nodes import And, BoundComparison, Node
from scim_filter.plan import BOTH, Part, Plan, chosen, parts_of
from storage.adapter import Found, StoredResource
from storage.ldap.find import Tree
from storage.ldap.form import Unit
from storage.ldap.layout import is_id
from storage.ldap.links import Members
from storage.ldap.selection import LdapFilterCompiler
from storage.ldap.server import Directory
from storage.ldap.wire import Session


class Matching:
    """Finds resources of one type; the server evaluates the whole filter on them."""

    def __init__(self, directory: Directory, tree: Tree, members: Members) -> None:
        self._directory = directory
        self._tree = tree
        self._members = members

    def found(self, session: Session, unit: Unit, node: Node | None) -> Found:
        """Return the resources that can match a filter; the directory evaluates the native part of it."""
        wanted = _wanted(node, "id")
        if node is not None and wanted is not None:
            one = self._tree.get(session, unit, wanted.key) if is_id(wanted.key) else None
            found = [one.resource] if one is not None else []
            return _by(found, node, lambda: chosen(node, wanted, BOTH, "reads the entry"))
        memberships = unit.resource_type.memberships
        group = _wanted(node, f"{memberships.name}.value") if memberships is not None else None
        if node is not None and group is not None:
            inside = self._members.inside(session, unit, group.key)
            return _by(inside, node, lambda: chosen(node, group, BOTH, "reads the members of a group"))
        native = self._compiler(session, unit).split(node)[0] if node is not None else None
        resources = [one.resource for one in self._tree.matching(session, unit, native)]
        explain = partial(self._explain, unit, node)
        return Found(resources, node, is_narrowed=native is not None, explain=explain)

    def _compiler(self, session: Session, unit: Unit) -> LdapFilterCompiler:
        return LdapFilterCompiler(unit, lambda i: self._members.filter_for(session, i))

    def _explain(self, unit: Unit, node: Node | None) -> Plan:
        with self._directory.lease() as session:
            return Plan(parts_of(self._compiler(session, unit), node))


def _by(
    resources: Sequence[StoredResource], node: Node, parts: Callable[[], tuple[Part, ...]]
) -> Found:
    return Found(resources, node, is_narrowed=True, explain=lambda: Plan(parts()))


def _wanted(node: Node | None, path: str) -> BoundComparison | None:
    """Return the part of a filter that demands an id at a caseExact path, or None."""
    for operand in node.operands if isinstance(node, And) else (node,):
        if isinstance(operand, BoundComparison) and operand.operator == "eq" and operand.path.text == path:
            return operand if operand.path.leaf.case_exact else None
    return None
