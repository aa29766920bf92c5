"""Finding users and groups: a search of JumpCloud for users, and the list of all groups for groups."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from schema.resource_type import AttributePath
from scim_filter.nodes import And, BoundComparison, BoundValuePath, Node, all_of, any_of
from scim_filter.plan import STORAGE, Plan, chosen, listed, parts_of
from storage.adapter import Found, Selection, StoredResource
from storage.errors import BadBackendAnswer
from storage.jumpcloud.document import USER_LENSES
from storage.jumpcloud.filter import Native, UserFilterCompiler
from storage.jumpcloud.form import Form, GroupForm, UserForm
from storage.jumpcloud.wire import GROUPS, PAGE, Directory, Json, Missing, every, id_of

# Up to so many groups are read one by one, more of them from the list of all groups.
_FEW: Final = 2

UniqueValue = tuple[AttributePath, str]


class UserFinder:
    """Finds users, in the order of their ids; `groups` is the form of groups."""

    def __init__(self, directory: Directory, form: UserForm, groups: GroupForm) -> None:
        self._directory = directory
        self._form = form
        self._groups = groups
        self._compiler = UserFilterCompiler(form.resource_type, USER_LENSES, directory.is_id)

    def scan(self) -> Iterator[StoredResource]:
        """Yield every user."""
        return self._form.shown(every(self._directory.users))

    def candidates(self, selection: Selection) -> Found:
        """Return the users that a selection may select (`StorageAdapter.candidates`)."""
        is_plain = selection.filter is None and selection.sort is None and selection.before is None
        if is_plain and not self._form.foreign_entries.are_hidden:
            # No page of JumpCloud has only the users that are shown.
            return self._page(selection)
        if selection.filter is None:
            return Found(self.scan())
        native, residual = self._compiler.split(selection.filter)
        explain = partial(self._explain, selection.filter)
        # Only the members of a group are exactly the users that the filter wants.
        is_exact = native is not None and native.group is not None
        if native is not None and native.group and not _is_shown(self._directory, self._groups, native.group):
            return Found((), explain=explain)
        users = self.scan() if native is None else self._form.shown(self._matching(native))
        return Found(
            users,
            residual if is_exact else selection.filter,
            is_narrowed=native is not None,
            explain=explain,
        )

    def _explain(self, node: Node) -> Plan:
        return Plan(parts_of(self._compiler, node))

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
        found = self._form.shown(users[:limit])
        return Found(list(found), is_page=True, total=count or 0)

    def sharing(self, values: Sequence[UniqueValue], resource: StoredResource) -> Iterator[StoredResource]:
        """Yield all users that have one of a resource's unique values, perhaps others too."""
        wanted = [
            BoundComparison(path, "eq", path.values(resource.document)[0], key) for path, key in values
        ]
        native, _ = self._compiler.split(any_of(list[Node](wanted)))
        users = every(self._directory.users) if native is None else self._matching(native)
        return map(self._form.read, users)

    def _matching(self, native: Native) -> Iterator[Json]:
        if native.group is not None:
            return self._with_ids(one for page in self._directory.members(native.group) for one in page)
        ids = [term["_id"] for term in native.terms if "_id" in term]
        if ids and not native.any:
            return self._with_ids(ids[:1])
        others = replace(native, terms=tuple(term for term in native.terms if "_id" not in term))
        if ids:
            both = {id_of(user): user for user in (*self._with_ids(ids), *self._matching(others))}
            return iter(sorted(both.values(), key=id_of))
        if not native.terms:
            return iter(())
        condition = native.condition
        return every(lambda skip, limit: self._directory.search(condition, skip, limit))

    def _with_ids(self, ids: Iterable[str]) -> Iterator[Json]:
        users = self._directory.users_with(ids)
        return (users[user_id] for user_id in sorted(users))


class GroupFinder:
    """Finds groups, in the order of their ids; `users` is the form of users."""

    def __init__(self, directory: Directory, form: GroupForm, users: UserForm) -> None:
        self._directory = directory
        self._form = form
        self._users = users
        self._members = form.resource_type.members

    def scan(self) -> Iterator[StoredResource]:
        """Yield every group; all of them are read, because JumpCloud sorts groups by name."""
        groups = self._form.shown(every(self._directory.groups))
        return iter(sorted(groups, key=lambda stored: stored.place))

    def candidates(self, selection: Selection) -> Found:
        """Return the groups that a selection may select (`StorageAdapter.candidates`)."""
        node = selection.filter
        operands = list(node.operands) if isinstance(node, And) else [node] if node is not None else []
        for operand in operands:
            user_id = self._member(operand)
            if node is not None and user_id is not None:
                rest = [other for other in operands if other is not operand]
                explain = partial(_with_chosen, node, operand)
                return Found(self._with_member(user_id), all_of(rest) if rest else None, explain=explain)
        return Found(self.scan(), node, explain=lambda: Plan(listed(node, "JumpCloud lists all groups")))

    def _member(self, node: Node) -> str | None:
        """Return the id in the filter `members.value eq`; None for another filter."""
        inner = node.filter if isinstance(node, BoundValuePath) else node
        if not isinstance(inner, BoundComparison) or inner.operator != "eq":
            return None
        is_member = inner.path.attribute == self._members and inner.path.leaf.name == "value"
        return inner.key if is_member and inner.path.leaf.case_exact else None

    def _with_member(self, user_id: str) -> Iterator[StoredResource]:
        if not _is_shown(self._directory, self._users, user_id):
            return iter(())
        groups = groups_with(self._directory, groups_of(self._directory, user_id))
        return self._form.shown(groups[group_id] for group_id in sorted(groups))

    def sharing(self, values: Sequence[UniqueValue], resource: StoredResource) -> Iterator[StoredResource]:
        """Yield all groups, because JumpCloud cannot search for a part of a remainder."""
        return map(self._form.read, every(self._directory.groups))


def _with_chosen(node: Node, operand: Node) -> Plan:
    return Plan(chosen(node, operand, STORAGE, "the groups of a user"))


def _is_shown(directory: Directory, form: Form, resource_id: str) -> bool:
    """Return whether a user or group is none of the hidden ones."""
    if not form.foreign_entries.are_hidden:
        return True
    try:
        return not form.hides(directory.read(form.kind, resource_id))
    except Missing:
        return False


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
