"""Finding users and groups: a search of JumpCloud for users, and the list of all groups for groups."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from schema.resource_type import AttributePath
from scim_filter.nodes import And, BoundComparison, BoundValuePath, Node, all_of, any_of
from storage.adapter import Found, Selection, StoredResource
from storage.errors import BadBackendAnswer
from storage.jumpcloud.document import USER_LENSES
from storage.jumpcloud.filter import Native, UserFilterCompiler
from storage.jumpcloud.form import GroupForm, UserForm
from storage.jumpcloud.wire import GROUPS, PAGE, Directory, Json, Missing, every, id_of

# Up to so many groups are read one by one, more of them from the list of all groups.
_FEW: Final = 2

UniqueValue = tuple[AttributePath, str]


class UserFinder:
    """Finds users, in the order of their ids."""

    def __init__(self, directory: Directory, form: UserForm) -> None:
        self._directory = directory
        self._form = form
        self._compiler = UserFilterCompiler(form.resource_type, USER_LENSES, directory.is_id)

    def scan(self) -> Iterator[StoredResource]:
        """Yield every user."""
        return map(self._form.read, every(self._directory.users))

    def candidates(self, selection: Selection) -> Found:
        """Return the users that a selection may select (`StorageAdapter.candidates`)."""
        if selection.filter is None and selection.sort is None and selection.before is None:
            return self._page(selection)
        if selection.filter is None:
            return Found(self.scan())
        native, residual = self._compiler.split(selection.filter)
        # Only the members of a group are exactly the users that the filter wants.
        is_exact = native is not None and native.group is not None
        return Found(self._matching(native), residual if is_exact else selection.filter)

    def _page(self, selection: Selection) -> Found:
        """Return a page of all users; behind a position, the users with greater ids."""
        after = selection.after.place if selection.after is not None else ""
        conditions = [f"_id:$gt:{after}"] if after else []
        users: list[Json] = []
        limit, is_full = selection.limit, False
        while not is_full:
            wanted = PAGE if limit is None else max(1, min(PAGE, limit - len(users)))
            page, count = self._directory.users(selection.offset + len(users), wanted, conditions)
            if any(id_of(user) <= after for user in page):
                raise BadBackendAnswer("JumpCloud sent users ahead of the position that was asked for")
            users += page
            is_end = not page or selection.offset + len(users) >= (count or 0)
            is_full = is_end or (limit is not None and len(users) >= limit)
        if conditions:
            _, count = self._directory.users(0, 1)
        found = map(self._form.read, users[:limit])
        return Found(list(found), is_page=True, total=count or 0)

    def sharing(self, values: Sequence[UniqueValue], resource: StoredResource) -> Iterator[StoredResource]:
        """Yield all users that have one of a resource's unique values, perhaps others too."""
        wanted = [
            BoundComparison(path, "eq", path.values(resource.document)[0], key) for path, key in values
        ]
        native, _ = self._compiler.split(any_of(list[Node](wanted)))
        return self._matching(native)

    def _matching(self, native: Native | None) -> Iterator[StoredResource]:
        if native is None:
            return self.scan()
        if native.group is not None:
            return self._with_ids(one for page in self._directory.members(native.group) for one in page)
        ids = [term["_id"] for term in native.terms if "_id" in term]
        if ids and not native.any:
            return self._with_ids(ids[:1])
        others = replace(native, terms=tuple(term for term in native.terms if "_id" not in term))
        if ids:
            both = {stored.id: stored for stored in (*self._with_ids(ids), *self._matching(others))}
            return iter(sorted(both.values(), key=lambda stored: stored.place))
        if not native.terms:
            return iter(())
        condition = native.condition
        found = every(lambda skip, limit: self._directory.search(condition, skip, limit))
        return map(self._form.read, found)

    def _with_ids(self, ids: Iterable[str]) -> Iterator[StoredResource]:
        users = self._directory.users_with(ids)
        return map(self._form.read, (users[user_id] for user_id in sorted(users)))


class GroupFinder:
    """Finds groups, in the order of their ids."""

    def __init__(self, directory: Directory, form: GroupForm) -> None:
        self._directory = directory
        self._form = form
        self._members = form.resource_type.members

    def scan(self) -> Iterator[StoredResource]:
        """Yield every group; all of them are read, because JumpCloud sorts groups by name."""
        groups = map(self._form.read, every(self._directory.groups))
        return iter(sorted(groups, key=lambda stored: stored.place))

    def candidates(self, selection: Selection) -> Found:
        """Return the groups that a selection may select (`StorageAdapter.candidates`)."""
        node = selection.filter
        operands = list(node.operands) if isinstance(node, And) else [node] if node is not None else []
        for operand in operands:
            user_id = self._member(operand)
            if user_id is not None:
                rest = [other for other in operands if other is not operand]
                return Found(self._with_member(user_id), all_of(rest) if rest else None)
        return Found(self.scan(), node)

    def _member(self, node: Node) -> str | None:
        """Return the id in the filter `members.value eq`; None for another filter."""
        inner = node.filter if isinstance(node, BoundValuePath) else node
        if not isinstance(inner, BoundComparison) or inner.operator != "eq":
            return None
        is_member = inner.path.attribute == self._members and inner.path.leaf.name == "value"
        return inner.key if is_member and inner.path.leaf.case_exact else None

    def _with_member(self, user_id: str) -> Iterator[StoredResource]:
        groups = groups_with(self._directory, groups_of(self._directory, user_id))
        return map(self._form.read, (groups[group_id] for group_id in sorted(groups)))

    def sharing(self, values: Sequence[UniqueValue], resource: StoredResource) -> Iterator[StoredResource]:
        """Yield all groups, because JumpCloud cannot search for a part of a remainder."""
        return self.scan()


def groups_of(directory: Directory, user_id: str) -> list[str]:
    """Return the ids of the groups of a user, in order."""
    pages = directory.groups_of(user_id) if directory.is_id(user_id) else ()
    return sorted(group_id for page in pages for group_id in page)


def groups_with(directory: Directory, ids: Iterable[str]) -> dict[str, Json]:
    """Return the existing groups among `ids` by their ids."""
    wanted = {group_id for group_id in ids if directory.is_id(group_id)}
    found: dict[str, Json] = {}
    if len(wanted) > _FEW:
        for group in every(directory.groups):
            if id_of(group) in wanted:
                found[id_of(group)] = group
            if len(found) == len(wanted):
                break
        return found
    for group_id in sorted(wanted):
        try:
            found[group_id] = directory.read(GROUPS, group_id)
        except Missing:
            continue
    return found
