"""Searching users: by a search of JumpCloud where there is one, by the page where all are wanted."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from storage.adapter import Found, Selection, StoredResource
from storage.jumpcloud.client import Rejection
from storage.jumpcloud.directory import PAGE, Directory, Listed, every
from storage.jumpcloud.fields import USER_LENSES
from storage.jumpcloud.filter import Native, UserFilterCompiler
from storage.jumpcloud.forms import UserForm
from storage.jumpcloud.memberships import Memberships


class UserSearch:
    """Finds users."""

    def __init__(self, directory: Directory, form: UserForm, members: Memberships) -> None:
        self._directory = directory
        self._form = form
        self._members = members
        self._type = form.resource_type
        self.compiler = UserFilterCompiler(self._type, USER_LENSES, directory.is_id)

    def scan(self) -> Iterator[StoredResource]:
        """Yield every user, in the order of creation."""
        return map(self._form.read, every(self._directory.users))

    def candidates(self, selection: Selection) -> Found:
        """Return what may be selected (`StorageAdapter.candidates`)."""
        if selection.filter is None and selection.sort is None and selection.before is None:
            page = self._page(selection) if selection.after is None else self._page_after(selection)
            if page is not None:
                return page
        native, residual = None, None
        if selection.filter is not None:
            native, residual = self.compiler.split(selection.filter)
        # Only of a group, all that is found is right.
        is_right = native is not None and native.group is not None
        return Found(self.matching(native), residual if is_right else selection.filter)

    def _page(self, selection: Selection) -> Found:
        """Return a page of all users, of which no others are read."""
        found: list[StoredResource] = []
        total, limit = None, selection.limit
        while total is None or (len(found) < limit if limit is not None else True):
            wanted = PAGE if limit is None else max(1, min(PAGE, limit - len(found)))
            users, total = self._directory.users(selection.offset + len(found), wanted)
            found += map(self._form.read, users)
            if not users or selection.offset + len(found) >= (total or 0):
                break
        return Found(found if limit is None else found[:limit], is_page=True, total=total or 0)

    def _page_after(self, selection: Selection) -> Found | None:
        """Return the users behind a position, without those ahead of it; None where that is not sure."""
        assert selection.after is not None
        last = selection.after.place

        def page(skip: int, limit: int) -> Listed:
            return self._directory.users(skip, limit, [f"_id:$gt:{last}"])

        _, total = self._directory.users(0, 1)
        try:
            _, ahead = self._directory.users(0, 1, [f"_id:$lte:{last}"])
            _, behind = page(0, 1)
        except Rejection:
            return None
        if total is None or (ahead or 0) + (behind or 0) != total:
            # Ids do not compare as they should, or somebody has just come or gone.
            return None
        wanted = None if selection.limit is None else selection.offset + selection.limit
        found: list[StoredResource] = []
        for user in every(page):
            if wanted is not None and len(found) >= wanted:
                break
            found.append(self._form.read(user))
        return Found(found[selection.offset : wanted], is_page=True, total=total)

    def matching(self, native: Native | None) -> Iterator[StoredResource]:
        """Yield what a search finds, or everybody, in the order of creation."""
        if native is None:
            return self.scan()
        if native.group is not None:
            return self._members_of(native.group)
        if native.is_empty:
            return iter(())
        ids = [term["_id"] for term in native.terms if "_id" in term]
        if ids and not native.any:
            return self._with_ids(ids[:1])
        others = replace(native, terms=tuple(term for term in native.terms if "_id" not in term))
        if ids:
            both = {stored.id: stored for stored in (*self._with_ids(ids), *self.matching(others))}
            return iter(sorted(both.values(), key=lambda stored: stored.place))
        condition = native.condition
        found = every(lambda skip, limit: self._directory.search(condition, skip, limit))
        return map(self._form.read, found)

    def _members_of(self, group_id: str) -> Iterator[StoredResource]:
        return self._with_ids(
            user_id for page in self._members.links.member_ids(group_id) for user_id in page
        )

    def _with_ids(self, ids: Iterable[str]) -> Iterator[StoredResource]:
        return iter(sorted(self._members.users(list(ids)).values(), key=lambda stored: stored.place))
