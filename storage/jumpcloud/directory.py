"""The parts of the JumpCloud API that are used, as methods: what they return has the shape it should."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from storage.errors import BadBackendAnswer, ResourceNotFound, after_write
from storage.jumpcloud.client import Client, Params, Rejection
from storage.jumpcloud.identity import Ids, id_of

# The most that one page may hold; unasked, it holds 10.
PAGE: Final = 100
# So many ids are asked for in a URL, which may not become too long.
LISTED: Final = 50

Json = dict[str, Any]
Listed = tuple[list[Json], int | None]


class Missing(Exception):
    """JumpCloud has nothing by that id."""


@contextmanager
def existing(type_name: str, resource_id: str) -> Iterator[None]:
    """Raise ResourceNotFound where something turns out to be missing in this context."""
    try:
        yield
    except Missing as exc:
        raise ResourceNotFound(type_name, resource_id) from exc


class Directory:
    """Users and user groups of one organisation. Every id must satisfy `is_id`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.is_id = Ids(self._some_ids)
        # What lists of groups are sorted by.
        self.group_order = "_id"

    def _some_ids(self) -> list[str]:
        users, _ = self.users(0, 1)
        return [id_of(one) for one in users or self.groups(0, 1)[0]]

    @property
    def width(self) -> int:
        """How many calls one request may make at the same time: others want some too."""
        return max(1, self._client.pool_size // 2)

    # -- users

    def users(self, skip: int, limit: int, conditions: Sequence[str] = ()) -> Listed:
        """Return a page of the users that satisfy all conditions, and how many do so."""
        params = [("limit", str(limit)), ("skip", str(skip)), ("sort", "_id")]
        params += [(f"filter[{number}]", condition) for number, condition in enumerate(conditions)]
        return _results(self._client.call("GET", "/api/systemusers", params=params).body)

    def search(self, condition: Mapping[str, Any], skip: int = 0, limit: int = PAGE) -> Listed:
        """Return a page of the users that satisfy a condition of the search, and how many do so."""
        body = {"filter": condition, "limit": limit, "skip": skip, "sort": "_id"}
        answer = self._client.call("POST", "/api/search/systemusers", body=body, writes=False)
        return _results(answer.body)

    def searched_by_id(self, ids: Sequence[str]) -> Listed:
        """Return what a search finds for at most PAGE ids, which should be the users that have them."""
        return self.search({"or": [{"_id": user_id} for user_id in ids]})

    def listed_by_id(self, ids: Sequence[str]) -> Listed:
        """Return what the list holds for at most LISTED ids, which should be the users that have them."""
        params = [("limit", str(PAGE)), ("skip", "0"), ("sort", "_id")]
        params += [(f"filter[or][{number}]", f"_id:$eq:{user_id}") for number, user_id in enumerate(ids)]
        return _results(self._client.call("GET", "/api/systemusers", params=params).body)

    def user(self, user_id: str) -> Json:
        """Return a user. Raises Missing."""
        return _object(self._of("GET", f"/api/systemusers/{user_id}"), "_id")

    def create_user(self, body: Json) -> Json:
        """Return a new user."""
        answer = self._client.call("POST", "/api/systemusers", body=body, repeatable=False)
        with after_write():
            return _object(answer.body, "_id")

    def update_user(self, user_id: str, body: Json) -> Json:
        """Change some fields of a user and return all of it. Raises Missing."""
        return self._put(f"/api/systemusers/{user_id}", body, "_id")

    def delete_user(self, user_id: str) -> None:
        """Delete a user. Raises Missing."""
        self._of("DELETE", f"/api/systemusers/{user_id}")

    # -- keys of a user

    def ssh_keys(self, user_id: str) -> list[Json]:
        """Return the SSH keys of a user. Raises Missing."""
        return _objects(self._of("GET", f"/api/systemusers/{user_id}/sshkeys"), "public_key")

    def add_ssh_key(self, user_id: str, name: str, public_key: str) -> None:
        """Give a user one more SSH key. Raises Missing."""
        body = {"name": name, "public_key": public_key}
        self._of("POST", f"/api/systemusers/{user_id}/sshkeys", body, repeatable=False)

    def remove_ssh_key(self, user_id: str, key_id: str) -> None:
        """Take an SSH key from a user. Raises Missing."""
        self._of("DELETE", f"/api/systemusers/{user_id}/sshkeys/{key_id}")

    # -- groups

    def groups(self, skip: int, limit: int) -> Listed:
        """Return a page of the groups, and how many there are, or None when that is not said."""
        params = _page(skip, limit, self.group_order)
        try:
            answer = self._client.call("GET", "/api/v2/usergroups", params=params)
        except Rejection:
            if self.group_order == "name":
                raise
            # It is not said which fields groups are sorted by; this one they certainly have.
            self.group_order = "name"
            return self.groups(skip, limit)
        return _objects(answer.body, "id"), answer.total

    def groups_called(self, name: str) -> list[Json]:
        """Return the group of that name, in that case, if there is one."""
        params = [*_page(0, PAGE), ("filter", f"name:eq:{name}")]
        found = _objects(self._client.call("GET", "/api/v2/usergroups", params=params).body, "id")
        return [group for group in found if group.get("name") == name]

    def group(self, group_id: str) -> Json:
        """Return a group. Raises Missing."""
        return _object(self._of("GET", f"/api/v2/usergroups/{group_id}"), "id")

    def create_group(self, body: Json) -> Json:
        """Return a new group."""
        answer = self._client.call("POST", "/api/v2/usergroups", body=body, repeatable=False)
        with after_write():
            return _object(answer.body, "id")

    def update_group(self, group_id: str, body: Json) -> Json:
        """Put `body` in place of a group and return it. Raises Missing."""
        return self._put(f"/api/v2/usergroups/{group_id}", body, "id")

    def delete_group(self, group_id: str) -> None:
        """Delete a group. Raises Missing."""
        self._of("DELETE", f"/api/v2/usergroups/{group_id}")

    # -- members

    def members(self, group_id: str) -> Iterator[list[str]]:
        """Yield the ids of a group's users, a page at a time; none for a group that does not exist."""
        path = f"/api/v2/usergroups/{group_id}/members"
        return self._links(path)

    def groups_of(self, user_id: str) -> Iterator[list[str]]:
        """Yield the ids of the groups a user is in, a page at a time; none for a user that does not exist."""
        return self._links(f"/api/v2/users/{user_id}/memberof")

    def add_member(self, group_id: str, user_id: str) -> None:
        """Make a user a member, if it is none. Raises Missing."""
        try:
            self._change_member(group_id, user_id, "add")
        except Rejection as rejection:
            if rejection.status != 409:
                raise

    def remove_member(self, group_id: str, user_id: str) -> None:
        """Take a user out of a group, if it is in there."""
        with suppress(Missing):
            self._change_member(group_id, user_id, "remove")

    def _change_member(self, group_id: str, user_id: str, operation: str) -> None:
        body = {"op": operation, "type": "user", "id": user_id}
        self._of("POST", f"/api/v2/usergroups/{group_id}/members", body)

    def _links(self, path: str) -> Iterator[list[str]]:
        """Yield the ids of what something is linked to, a page at a time."""
        skip, before = 0, None
        while True:
            try:
                page = _objects(self._of("GET", path, params=_page(skip, PAGE)))
            except Missing:
                return
            _refuse_the_same(page, before)
            skip, before = skip + len(page), page
            # Of a link the other end, or that end itself: it is not said for each list.
            ends = [_object(entry.get("to", entry), "id") for entry in page]
            yield [entry["id"] for entry in ends if entry.get("type", "user") in ("user", "user_group")]
            if len(page) < PAGE:
                return

    def _put(self, path: str, body: Json, id_name: str) -> Json:
        """Return what there is after a PUT, which may be answered without it. Raises Missing."""
        answered = self._of("PUT", path, body)
        with after_write():
            return _object(answered or self._of("GET", path), id_name)

    def _of(
        self, method: str, path: str, body: Any = None, *, params: Params = (), repeatable: bool = True
    ) -> Any:
        try:
            return self._client.call(method, path, body=body, params=params, repeatable=repeatable).body
        except Rejection as rejection:
            if rejection.status == 404 and method == "DELETE" and rejection.repeated:
                # It was our own call, whose answer was lost, that removed it.
                return None
            if rejection.status == 404:
                raise Missing from rejection
            raise


def every(page: Callable[[int, int], Listed]) -> Iterator[Json]:
    """Yield what all pages hold, each once, although others may come and go meanwhile."""
    seen: set[str] = set()
    skip, before = 0, None
    while True:
        found, total = page(skip, PAGE)
        _refuse_the_same(found, before)
        skip, before = skip + len(found), found
        for entry in found:
            name = str(entry.get("_id") or entry.get("id"))
            if name not in seen:
                seen.add(name)
                yield entry
        if not found or (skip >= total if total is not None else len(found) < PAGE):
            return


def _refuse_the_same(page: list[Json], before: list[Json] | None) -> None:
    """Raise BadBackendAnswer for a page that is the one before it: there would be no end."""
    if page and page == before:
        raise BadBackendAnswer("JumpCloud sends the same page again")


def _page(skip: int, limit: int, sort: str = "") -> Params:
    params = [("limit", str(limit)), ("skip", str(skip))]
    return [*params, ("sort", sort)] if sort else params


def _results(body: Any) -> Listed:
    if not isinstance(body, dict) or type(body.get("totalCount")) is not int:
        raise BadBackendAnswer("JumpCloud sent no page of users")
    return _objects(body.get("results"), "_id"), body["totalCount"]


def _objects(body: Any, *names: str) -> list[Json]:
    if not isinstance(body, list):
        raise BadBackendAnswer("JumpCloud sent an answer that is not a list")
    return [_object(entry, *names) for entry in body]


def _object(body: Any, *names: str) -> Json:
    if not isinstance(body, dict) or not all(isinstance(body.get(name), str) for name in names):
        raise BadBackendAnswer("JumpCloud sent an object without the expected members")
    return body
