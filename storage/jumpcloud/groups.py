"""User groups of JumpCloud: found, created and changed."""

from collections.abc import Iterator
from dataclasses import replace

from scim_filter.nodes import And, BoundComparison, BoundValuePath, Node, all_of
from storage.adapter import Found, Selection, StoredResource
from storage.errors import OutcomeUnknown, ResourceNotFound, StorageError, UniquenessConflict
from storage.jumpcloud.client import Rejection
from storage.jumpcloud.directory import PAGE, Directory, Json, every, existing
from storage.jumpcloud.forms import GroupForm
from storage.jumpcloud.memberships import Memberships
from storage.uniqueness import unique_values


class Groups:
    """What the adapter does with groups."""

    def __init__(self, directory: Directory, form: GroupForm, members: Memberships) -> None:
        self.form = form
        self._directory = directory
        self._members = members
        self._type = form.resource_type

    # -- one group

    def live(self, group_id: str) -> Json:
        """Return a group as JumpCloud has it. Raises ResourceNotFound."""
        self._check(group_id)
        with existing(self._type.name, group_id):
            return self._directory.group(group_id)

    def names(self, resource: StoredResource) -> list[str]:
        """Return the unique values of a group, each with its path."""
        return [f"group {path.text} {key}" for path, key in unique_values(self._type, resource.document)]

    def create(self, resource: StoredResource) -> StoredResource:
        """Create a group. Raises UniquenessConflict and ValueRefused."""
        body = self.form.new(resource)
        self._refuse_taken(resource)
        try:
            created = self._directory.create_group(body)
        except Rejection as rejection:
            self._explain(rejection, body["name"], "")
            raise
        except OutcomeUnknown:
            after_all = self._created_after_all(body)
            if after_all is None:
                raise
            created = after_all
        return replace(self.form.read(created), joined=False, source=None)

    def _created_after_all(self, body: Json) -> Json | None:
        """Return the group whose creation was not confirmed, if it is there."""
        try:
            found = self._directory.groups_called(body["name"])
        except StorageError:
            return None
        return next((group for group in found if group.get("attributes") == body["attributes"]), None)

    def replace(self, resource: StoredResource, live: Json) -> StoredResource:
        """Make a group this resource. Raises UniquenessConflict, ValueRefused and ResourceNotFound."""
        body = self.form.update(resource, live)
        self._refuse_taken(resource, self.form.read(live))
        try:
            with existing(self._type.name, resource.id):
                return self.form.read(self._directory.update_group(resource.id, body))
        except Rejection as rejection:
            self._explain(rejection, body["name"], resource.id)
            raise

    def delete(self, group_id: str) -> None:
        """Delete a group. Raises ResourceNotFound."""
        self._check(group_id)
        with existing(self._type.name, group_id):
            self._directory.delete_group(group_id)

    def _check(self, group_id: str) -> None:
        if not self._directory.is_id(group_id):
            raise ResourceNotFound(self._type.name, group_id)

    # -- unique values

    def _refuse_taken(self, resource: StoredResource, before: StoredResource | None = None) -> None:
        """Raise UniquenessConflict for a value that another group has: all of them are read for that."""
        known = set(unique_values(self._type, before.document)) if before is not None else set()
        new = [entry for entry in unique_values(self._type, resource.document) if entry not in known]
        for group in self.scan() if new else ():
            taken = set(unique_values(self._type, group.document))
            for entry in new:
                if entry in taken and (before is None or group.id != before.id):
                    raise UniquenessConflict(entry[0].text)

    def _explain(self, rejection: Rejection, name: str, group_id: str) -> None:
        """Raise UniquenessConflict if a call was refused because another group has the name."""
        named = [group["id"] for group in self._directory.groups_called(name)]
        if rejection.status == 409 or any(other != group_id for other in named):
            raise UniquenessConflict("displayName") from rejection

    # -- many groups

    def scan(self) -> Iterator[StoredResource]:
        """Yield every group, in the order of creation, which JumpCloud need not keep to."""
        groups = map(self.form.read, every(self._directory.groups))
        return iter(sorted(groups, key=lambda stored: stored.place))

    def candidates(self, selection: Selection) -> Found:
        """Return what may be selected (`StorageAdapter.candidates`)."""
        keyset = selection.after is not None or selection.before is not None
        if selection.filter is None and selection.sort is None and not keyset:
            page = self._page(selection)
            if page is not None:
                return page
        member, rest = self._split(selection.filter)
        return Found(self._with_member(member), rest)

    def _page(self, selection: Selection) -> Found | None:
        """Return a page of all groups, or None when JumpCloud does not count or order them so."""
        found: list[StoredResource] = []
        limit = selection.limit
        while True:
            wanted = PAGE if limit is None else max(1, min(PAGE, limit - len(found)))
            groups, total = self._directory.groups(selection.offset + len(found), wanted)
            if total is None or self._directory.group_order != "_id":
                return None
            found += map(self.form.read, groups)
            if not groups or selection.offset + len(found) >= total or len(found) >= (limit or total):
                return Found(found if limit is None else found[:limit], is_page=True, total=total)

    def _split(self, node: Node | None) -> tuple[str | None, Node | None]:
        """Return the member that a filter asks for, if it does, and what is left of the filter."""
        operands = list(node.operands) if isinstance(node, And) else [node] if node is not None else []
        for operand in operands:
            member = self._member(operand)
            if member is not None:
                rest = [other for other in operands if other is not operand]
                return member, all_of(rest) if rest else None
        return None, node

    def _member(self, node: Node) -> str | None:
        """Return the id in a filter that is no more than `members.value eq` with one."""
        inner = node.filter if isinstance(node, BoundValuePath) else node
        if not isinstance(inner, BoundComparison) or inner.operator != "eq":
            return None
        is_member = inner.path.attribute == self._type.members and inner.path.leaf.name == "value"
        return inner.key if is_member and inner.path.leaf.case_exact else None

    def _with_member(self, member: str | None) -> Iterator[StoredResource]:
        if member is None:
            return self.scan()
        ids = self._members.links.group_ids(member) if self._directory.is_id(member) else []
        return map(self.form.read, self._members.groups(ids))
